package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func testBatches(w *world) {
	w.in("nothing", func(w *world) {
		if results, err := w.Store.Apply(background, nil); err != nil || len(results) != 0 {
			w.Fatalf("an empty batch gave %d results, error %v", len(results), err)
		}
	})

	w.in("in order", func(w *world) {
		ts := make([]idempotency.Transition, 300)
		attempts := make([]idempotency.AttemptID, len(ts))
		for i := range ts {
			c := w.claim(w.operation())
			ts[i], attempts[i] = c, c.Attempt.ID
		}
		for i, r := range w.apply(ts...) {
			if !r.Applied || r.Record.Attempt.ID != attempts[i] || r.Record.Attempt.N != 1 {
				w.Fatalf("result %d is not that of transition %d", i, i)
			}
		}
	})

	w.in("one of each condition", func(w *world) {
		// A batch must not let one refused item stop the others, nor one accepted item carry them.
		done, running := w.operation(), w.operation()
		w.must(complete(w.granted(w.claim(done))))
		a := w.granted(w.claim(running))
		results := w.apply(w.claim(done), release(a), w.claim(w.operation()), doubt(w.claim(w.operation()).Attempt))
		for i, want := range []idempotency.Result{
			{Record: idempotency.Record{State: idempotency.Completed}},
			{Record: idempotency.Record{State: idempotency.NotExecuted}, Applied: true},
			{Record: idempotency.Record{State: idempotency.Executing}, Applied: true},
			{Record: idempotency.Record{State: idempotency.Unseen}},
		} {
			if results[i].Record.State != want.Record.State || results[i].Applied != want.Applied {
				w.Errorf("item %d: %v applied %v", i, results[i].Record.State, results[i].Applied)
			}
		}
	})

	w.in("two about one operation", func(w *world) {
		o := w.operation()
		_, err := w.Store.Apply(background, []idempotency.Transition{w.claim(o), w.claim(w.operation()), w.claim(o)})
		var rolledBack *idempotency.RolledBackError
		if !errors.As(err, &rolledBack) {
			w.Fatalf("error is %v, want one that says that nothing was written", err)
		}
		w.expect(o.ID(), idempotency.Unseen, 0)
	})

	w.in("call given up", func(w *world) {
		o := w.operation()
		ctx, stop := context.WithCancel(background)
		stop()
		_, err := w.Store.Apply(ctx, []idempotency.Transition{w.claim(o)})
		var rolledBack *idempotency.RolledBackError
		if errors.As(err, &rolledBack) {
			w.expect(o.ID(), idempotency.Unseen, 0)
		}
		w.must(w.claim(w.operation())) // the store has not suffered
	})
}

func testFind(w *world) {
	a, b, never := w.operation(), w.operation(), w.operation()
	w.must(w.claim(a))
	w.must(complete(w.granted(w.claim(b))))
	ids := []idempotency.OperationID{b.ID(), never.ID(), a.ID(), b.ID()}
	records, err := w.Store.Find(background, ids)
	if err != nil || len(records) != len(ids) {
		w.Fatalf("%d records for %d ids, error %v", len(records), len(ids), err)
	}
	for i, want := range []idempotency.State{idempotency.Completed, idempotency.Unseen, idempotency.Executing, idempotency.Completed} {
		r := records[i]
		if r.ID != ids[i] || r.State != want || r.Observed.IsZero() {
			w.Errorf("record %d: %v %v observed %v, want %v %v", i, r.ID, r.State, r.Observed, ids[i], want)
		}
		if !r.Observed.Equal(records[0].Observed) {
			w.Errorf("record %d was observed at another instant than record 0", i)
		}
	}
	if err := sameResponse(records[3].Response, response()); err != nil {
		w.Error("an id asked for twice:", err)
	}
	if records, err := w.Store.Find(background, nil); err != nil || len(records) != 0 {
		w.Errorf("find of nothing: %d records, error %v", len(records), err)
	}
}

