package storetest

import (
	"time"

	"github.com/onceway/onceway/idempotency"
)

// testExpiry follows Expires and BodyExpires, which count from the latest of first sight, the key's
// date and settlement.
func testExpiry(w *world) {
	w.in("settlement counts", func(w *world) {
		o := w.operation()
		r := w.must(w.claim(o))
		w.span("expires from first sight", r.Expires, r.Observed, Keep.Key)
		w.passAlive(2)
		r = w.must(complete(r.Attempt))
		w.span("expires from settlement", r.Expires, r.Settled, Keep.Key)
		w.span("body expires", r.BodyExpires, r.Settled, Keep.Response)
		w.passAlive(2)
		r = w.find(o.ID())
		w.span("expires later", r.Expires, r.Observed, Keep.Key-2*step)
	})
	w.in("a future date counts", func(w *world) {
		c := w.claim(w.operation())
		c.KeyDate = w.now().Add(20 * step)
		r := w.must(c)
		w.span("expires from the date", r.Expires, r.Observed, Keep.Key+20*step)
		r = w.must(complete(r.Attempt))
		w.span("body expires from the date", r.BodyExpires, r.Observed, Keep.Response+20*step)
	})
	w.in("a past date does not shorten", func(w *world) {
		c := w.claim(w.operation())
		c.KeyDate = w.now().Add(-20 * step)
		r := w.must(c)
		w.span("expires", r.Expires, r.Observed, Keep.Key)
	})
	w.in("nor does a shorter retention", func(w *world) {
		r := w.must(w.claim(w.operation()))
		t := release(r.Attempt)
		t.Retention = idempotency.Retention{Response: time.Minute, Key: time.Minute}
		r = w.must(t)
		w.span("expires", r.Expires, r.Observed, Keep.Key)
	})
	w.in("a shorter retention shortens the lives of bodies", func(w *world) {
		long := idempotency.Retention{Response: 24 * time.Hour, Key: 720 * time.Hour}
		claim := func(o idempotency.Operation) idempotency.Claim {
			c := w.claim(o)
			c.Retention = long
			return c
		}
		doubted := func() idempotency.Attempt {
			a := w.granted(claim(w.operation()))
			t := doubt(a)
			t.Retention = long
			w.must(t)
			return a
		}
		for name, settle := range map[string]func() idempotency.Transition{
			"executing": func() idempotency.Transition { return complete(w.granted(claim(w.operation()))) },
			"executing, by who knows nothing": func() idempotency.Transition {
				return unknowing(complete(w.granted(claim(w.operation()))))
			},
			"not executed": func() idempotency.Transition {
				o := w.operation()
				t := release(w.granted(claim(o)))
				t.Retention = long
				w.must(t)
				return complete(w.granted(w.claim(o)))
			},
			"unknown": func() idempotency.Transition { return complete(doubted()) },
			"resolved": func() idempotency.Transition {
				t := resolve(doubted().Operation, 1, idempotency.VerdictExecuted)
				t.Response = response()
				return t
			},
		} {
			r := w.find(w.must(settle()).ID)
			w.span(name+": expires", r.Expires, r.Observed, long.Key)
			w.span(name+": body expires", r.BodyExpires, r.Observed, Keep.Response+idempotency.MaxDateAhead)
		}
	})
	w.in("a date too far ahead", func(w *world) {
		c := w.claim(w.operation())
		c.KeyDate = w.now().Add(2 * idempotency.MaxDateAhead)
		r := w.must(imported(c, response()))
		w.span("body expires", r.BodyExpires, r.Observed, Keep.Response+idempotency.MaxDateAhead)
	})
	w.in("first sight by a clock that was ahead", func(w *world) {
		const ahead = 2 * idempotency.MaxDateAhead
		o := w.operation()
		executing := w.granted(w.claim(w.operation()))
		inDoubt := w.granted(w.claim(o))
		w.must(doubt(inDoubt))
		w.pass(-ahead)
		r := resolve(o.ID(), 1, idempotency.VerdictExecuted)
		r.Response = response()
		for _, t := range []idempotency.Transition{unknowing(complete(executing)), r} {
			r := w.find(w.must(t).ID)
			w.span("body expires", r.BodyExpires, r.Observed, Keep.Response+ahead)
		}
		w.pass(ahead)
	})
	w.in("tombstones", func(w *world) {
		r := w.must(cancel(w.operation()))
		w.span("expires", r.Expires, r.Observed, Keep.Key)
		equal(w, "revision", r.Revision, 1)
		w.zero("claimed", r.Claimed)
		w.zero("deadline", r.Deadline)
		w.span("first seen", r.Observed, r.FirstSeen, 0)
		t := cancel(w.operation())
		t.KeyDate = w.now().Add(20 * step)
		r = w.must(t)
		w.span("expires from the date", r.Expires, r.Observed, Keep.Key+20*step)
	})
	w.in("body", func(w *world) {
		o := w.operation()
		w.must(complete(w.granted(w.claim(o))))
		w.pass(20 * step) // 60 of 61 minutes
		r := w.expect(o.ID(), idempotency.Completed, 1)
		if err := sameResponse(r.Response, response()); err != nil {
			w.Error(err)
		}
		w.pass(step)
		for way, r := range map[string]idempotency.Record{"find": w.find(o.ID()), "claim": w.one(w.claim(o)).Record} {
			equal(w, way, r.State, idempotency.Forgotten)
			if err := sameResponse(r.Response, response().Bodiless()); err != nil {
				w.Errorf("%s: %v", way, err)
			}
			equal(w, "revision", r.Revision, 2)
		}
		// Nor does it come back once bodies have been removed.
		w.purges(100, 0)
		r = w.expect(o.ID(), idempotency.Forgotten, 1)
		if err := sameResponse(r.Response, response().Bodiless()); err != nil {
			w.Error(err)
		}
		w.must(idempotency.Acknowledge{Operation: o.ID()})
	})
}

