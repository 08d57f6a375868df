package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// tolerance is how far two instants may lie apart that ought to be one: the store's clock runs on
// while the suite works.
const tolerance = 45 * time.Second

// step is the unit in which time passes; see Keep.
const step = 3 * time.Minute

// world is one test on one store.
type world struct {
	*testing.T
	Harness
	instance idempotency.Instance
	owner    idempotency.Owner // of instance, with a lease
	serial   atomic.Int64
	second   Store // another handle, once a race has opened it
}

var background = context.Background()

// in returns the same world under a subtest.
func (w *world) in(name string, f func(*world)) {
	w.T.Helper()
	w.Run(name, func(t *testing.T) {
		sub := &world{T: t, Harness: w.Harness, instance: w.instance, owner: w.owner}
		sub.serial.Store(w.serial.Load())
		f(sub)
		w.owner = sub.owner
		w.serial.Store(sub.serial.Load())
	})
}

// operation returns one that no test has used.
func (w *world) operation() idempotency.Operation {
	return idempotency.Operation{
		Caller: "caller",
		Key:    idempotency.Key(fmt.Sprintf("%s-%d", w.Name(), w.serial.Add(1))),
	}
}

func (w *world) acquire() {
	w.Helper()
	o, err := w.Store.Acquire(background, w.instance, Lease)
	if err != nil {
		w.Fatal("acquire:", err)
	}
	w.owner = o
}

// pass lets time pass without caring for leases, and takes a new one.
func (w *world) pass(d time.Duration) {
	w.Helper()
	w.Advance(w.T, d)
	w.acquire()
}

// passAlive lets n steps pass and keeps the owner's lease all the while.
func (w *world) passAlive(n int) {
	w.Helper()
	for range n {
		w.Advance(w.T, step)
		if err := w.Store.Renew(background, w.owner, Lease); err != nil {
			w.Fatal("renew in time:", err)
		}
	}
}

// apply applies ts in one batch and checks the shape of what comes back.
func (w *world) apply(ts ...idempotency.Transition) []idempotency.Result {
	w.Helper()
	results, err := applyTo(w.Store, ts)
	if err != nil {
		w.Fatal("apply:", err)
	}
	if len(results) != len(ts) {
		w.Fatalf("apply: %d results for %d transitions", len(results), len(ts))
	}
	for i, r := range results {
		if r.Record.ID != ts[i].Target() {
			w.Fatalf("apply: result %d is about %v, want %v", i, r.Record.ID, ts[i].Target())
		}
	}
	return results
}

// applyTo repeats what was rolled back because a row was locked: nobody promises against that.
func applyTo(s Store, ts []idempotency.Transition) ([]idempotency.Result, error) {
	for {
		results, err := s.Apply(background, ts)
		var rolledBack *idempotency.RolledBackError
		if errors.As(err, &rolledBack) && rolledBack.Blocked {
			continue
		}
		return results, err
	}
}

func (w *world) one(t idempotency.Transition) idempotency.Result {
	w.Helper()
	return w.apply(t)[0]
}

// must applies t and fails the test if the move does not hold.
func (w *world) must(t idempotency.Transition) idempotency.Record {
	w.Helper()
	r := w.one(t)
	if !r.Applied {
		w.Fatalf("%T was not applied to a record that is %v", t, r.Record.State)
	}
	return r.Record
}

func (w *world) find(id idempotency.OperationID) idempotency.Record {
	w.Helper()
	records, err := w.Store.Find(background, []idempotency.OperationID{id})
	if err != nil || len(records) != 1 {
		w.Fatalf("find: %d records, error %v", len(records), err)
	}
	return records[0]
}

// expect finds a record and compares what a client would see of it.
func (w *world) expect(id idempotency.OperationID, want idempotency.State, n int) idempotency.Record {
	w.Helper()
	r := w.find(id)
	if r.State != want || r.Attempt.N != n {
		w.Fatalf("record is %v %d, want %v %d", r.State, r.Attempt.N, want, n)
	}
	return r
}

