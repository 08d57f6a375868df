package storetest

import (
	"github.com/onceway/onceway/idempotency"
)

// testResend follows operations of a route whose backend deduplicates by key.
func testResend(w *world) {
	// twice returns an operation whose first attempt is in doubt and whose second is executing.
	twice := func(w *world) (o idempotency.Operation, first, second idempotency.Attempt) {
		o = w.operation()
		first = w.granted(w.resend(o))
		w.must(doubt(first))
		r := w.must(w.resend(o))
		if !r.Doubted || !r.Resend {
			w.Fatalf("after a resend: doubted %v, resend %v", r.Doubted, r.Resend)
		}
		return o, first, r.Attempt
	}

	w.in("the first answer wins", func(w *world) {
		o, first, second := twice(w)
		early := complete(first)
		early.Response = idempotency.NewResponse(200, nil, []byte("first"))
		r := w.must(early)
		if r.State != idempotency.Completed || r.Attempt != second || r.Doubted || string(r.Response.Body) != "first" {
			w.Fatalf("after the first attempt's answer: %v %d, doubted %v", r.State, r.Attempt.N, r.Doubted)
		}
		r = w.must(complete(second)) // holds: there is an answer; the stored one
		if string(r.Response.Body) != "first" || w.find(o.ID()).Revision != r.Revision {
			w.Error("a second answer replaced the first")
		}
		if again := w.one(w.resend(o)); again.Applied {
			w.Error("a completed operation was claimed again")
		}
	})

	w.in("a release leaves the earlier doubt", func(w *world) {
		o, first, second := twice(w)
		r := w.must(release(second))
		equal(w, "state", r.State, idempotency.Unknown)
		equal(w, "cause", r.Cause, idempotency.CauseEarlier)
		if !r.Doubted {
			w.Error("the doubt about the first attempt is gone")
		}
		w.must(complete(first))
		w.expect(o.ID(), idempotency.Completed, 2)
	})

	w.in("a resolution ends the doubt", func(w *world) {
		o, first, second := twice(w)
		w.must(doubt(second))
		r := w.must(resolve(o.ID(), 2, idempotency.VerdictNotExecuted))
		if r.Doubted || r.State != idempotency.NotExecuted {
			w.Fatalf("resolved record is %v, doubted %v", r.State, r.Doubted)
		}
		if late := w.one(complete(first)); late.Applied || !late.Record.Contradicted {
			w.Error("an answer did not contradict the resolution that said there was no effect")
		}
	})

	w.in("a release after a proof of all attempts", func(w *world) {
		o := w.operation()
		w.must(release(w.granted(w.resend(o))))
		r := w.must(w.resend(o))
		if r.Doubted {
			w.Fatal("the first attempt was released, so nothing is in doubt")
		}
		equal(w, "state", w.must(release(r.Attempt)).State, idempotency.NotExecuted)
	})

	w.in("an import keeps earlier attempts in doubt", func(w *world) {
		o := w.operation()
		r := w.must(imported(w.resend(o), nil))
		equal(w, "cause", r.Cause, idempotency.CauseLost)
		w.must(release(r.Attempt))
		w.expect(o.ID(), idempotency.Unknown, 7)
		o = w.operation()
		w.must(release(w.must(imported(w.claim(o), nil)).Attempt))
		w.expect(o.ID(), idempotency.NotExecuted, 7)
	})

	w.in("an import without the answer does not pass for one with it", func(w *world) {
		c := w.claim(w.operation())
		w.must(imported(c, nil))
		if r := w.one(imported(c, response())); r.Applied || r.Record.State != idempotency.Unknown {
			w.Errorf("import of an answer: %v, applied %v", r.Record.State, r.Applied)
		}
	})
}