// testRecords looks at the fields of a record along an eventful life.
func testRecords(w *world) {
	o := w.operation()
	c := w.claim(o)
	r := w.must(c)
	equal(w, "operation", r.Operation, o)
	equal(w, "id", r.ID, o.ID())
	equal(w, "fingerprint", r.Fingerprint, c.Fingerprint)
	equal(w, "method", r.Method, c.Method)
	equal(w, "target", r.Target, c.TargetURI)
	equal(w, "route", r.Route, c.Route)
	equal(w, "trace", r.Trace, c.Trace)
	equal(w, "owner", r.Attempt.Owner, w.owner)
	equal(w, "attempt id", r.Attempt.ID, c.Attempt.ID)
	equal(w, "operation of the attempt", r.Attempt.Operation, o.ID())
	equal(w, "revision", r.Revision, 1)
	equal(w, "cause", r.Cause, "")
	w.span("claimed", r.Observed, r.Claimed, 0)
	w.span("first seen", r.Observed, r.FirstSeen, 0)
	w.span("deadline", r.Deadline, r.Claimed, c.Budget)
	w.zero("settled", r.Settled)
	w.zero("body expires", r.BodyExpires)
	if r.Response != nil || r.Resolution != nil || r.Doubted || r.Resend || r.Contradicted || r.Damaged {
		w.Errorf("a fresh claim has more than it should: %+v", r)
	}

	w.passAlive(1)
	r = w.must(release(r.Attempt))
	equal(w, "cause of a release", r.Cause, "dial")
	w.span("first seen, a step later", r.Observed, r.FirstSeen, step)
	w.span("settled by release", r.Observed, r.Settled, 0)

	w.passAlive(1)
	second := other(w.claim(o))
	if again := w.one(second); again.Applied || again.Record.Fingerprint != c.Fingerprint || again.Record.State != idempotency.NotExecuted {
		w.Error("another fingerprint re-armed the record, or replaced its fingerprint")
	}
	second = w.claim(o)
	second.Method, second.TargetURI, second.Budget = "PATCH", "/orders/2", 2*time.Minute
	second.Trace, second.Route = idempotency.Trace{}, "orders-2"
	r = w.must(second)
	equal(w, "trace of the second attempt", r.Trace, idempotency.Trace{})
	equal(w, "method of the second attempt", r.Method, "PATCH")
	equal(w, "route of the second attempt", r.Route, "orders-2")
	equal(w, "attempts", r.Attempt.N, 2)
	equal(w, "cause of an executing record", r.Cause, "")
	w.span("first seen stays", r.Observed, r.FirstSeen, 2*step)
	w.span("claimed anew", r.Observed, r.Claimed, 0)
	w.span("deadline anew", r.Deadline, r.Claimed, 2*time.Minute)
	w.zero("settled while executing again", r.Settled)

	r = w.must(doubt(r.Attempt))
	equal(w, "cause of a doubt", r.Cause, "timeout")
	w.span("in doubt since", r.Observed, r.Settled, 0)

	r = w.must(resolve(o.ID(), 2, idempotency.VerdictNotExecuted))
	if r.Resolution == nil || r.Resolution.By != "operator:alice" || r.Resolution.Evidence != "looked it up" {
		w.Fatalf("resolution is %+v", r.Resolution)
	}
	w.span("resolved", r.Observed, r.Resolution.At, 0)
	equal(w, "cause of a resolution", r.Cause, idempotency.CauseResolved)

	r = w.must(w.claim(o))
	if r.Resolution != nil {
		w.Error("the resolution of an earlier attempt is shown for the new one")
	}
	r = w.must(complete(r.Attempt))
	equal(w, "revision at the end", r.Revision, 7)
	equal(w, "attempts at the end", r.Attempt.N, 3)
	if err := sameResponse(r.Response, response()); err != nil {
		w.Error("response:", err)
	}

	// The same key of another caller is another operation.
	foreign := idempotency.Operation{Caller: "somebody else", Key: o.Key}
	w.expect(foreign.ID(), idempotency.Unseen, 0)
	w.must(w.claim(foreign))

	// What is neither ASCII nor short is kept as it is. (UTF-8 without NUL: the edge refuses other callers.)
	odd := idempotency.Operation{Caller: "Zoë %_'\\ ", Key: idempotency.Key(slices.Repeat([]byte("k"), 255))}
	r = w.must(w.claim(odd))
	equal(w, "odd operation", r.Operation, odd)
}

func equal[T comparable](w *world, what string, got, want T) {
	w.Helper()
	if got != want {
		w.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// span checks that later − earlier is want, within the tolerance.
func (w *world) span(what string, later, earlier time.Time, want time.Duration) {
	w.Helper()
	if later.IsZero() || earlier.IsZero() || !near(later.Sub(earlier), want) {
		w.Errorf("%s: %v after %v, want %v apart", what, later, earlier, want)
	}
}

func (w *world) zero(what string, at time.Time) {
	w.Helper()
	if !at.IsZero() {
		w.Errorf("%s: %v, want none", what, at)
	}
}