// claim returns the claim of a new attempt.
func (w *world) claim(o idempotency.Operation) idempotency.Claim {
	id := o.ID()
	return idempotency.Claim{
		Attempt:     idempotency.Attempt{Operation: id, ID: idempotency.NewAttemptID(), Owner: w.owner},
		Operation:   o,
		Fingerprint: idempotency.Fingerprinted{Method: "POST", Target: "/orders"}.Fingerprint(),
		Method:      "POST",
		TargetURI:   "/orders?a=%41",
		Route:       "orders",
		Budget:      time.Minute,
		Retention:   Keep,
		Trace:       idempotency.Trace{TraceID: [16]byte{1, 2}, SpanID: [8]byte{3}},
	}
}

// resend returns the claim of a new attempt on a route that says resend.
func (w *world) resend(o idempotency.Operation) idempotency.Claim {
	c := w.claim(o)
	c.Resend = true
	return c
}

var otherFingerprint = idempotency.Fingerprinted{Method: "POST", Target: "/refunds"}.Fingerprint()

func response() *idempotency.Response {
	return idempotency.NewResponse(201, map[string][]string{
		"Content-Type": {"application/json"},
		"Link":         {"</a>; rel=a", "", "</b>; rel=b"},
	}, []byte(`{"order":1}`))
}

func complete(a idempotency.Attempt) idempotency.Complete {
	return idempotency.Complete{Attempt: a, Response: response(), Retention: Keep}
}

func release(a idempotency.Attempt) idempotency.Release {
	return idempotency.Release{Attempt: a, Cause: "dial", Retention: Keep}
}

func doubt(a idempotency.Attempt) idempotency.Doubt {
	return idempotency.Doubt{Attempt: a, Cause: "timeout", Retention: Keep}
}

func resolve(id idempotency.OperationID, n int, v idempotency.Verdict) idempotency.Resolve {
	return idempotency.Resolve{Operation: id, N: n, Verdict: v, By: "operator:alice", Evidence: "looked it up", Retention: Keep}
}

func note(id idempotency.OperationID, n int) idempotency.Note {
	return idempotency.Note{Operation: id, N: n, By: "probe", Text: "answered 404"}
}

func cancel(o idempotency.Operation) idempotency.Cancel {
	return idempotency.Cancel{Operation: o, Retention: Keep, Trace: idempotency.Trace{TraceID: [16]byte{4, 5}, SpanID: [8]byte{6}}}
}

// granted claims and returns the attempt that was granted.
func (w *world) granted(c idempotency.Claim) idempotency.Attempt {
	w.Helper()
	return w.must(c).Attempt
}

func sameResponse(a, b *idempotency.Response) error {
	switch {
	case a == nil && b == nil:
		return nil
	case a == nil || b == nil:
		return fmt.Errorf("one response is missing: %v, %v", a != nil, b != nil)
	case a.Status != b.Status || a.Length != b.Length || a.Digest != b.Digest || a.Replayable != b.Replayable:
		return fmt.Errorf("status %d, %d; length %d, %d; replayable %v, %v; same digest %v",
			a.Status, b.Status, a.Length, b.Length, a.Replayable, b.Replayable, a.Digest == b.Digest)
	case string(a.Body) != string(b.Body):
		return fmt.Errorf("bodies of %d and %d bytes differ", len(a.Body), len(b.Body))
	case !maps.EqualFunc(a.Header, b.Header, slices.Equal):
		return fmt.Errorf("headers differ: %q, %q", a.Header, b.Header)
	}
	return nil
}

// near says whether two spans are the same within the tolerance.
func near(a, b time.Duration) bool { return (a - b).Abs() < tolerance }

// sameAge compares two instants, each by its distance from its own store's clock. Both zero is the same.
func sameAge(a, nowA, b, nowB time.Time) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() && b.IsZero()
	}
	return near(a.Sub(nowA), b.Sub(nowB))
}