// testEvidence checks what is kept beside a record, and that it is kept once.
func testEvidence(w *world) {
	for name, run := range map[string]func(*world, idempotency.Operation) []idempotency.Evidence{
		"none for an ordinary life": func(w *world, o idempotency.Operation) []idempotency.Evidence {
			w.must(release(w.granted(w.claim(o))))
			a := w.granted(w.claim(o))
			w.must(complete(a))
			w.must(idempotency.Acknowledge{Operation: o.ID()})
			return nil
		},
		"late answer": func(w *world, o idempotency.Operation) []idempotency.Evidence {
			a := w.granted(w.claim(o))
			w.must(doubt(a))
			w.must(complete(a))
			w.must(complete(a))
			return []idempotency.Evidence{{Attempt: a.ID, N: 1, Kind: idempotency.EvidenceLateAnswer, By: "gateway"}}
		},
		"late answer of an orphan": func(w *world, o idempotency.Operation) []idempotency.Evidence {
			a := w.granted(w.claim(o))
			w.acquire()
			w.must(complete(a))
			return []idempotency.Evidence{{Attempt: a.ID, N: 1, Kind: idempotency.EvidenceLateAnswer, By: "gateway"}}
		},
		"late release": func(w *world, o idempotency.Operation) []idempotency.Evidence {
			a := w.granted(w.claim(o))
			w.must(doubt(a))
			w.must(release(a))
			return []idempotency.Evidence{{Attempt: a.ID, N: 1, Kind: idempotency.EvidenceLateRelease, By: "gateway", Text: "dial"}}
		},
		"resolution": func(w *world, o idempotency.Operation) []idempotency.Evidence {
			a := w.granted(w.claim(o))
			w.must(doubt(a))
			w.must(resolve(o.ID(), 1, idempotency.VerdictNotExecuted))
			b := w.granted(w.claim(o))
			w.must(doubt(b))
			w.must(resolve(o.ID(), 2, idempotency.VerdictExecuted))
			return []idempotency.Evidence{
				{Attempt: a.ID, N: 1, Kind: idempotency.EvidenceResolution, By: "operator:alice", Text: "looked it up"},
				{Attempt: b.ID, N: 2, Kind: idempotency.EvidenceResolution, By: "operator:alice", Text: "looked it up"},
			}
		},
		"absence": func(w *world, o idempotency.Operation) []idempotency.Evidence {
			a := w.granted(w.claim(o))
			if r := w.one(note(o.ID(), 1)); r.Applied {
				w.Error("noted that a running attempt was not found")
			}
			w.must(doubt(a))
			w.must(note(o.ID(), 1))
			again := note(o.ID(), 1)
			again.Text = "answered 404 later"
			if r := w.must(again); r.Revision != 2 || r.State != idempotency.Unknown {
				w.Errorf("a note moved the record: %v, revision %d", r.State, r.Revision)
			}
			return []idempotency.Evidence{{Attempt: a.ID, N: 1, Kind: idempotency.EvidenceAbsence, By: "probe", Text: "answered 404"}}
		},
		"import": func(w *world, o idempotency.Operation) []idempotency.Evidence {
			i := imported(w.claim(o), response())
			w.must(i)
			w.must(i)
			return []idempotency.Evidence{{Attempt: i.Claim.Attempt.ID, N: 7, Kind: idempotency.EvidenceImport, By: "gateway", Text: "from the spool"}}
		},
		"contradictions": func(w *world, o idempotency.Operation) []idempotency.Evidence {
			a := w.granted(w.claim(o))
			w.must(release(a))
			stranger := subject{attempt: a}.stranger()
			const text = "an answer arrived for an attempt that the record says had no effect"
			// The second changes nothing in the record, and is kept all the same; repeats are not.
			for range 2 {
				for _, t := range []idempotency.Complete{complete(a), completeBodiless(stranger)} {
					if r := w.one(t); r.Applied || !r.Record.Contradicted || r.Record.State != idempotency.NotExecuted || r.Record.Response != nil {
						w.Fatalf("contradiction: %v, applied %v, contradicted %v", r.Record.State, r.Applied, r.Record.Contradicted)
					}
				}
			}
			if r := w.one(w.claim(o)); r.Applied {
				w.Fatal("a contradiction did not block a claim")
			}
			return []idempotency.Evidence{
				{Attempt: a.ID, N: 1, Kind: idempotency.EvidenceContradiction, By: "gateway", Text: text, Response: response()},
				{Attempt: stranger.ID, N: 1, Kind: idempotency.EvidenceContradiction, By: "gateway", Text: text, Response: response().Bodiless()},
			}
		},
	} {
		w.in(name, func(w *world) {
			o := w.operation()
			want := run(w, o)
			observed := w.find(o.ID()).Observed
			for i := range want {
				want[i].Operation, want[i].At = o.ID(), observed
			}
			if err := sameEvidence(w.Evidence(w.T, o.ID()), observed, want, observed); err != nil {
				w.Error(err)
			}
		})
	}
}
