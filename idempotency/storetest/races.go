package storetest

import (
	"fmt"
	"os"
	"strconv"
	"sync"

	"github.com/onceway/onceway/idempotency"
)

// race applies one transition per competitor at once, each as its own batch, on all handles in turn.
func (w *world) race(n int, t func(i int) idempotency.Transition) []idempotency.Result {
	w.Helper()
	handles := []Store{w.Store}
	if w.Second != nil {
		if w.second == nil { // one for all races of a test: servers have only so many connections
			w.second = w.Second(w.T)
		}
		handles = append(handles, w.second)
	}
	results, errs := make([]idempotency.Result, n), make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		ts := []idempotency.Transition{t(i)}
		wg.Go(func() {
			<-start
			r, err := applyTo(handles[i%len(handles)], ts)
			if err == nil && len(r) != 1 {
				err = fmt.Errorf("%d results for one transition", len(r))
			}
			if err != nil {
				errs[i] = err
				return
			}
			results[i] = r[0]
		})
	}
	close(start)
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			w.Fatalf("competitor %d: %v", i, err)
		}
	}
	return results
}

func applied(results []idempotency.Result) (n int) {
	for _, r := range results {
		if r.Applied {
			n++
		}
	}
	return n
}

// cancelRaces is how often a cancellation races a claim; ONCEWAY_RACES says otherwise.
func cancelRaces() int {
	if n, err := strconv.Atoi(os.Getenv("ONCEWAY_RACES")); err == nil && n > 0 {
		return n
	}
	return 100
}

