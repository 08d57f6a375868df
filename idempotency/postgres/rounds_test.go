package postgres

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

// between calls something once, before the round trip that claims what was found to be claimable.
type between struct {
	trips
	call atomic.Pointer[func()]
}

func (b *between) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	claims := func(q *pgx.QueuedQuery) bool { return q.SQL == claimIfNotExecutedOrResend }
	if slices.ContainsFunc(data.Batch.QueuedQueries, claims) {
		if call := b.call.Swap(nil); call != nil {
			(*call)()
		}
	}
	return ctx
}

// A claim finds a record that may be claimed, and before it comes back for it another gateway has claimed
// it, and more: what the statement that writes sees is what counts, not what was read before.
func TestWhatHappensBetweenTheRoundsOfABatch(t *testing.T) {
	dsn := newDatabase(t)
	other := openStore(t, dsn)
	owner := newOwner(t, other)
	tracer := new(between)
	o := Options{StoreTimeout: 10 * time.Second, Lease: storetest.Lease, Retention: storetest.Keep, Tracer: tracer}
	s, err := Open(context.Background(), dsn, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for name, test := range map[string]struct {
		meanwhile func(a idempotency.Attempt) idempotency.Transition
		want      idempotency.State
	}{
		"executing": {nil, idempotency.Executing},
		"in doubt": {func(a idempotency.Attempt) idempotency.Transition {
			return idempotency.Doubt{Attempt: a, Cause: "timeout", Retention: storetest.Keep}
		}, idempotency.Unknown},
		"completed": {func(a idempotency.Attempt) idempotency.Transition {
			return idempotency.Complete{Attempt: a, Response: idempotency.NewResponse(201, nil, []byte("x")), Retention: storetest.Keep}
		}, idempotency.Completed},
	} {
		t.Run(name, func(t *testing.T) {
			mine := newClaims(1, owner)
			first := mine[0].(idempotency.Claim)
			claimed := apply(t, other, mine)[0].Record.Attempt
			released := apply(t, other, []idempotency.Transition{idempotency.Release{Attempt: claimed, Cause: "dial", Retention: storetest.Keep}})
			if released[0].Record.State != idempotency.NotExecuted {
				t.Fatalf("the record is %v", released[0].Record.State)
			}
			theirs, ours := first, first
			theirs.Attempt.ID, ours.Attempt.ID = idempotency.NewAttemptID(), idempotency.NewAttemptID()
			happened := false
			call := func() {
				happened = true
				claimed := apply(t, other, []idempotency.Transition{theirs})
				if !claimed[0].Applied {
					t.Error("the other gateway did not get it")
				}
				if test.meanwhile != nil {
					apply(t, other, []idempotency.Transition{test.meanwhile(claimed[0].Record.Attempt)})
				}
			}
			tracer.call.Store(&call)
			results, err := s.Apply(context.Background(), []idempotency.Transition{ours})
			if err != nil {
				t.Fatal(err)
			}
			r := results[0]
			if !happened {
				t.Fatal("nothing was between")
			}
			if r.Applied || r.Record.State != test.want || r.Record.Attempt.ID != theirs.Attempt.ID || r.Record.Attempt.N != 2 {
				t.Errorf("applied %v, and the record is %v %d", r.Applied, r.Record.State, r.Record.Attempt.N)
			}
		})
	}
}

// A claim for a further attempt finds a record, and before it comes back for it that is purged: it makes none.
func TestPurgedBetweenTheRoundsOfABatch(t *testing.T) {
	dsn := newDatabase(t)
	other := openStore(t, dsn)
	owner := newOwner(t, other)
	tracer := new(between)
	s, err := Open(context.Background(), dsn, Options{StoreTimeout: 10 * time.Second, Lease: storetest.Lease, Retention: storetest.Keep, Tracer: tracer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	for _, further := range []bool{true, false} {
		mine := newClaims(1, owner)
		c := mine[0].(idempotency.Claim)
		claimed := apply(t, other, mine)[0].Record.Attempt
		apply(t, other, []idempotency.Transition{idempotency.Release{Attempt: claimed, Cause: "dial", Retention: storetest.Keep}})
		happened := false
		call := func() {
			happened = true
			if _, err := other.claims.Exec(context.Background(), "DELETE FROM requests WHERE id = $1", uuid(c.Attempt.Operation)); err != nil {
				t.Error(err)
			}
		}
		tracer.call.Store(&call)
		c.Attempt.ID, c.Further = idempotency.NewAttemptID(), further
		results, err := s.Apply(context.Background(), []idempotency.Transition{c})
		if err != nil {
			t.Fatal(err)
		}
		if r := results[0]; !happened || r.Applied == further || further && r.Record.State != idempotency.Unseen {
			t.Errorf("further %v: purged between %v, applied %v, and the record is %v %d", further, happened, r.Applied, r.Record.State, r.Record.Attempt.N)
		}
	}
}
