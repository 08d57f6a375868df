package sqlite_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/sqlite"
)

// keeper is a store whose clock can be set forward, and where requests are completed.
type keeper struct {
	*testing.T
	*sqlite.Store
	path   string
	offset atomic.Int64
	keep   idempotency.Retention
	serial int
}

func newKeeper(t *testing.T, keep idempotency.Retention) *keeper {
	k := &keeper{T: t, path: migrated(t), keep: keep}
	k.Store = open(t, k.path, sqlite.Options{Lease: 1000 * time.Hour, Clock: func() time.Time { return time.Now().Add(time.Duration(k.offset.Load())) }})
	return k
}

func (k *keeper) complete(n int) {
	k.Helper()
	ctx := context.Background()
	owner, err := k.Acquire(ctx, idempotency.Instance{ID: [16]byte{1}}, time.Minute)
	if err != nil {
		k.Fatal(err)
	}
	fingerprint := idempotency.Fingerprinted{Method: "POST"}.Fingerprint()
	claims, completes := make([]idempotency.Transition, n), make([]idempotency.Transition, n)
	for i := range claims {
		k.serial++
		o := idempotency.Operation{Caller: "caller", Key: idempotency.Key(fmt.Sprintf("key-%09d", k.serial))}
		claims[i] = idempotency.Claim{
			Attempt:   idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: owner},
			Operation: o, Fingerprint: fingerprint, Method: "POST", TargetURI: "/orders", Budget: time.Minute, Retention: k.keep,
		}
	}
	results, err := k.Apply(ctx, claims)
	if err != nil {
		k.Fatal(err)
	}
	for i, r := range results {
		completes[i] = idempotency.Complete{Attempt: r.Record.Attempt, Response: idempotency.NewResponse(201, nil, make([]byte, 100)), Retention: k.keep}
	}
	if _, err := k.Apply(ctx, completes); err != nil {
		k.Fatal(err)
	}
}

// Bodies expire long before their records: that there are more of them has to be said, or as many are left as
// come in a while beyond what one purge removes.
func TestPurgeSaysThatThereAreMoreBodies(t *testing.T) {
	k := newKeeper(t, idempotency.Retention{Response: time.Hour, Key: 1000 * time.Hour})
	k.complete(70)
	k.offset.Add(int64(10 * time.Hour))
	for _, want := range []bool{true, true, false} {
		removed, more, err := k.Purge(context.Background(), 32)
		if err != nil || removed != 0 || more != want {
			t.Fatalf("removed %d records, more: %v, error %v; want more: %v", removed, more, err, want)
		}
	}
	var bodies int
	if err := rawFile(t, k.path).QueryRow("SELECT count(*) FROM payloads").Scan(&bodies); err != nil || bodies != 0 {
		t.Errorf("%d bodies are left, error %v", bodies, err)
	}
}

// Pages of what was removed are used again: where as much comes as goes, the file stays as it is.
func TestTheFileStaysAsLargeAsWhatIsKept(t *testing.T) {
	k := newKeeper(t, idempotency.Retention{Response: 2 * time.Hour, Key: 6 * time.Hour})
	pages := func() (n int) {
		if err := rawFile(t, k.path).QueryRow("PRAGMA page_count").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	cycle := func() {
		k.complete(60)
		k.offset.Add(int64(2 * time.Hour))
		for more := true; more; {
			var err error
			if _, more, err = k.Purge(context.Background(), 100); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 4 {
		cycle()
	}
	before := pages()
	for range 12 {
		cycle()
	}
	if after := pages(); after > before*11/10 {
		t.Errorf("the file grew from %d to %d pages while as much went as came", before, after)
	}
}
