package postgres

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

// takeAll takes every connection of a pool, as a storm does.
func takeAll(t *testing.T, pool *pgxpool.Pool) (back func()) {
	t.Helper()
	var taken []*pgxpool.Conn
	for range pool.Config().MaxConns {
		c, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, c)
	}
	return func() {
		for _, c := range taken {
			c.Release()
		}
	}
}

// Whoever asks takes no connection from those who execute, nor the other way round.
func TestAskHasItsOwnConnections(t *testing.T) {
	for _, size := range []string{"2", "16"} { // the least is six
		s := openStore(t, withParameter(newDatabase(t), "pool_max_conns="+size))
		owner := newOwner(t, s)
		claims := newClaims(2, owner)
		ids := []idempotency.OperationID{claims[0].Target(), claims[1].Target()}

		back := takeAll(t, s.asks)
		a := apply(t, s, claims[:1])[0].Record.Attempt
		apply(t, s, []idempotency.Transition{idempotency.Complete{Attempt: a, Response: idempotency.NewResponse(201, nil, []byte("made")), Retention: storetest.Keep}})
		found, err := s.Find(t.Context(), ids)
		if err != nil || found[0].State != idempotency.Completed || found[1].State != idempotency.Unseen {
			t.Errorf("%s connections: %v, %v", size, found, err)
		}
		soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err = s.Ask(soon, ids)
		cancel()
		back()
		if err == nil {
			t.Fatal("asked without a connection of its own")
		}

		back = takeAll(t, s.claims)
		asked, err := s.Ask(t.Context(), ids)
		back()
		if err != nil {
			t.Fatal(err)
		}
		for i := range asked {
			if asked[i].Observed.Before(found[i].Observed) {
				t.Error("asked in the past")
			}
			asked[i].Observed = found[i].Observed
		}
		if !reflect.DeepEqual(asked, found) {
			t.Errorf("asked %v\nfound %v", asked, found)
		}
		if none, err := s.Ask(t.Context(), nil); err != nil || len(none) != 0 {
			t.Errorf("%v, %v", none, err)
		}
	}
}
