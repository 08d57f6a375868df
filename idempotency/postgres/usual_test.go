package postgres

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

// trips counts round trips.
type trips struct{ n atomic.Int64 }

func (t *trips) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	t.n.Add(1)
	return ctx
}
func (*trips) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*trips) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}
func (*trips) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*trips) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func openCounting(t *testing.T, dsn string) (*Store, *trips) {
	t.Helper()
	count := new(trips)
	s, err := Open(context.Background(), dsn, Options{StoreTimeout: 10 * time.Second, Lease: storetest.Lease, Retention: storetest.Keep, Tracer: count})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, count
}

// What is usual must take one round trip and be told as it is stored; what is not, two.
func TestRoundTrips(t *testing.T) {
	s, count := openCounting(t, newDatabase(t))
	owner := newOwner(t, s)
	step := func(name string, want int64, ts []idempotency.Transition) []idempotency.Result {
		t.Helper()
		before := count.n.Load()
		results, err := s.Apply(context.Background(), ts)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := count.n.Load() - before; n != want {
			t.Errorf("%s took %d round trips, want %d", name, n, want)
		}
		for i, r := range results {
			if r.Record.ID != ts[i].Target() {
				t.Fatalf("%s: result %d is of another operation", name, i)
			}
			found, err := s.Find(context.Background(), []idempotency.OperationID{r.Record.ID})
			if err != nil {
				t.Fatal(err)
			}
			found[0].Observed = r.Record.Observed
			if told := r.Record; !reflect.DeepEqual(told, found[0]) {
				t.Errorf("%s: told\n%+v, stored\n%+v", name, told, found[0])
			}
		}
		return results
	}
	first := newClaims(5, owner)
	claim := first[0].(idempotency.Claim)
	claim.KeyDate, claim.Trace = time.Now().Add(time.Hour), idempotency.Trace{}
	first[0] = claim
	slices.Reverse(first)
	granted := step("claims", 1, first)
	step("claims of busy operations by others", 2, again(first))
	step("and by others, now that retries are expected", 1, again(first))
	step("the same claims again", 2, first)
	answers := completions(granted, []byte("x"))
	bodiless := answers[1].(idempotency.Complete)
	bodiless.Response = bodiless.Response.Bodiless()
	answers[1] = bodiless
	step("answers in time", 1, answers)
	step("the same answers again", 3, answers) // and the bodies, which this batch did not store
	step("claims of answered operations", 1, again(first))
	s.retries.Store(0)
	step("claims of answered operations, which nobody expected", 2, again(first))

	unknowing := completions(step("claims that nobody remembers", 1, newClaims(2, owner)), []byte("x"))
	for i := range unknowing {
		c := unknowing[i].(idempotency.Complete)
		c.Claimed = nil
		unknowing[i] = c
	}
	step("answers to them", 1, unknowing)

	others := step("more claims", 1, newClaims(2, owner))
	mixed := []idempotency.Transition{
		idempotency.Release{Attempt: others[0].Record.Attempt, Cause: "dial", Retention: storetest.Keep},
		completions(others[1:], []byte{})[0],
		newClaims(1, owner)[0],
	}
	step("a claim, an answer and a release", 1, mixed)
	released := newClaims(3, owner)
	c := released[1].(idempotency.Claim)
	for _, r := range others[:1] {
		c.Operation, c.Attempt.Operation, c.Fingerprint = r.Record.Operation, r.Record.ID, r.Record.Fingerprint
	}
	released[1] = c
	for i, r := range step("claims, one of a released operation", 2, released) {
		if !r.Applied {
			t.Errorf("claim %d was not granted", i)
		}
	}
}

// again returns claims of the same operations by new attempts.
func again(ts []idempotency.Transition) []idempotency.Transition {
	ts = slices.Clone(ts)
	for i := range ts {
		c := ts[i].(idempotency.Claim)
		c.Attempt.ID = idempotency.NewAttemptID()
		ts[i] = c
	}
	return ts
}