// testRaces lets many do at once what only one may.
func testRaces(w *world) {
	if w.Second == nil {
		w.Log("this store belongs to one process: races run on one handle")
	}
	w.in("50 claims", func(w *world) {
		o := w.operation()
		results := w.race(50, func(int) idempotency.Transition { return w.claim(o) })
		if n := applied(results); n != 1 {
			w.Errorf("%d of 50 claims were granted", n)
		}
		winner := w.expect(o.ID(), idempotency.Executing, 1).Attempt.ID
		for i, r := range results {
			if r.Record.Attempt.ID != winner || r.Record.State != idempotency.Executing {
				w.Errorf("competitor %d was shown %v", i, r.Record.State)
			}
		}
	})

	w.in("50 claims of a released operation", func(w *world) {
		o := w.operation()
		w.must(release(w.granted(w.claim(o))))
		if n := applied(w.race(50, func(int) idempotency.Transition { return w.claim(o) })); n != 1 {
			w.Errorf("%d of 50 claims were granted", n)
		}
		equal(w, "revision", w.expect(o.ID(), idempotency.Executing, 2).Revision, 3)
	})

	w.in("20 resends of an operation in doubt", func(w *world) {
		o := w.operation()
		w.must(doubt(w.granted(w.resend(o))))
		if n := applied(w.race(20, func(int) idempotency.Transition { return w.resend(o) })); n != 1 {
			w.Errorf("%d of 20 resends were granted", n)
		}
		w.expect(o.ID(), idempotency.Executing, 2)
	})

	for _, released := range []bool{false, true} {
		w.in(fmt.Sprintf("cancel and claim, released %v", released), func(w *world) {
			for range cancelRaces() {
				o := w.operation()
				if released {
					w.must(release(w.granted(w.claim(o))))
				}
				results := w.race(2, func(i int) idempotency.Transition {
					if i == 0 {
						return cancel(o)
					}
					return w.claim(o)
				})
				state := w.find(o.ID()).State
				if applied(results) != 1 || results[0].Applied != (state == idempotency.Cancelled) || results[1].Applied != (state == idempotency.Executing) {
					w.Fatalf("cancel %v, claim %v, record %v", results[0].Applied, results[1].Applied, state)
				}
			}
		})
	}

	w.in("answer and doubt", func(w *world) {
		// Both are about the same attempt; whatever the order, the answer must not get lost.
		for range 20 {
			o := w.operation()
			a := w.granted(w.claim(o))
			w.race(3, func(i int) idempotency.Transition {
				if i == 0 {
					return complete(a)
				}
				return doubt(a)
			})
			w.expect(o.ID(), idempotency.Completed, 1)
		}
	})

	w.in("an operator and the answer", func(w *world) {
		// Whichever comes first counts, and the other one is told; an answer is never dropped.
		for range 20 {
			o := w.operation()
			a := w.granted(w.claim(o))
			w.must(doubt(a))
			results := w.race(2, func(i int) idempotency.Transition {
				if i == 0 {
					return complete(a)
				}
				return resolve(o.ID(), 1, idempotency.VerdictNotExecuted)
			})
			r := w.find(o.ID())
			answered := r.State == idempotency.Completed && !r.Contradicted
			contradicted := r.State == idempotency.NotExecuted && r.Contradicted
			if !answered && !contradicted || results[0].Applied != answered || results[1].Applied != contradicted {
				w.Fatalf("the record is %v, contradicted %v; the answer holds %v, the resolution %v",
					r.State, r.Contradicted, results[0].Applied, results[1].Applied)
			}
			if contradicted && w.one(w.claim(o)).Applied {
				w.Fatal("it was claimed again")
			}
		}
	})

	w.in("operators who disagree", func(w *world) {
		for range 10 {
			o := w.operation()
			w.must(doubt(w.granted(w.claim(o))))
			verdicts := []idempotency.Resolve{
				resolve(o.ID(), 1, idempotency.VerdictExecuted),
				resolve(o.ID(), 1, idempotency.VerdictNotExecuted), // by the same one, in the same words
				resolve(o.ID(), 1, idempotency.VerdictNotExecuted),
				resolve(o.ID(), 1, idempotency.VerdictExecuted),
			}
			verdicts[2].By = "operator:bob"
			verdicts[3].Response = response()
			results := w.race(4, func(i int) idempotency.Transition { return verdicts[i] })
			if applied(results) != 1 {
				w.Fatalf("%d of four verdicts hold", applied(results))
			}
			r := w.find(o.ID())
			for i, v := range verdicts {
				executed := v.Verdict == idempotency.VerdictExecuted
				if results[i].Applied && (r.Resolution.By != v.By || executed != r.State.Final() || (v.Response != nil) != (r.State == idempotency.Completed)) {
					w.Errorf("verdict %d holds, and the record is %v by %s", i, r.State, r.Resolution.By)
				}
				if again := w.one(v); again.Applied != results[i].Applied {
					w.Errorf("verdict %d, once more: holds %v, before %v", i, again.Applied, results[i].Applied)
				}
			}
		}
	})

	w.in("two late answers", func(w *world) {
		o := w.operation()
		first := w.granted(w.resend(o))
		w.must(doubt(first))
		second := w.granted(w.resend(o))
		results := w.race(10, func(i int) idempotency.Transition {
			c := complete([]idempotency.Attempt{first, second}[i%2])
			c.Response = idempotency.NewResponse(200, nil, fmt.Appendf(nil, "answer %d", i))
			return c
		})
		want := w.find(o.ID()).Response
		for i, r := range results {
			if err := sameResponse(r.Record.Response, want); err != nil || !r.Applied {
				w.Errorf("competitor %d: applied %v, %v", i, r.Applied, err)
			}
		}
	})

	w.in("batches over the same operations in opposite orders", func(w *world) {
		ops := make([]idempotency.Operation, 40)
		for i := range ops {
			ops[i] = w.operation()
		}
		var wg sync.WaitGroup
		granted := make([]int, 8)
		errs := make([]error, len(granted))
		for g := range granted {
			ts := make([]idempotency.Transition, len(ops))
			for i := range ops {
				if g%2 == 0 {
					ts[i] = w.claim(ops[i])
				} else {
					ts[i] = w.claim(ops[len(ops)-1-i])
				}
			}
			wg.Go(func() {
				results, err := applyTo(w.Store, ts)
				granted[g], errs[g] = applied(results), err
			})
		}
		wg.Wait()
		sum := 0
		for g := range granted {
			if errs[g] != nil {
				w.Fatal("batch:", errs[g])
			}
			sum += granted[g]
		}
		equal(w, "granted claims", sum, len(ops))
	})
}