// testPurge checks what is removed when, and above all what never is.
func testPurge(w *world) {
	expired := []string{"completed", "acknowledged", "bodiless", "not executed", "tombstone 0", "cancelled"}
	for _, name := range expired {
		w.in(name, func(w *world) {
			ss := make([]subject, 5)
			for i := range ss {
				ss[i].operation = w.operation()
			}
			columns[name].make(w, ss)
			age := time.Hour // of what came last
			for _, s := range ss {
				r := w.find(s.id())
				age = min(age, r.Observed.Sub(r.FirstSeen))
				if !r.Claimed.IsZero() {
					age = min(age, r.Observed.Sub(r.Claimed))
				}
			}
			w.pass(210 * step) // 630 of 601 minutes and the grace
			w.purges(100, 0)
			w.pass(step)
			w.purges(2, 2)
			w.purges(2, 2)
			w.purges(2, 1)
			w.purges(2, 0)
			for _, s := range ss {
				w.expect(s.id(), idempotency.Unseen, 0)
				if len(w.Evidence(w.T, s.id())) != 0 {
					w.Error("evidence outlived its record")
				}
			}
			purged, err := w.Store.Purged(background)
			if err != nil {
				w.Fatal("purged:", err)
			}
			w.span("purged up to", w.now(), purged, age+211*step)
			equal(w, "revision of what is seen anew", w.must(w.claim(ss[0].operation)).Revision, 1)
			w.must(complete(w.find(ss[0].id()).Attempt))
			w.pass(211 * step)
			w.purges(100, 1)
		})
	}
	w.in("with evidence", func(w *world) {
		o := w.operation()
		w.must(doubt(w.granted(w.claim(o))))
		w.must(resolve(o.ID(), 1, idempotency.VerdictExecuted))
		w.pass(211 * step)
		w.purges(100, 1)
		if n := len(w.Evidence(w.T, o.ID())); n != 0 {
			w.Errorf("%d pieces of evidence outlived their record", n)
		}
	})
	for _, name := range []string{"executing", "unknown", "contradicted not executed", "contradicted executing 2", "contradicted unknown 2", "resent 2"} {
		w.in("never "+name, func(w *world) {
			ss := []subject{{operation: w.operation()}}
			columns[name].make(w, ss)
			before := w.find(ss[0].id())
			evidence := len(w.Evidence(w.T, ss[0].id()))
			w.pass(1000 * step)
			w.purges(100, 0)
			after := w.find(ss[0].id())
			if after.Revision != before.Revision || after.Attempt != before.Attempt || after.Contradicted != before.Contradicted {
				w.Errorf("%v %d became %v %d", before.State, before.Revision, after.State, after.Revision)
			}
			equal(w, "evidence", len(w.Evidence(w.T, ss[0].id())), evidence)
		})
	}
	w.in("never a contradicted tombstone", func(w *world) {
		o := w.operation()
		w.must(cancel(o))
		w.one(complete(w.claim(o).Attempt))
		w.pass(1000 * step)
		w.purges(100, 0)
		if r := w.expect(o.ID(), idempotency.Cancelled, 0); !r.Contradicted {
			w.Error("the contradiction is gone")
		}
	})
}

func (w *world) purges(limit, want int) {
	w.Helper()
	n, more, err := w.Store.Purge(background, limit)
	if err != nil {
		w.Fatal("purge:", err)
	}
	equal(w, "purged records", n, want)
	if n == limit && !more {
		w.Error("a purge that removed as much as it may says that there is no more")
	}
	if n == 0 && more {
		w.Error("a purge that found nothing says that there is more")
	}
}

// now is the store's clock.
func (w *world) now() time.Time {
	w.Helper()
	return w.find(idempotency.OperationID{}).Observed
}