// A batch may hold two owners' moves when a lease was lost in between; one of them has no lease.
func TestTwoOwnersInABatch(t *testing.T) {
	s := openStore(t, newDatabase(t))
	old := newOwner(t, s)
	before, err := s.Apply(context.Background(), newClaims(3, old))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.GiveBack(context.Background(), old); err != nil {
		t.Fatal(err)
	}
	owner := newOwner(t, s)
	claims := append(newClaims(3, owner), newClaims(3, old)...)
	results, err := s.Apply(context.Background(), claims)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		want := idempotency.Executing
		if i >= 3 {
			want = idempotency.Unknown
		}
		if r.Record.State != want || r.Record.Attempt.ID != claims[i].(idempotency.Claim).Attempt.ID {
			t.Errorf("claim %d led to %v, want %v", i, r.Record.State, want)
		}
	}
	results = apply(t, s, completions(append(before, results[:3]...), []byte("x")))
	for i, r := range results {
		if r.Record.Response == nil || r.Record.State != idempotency.Completed {
			t.Errorf("answer %d led to %v", i, r.Record.State)
		}
	}
}

// A part of a batch that is written must not be called rolled back because another part was.
func TestABlockedRestDoesNotDenyTheFirstPart(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	released := apply(t, s, newClaims(1, owner))[0].Record
	apply(t, s, []idempotency.Transition{idempotency.Release{Attempt: released.Attempt, Cause: "dial", Retention: storetest.Keep}})
	claims := newClaims(3, owner)
	c := claims[0].(idempotency.Claim)
	c.Operation, c.Attempt.Operation, c.Fingerprint = released.Operation, released.ID, released.Fingerprint
	claims[0] = c
	tx, err := admin.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(context.Background(), "SELECT FROM requests WHERE id = $1 FOR UPDATE", uuid(released.ID)); err != nil {
		t.Fatal(err)
	}
	var rolledBack *idempotency.RolledBackError
	if _, err := s.Apply(context.Background(), claims); err == nil || errors.As(err, &rolledBack) {
		t.Errorf("the first try: %v, want an error that leaves the outcome open", err)
	}
	if _, err := s.Apply(context.Background(), claims); !errors.As(err, &rolledBack) || !rolledBack.Blocked {
		t.Errorf("the second try: %v, want that it was blocked", err)
	}
	if err := tx.Rollback(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, r := range apply(t, s, claims) {
		if r.Record.Attempt.ID != claims[slices.IndexFunc(claims, func(t idempotency.Transition) bool { return t.Target() == r.Record.ID })].(idempotency.Claim).Attempt.ID {
			t.Error("another attempt was granted")
		}
	}
}

// A body that is there although its record was executing must not make its answer fail for ever.
func TestAStrayBody(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	results := apply(t, s, newClaims(3, newOwner(t, s)))
	stray := results[1].Record.ID
	execute(t, admin, `INSERT INTO payloads (day, id, attempt_id, fields, body, seal)
		SELECT (now() AT TIME ZONE 'UTC')::date + i, $1, $1, '', '', decode(repeat('00', 32), 'hex') FROM generate_series(0, 10) i`, uuid(stray))
	apply(t, s, completions(results, []byte("x")))
	for _, r := range results {
		found, err := s.Find(context.Background(), []idempotency.OperationID{r.Record.ID})
		if err != nil {
			t.Fatal(err)
		}
		if damaged := r.Record.ID == stray; found[0].Damaged != damaged || !damaged && !bytes.Equal(found[0].Response.Body, []byte("x")) {
			t.Errorf("%v, damaged %v", found[0].State, found[0].Damaged)
		}
	}
}

// An answer that comes after its attempt's time, under a lease that lives, counts, but as a late one.
func TestAnOverdueAnswerLeavesEvidence(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	results := apply(t, s, newClaims(2, newOwner(t, s)))
	execute(t, admin, "UPDATE requests SET deadline = now() - $1::interval - interval '1 second' WHERE id = $2", storetest.Lease, uuid(results[0].Record.ID))
	results = apply(t, s, completions(results, []byte("x")))
	for i, want := range []int{1, 0} {
		if n := len(readEvidence(t, admin, results[i].Record.ID)); n != want {
			t.Errorf("%d pieces of evidence for answer %d, want %d", n, i, want)
		}
	}
}
