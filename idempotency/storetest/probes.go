package storetest

import (
	"slices"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// testProbes checks which records in doubt are due, and that each is taken once.
func testProbes(w *world) {
	// route returns a name that no other test has, so that what other tests left in doubt is not due.
	route := func(w *world) string { return "route of " + w.Name() }
	doubtful := func(w *world, route string) idempotency.Attempt {
		c := w.resend(w.operation())
		c.Route = route
		a := w.granted(c)
		w.must(doubt(a))
		return a
	}

	w.in("only what is in doubt, of the routes asked for", func(w *world) {
		mine := route(w)
		for _, settle := range []func(idempotency.Attempt) idempotency.Transition{
			func(a idempotency.Attempt) idempotency.Transition { return complete(a) },
			func(a idempotency.Attempt) idempotency.Transition { return release(a) },
			func(a idempotency.Attempt) idempotency.Transition {
				return resolve(a.Operation, a.N, idempotency.VerdictExecuted)
			},
		} {
			w.must(settle(doubtful(w, mine)))
		}
		running := w.claim(w.operation())
		running.Route = mine
		w.must(running)
		w.takes(10, mine)

		a, b := doubtful(w, mine), doubtful(w, mine+" too")
		doubtful(w, mine+" not")
		w.takes(10, mine, a)
		w.takes(10, mine+" too", b)
		due, err := w.Store.TakeProbes(background, nil, 10, step)
		if err != nil || len(due) != 0 {
			w.Errorf("of no route %d are due, %v", len(due), err)
		}
	})

	w.in("a sweep's doubt", func(w *world) {
		c := w.claim(w.operation())
		c.Route = route(w)
		a := w.granted(c)
		w.acquire()
		w.takes(10, c.Route) // it is only derived so far, and moves slowly enough to wait for the sweep
		if _, err := w.Store.Sweep(background); err != nil {
			w.Fatal(err)
		}
		w.takes(10, c.Route, a)
	})

	w.in("the longest due first, some of each route", func(w *world) {
		mine, other := route(w), route(w)+" too"
		var as []idempotency.Attempt
		for range 4 {
			as = append(as, doubtful(w, mine))
			w.passAlive(1)
		}
		alone := doubtful(w, other)
		if err := w.Store.PutOffProbe(background, as[0], -3*step/2); err != nil {
			w.Fatal(err)
		}
		w.takes(2, mine, as[1], as[2])
		w.takes(2, mine, as[0], as[3])
		w.takes(2, other, alone)
	})

	w.in("not again before the hold has passed", func(w *world) {
		mine := route(w)
		a := doubtful(w, mine)
		w.takes(1, mine, a) // for three steps
		w.passAlive(2)
		w.takes(1, mine)
		w.passAlive(2)
		w.takes(1, mine, a)
		if err := w.Store.PutOffProbe(background, a, step); err != nil {
			w.Fatal(err)
		}
		w.takes(1, mine)
		w.passAlive(2)
		w.takes(1, mine, a)
	})

	w.in("the next attempt is due at once", func(w *world) {
		mine := route(w)
		a := doubtful(w, mine)
		if err := w.Store.PutOffProbe(background, a, 1000*step); err != nil {
			w.Fatal(err)
		}
		c := w.resend(idempotency.Operation{Caller: "caller", Key: w.find(a.Operation).Operation.Key})
		c.Route = mine
		b := w.granted(c)
		w.takes(10, mine)
		w.must(doubt(b))
		if err := w.Store.PutOffProbe(background, a, 1000*step); err != nil { // late, about the attempt before
			w.Fatal(err)
		}
		w.takes(10, mine, b)
	})

	w.in("a resolved record is not due", func(w *world) {
		mine := route(w)
		a := doubtful(w, mine)
		w.must(resolve(a.Operation, 1, idempotency.VerdictNotExecuted))
		if err := w.Store.PutOffProbe(background, a, 0); err != nil {
			w.Fatal(err)
		}
		w.takes(10, mine)
		if r := w.find(a.Operation); r.State != idempotency.NotExecuted {
			w.Errorf("record is %v", r.State)
		}
	})

	w.in("each is taken once", func(w *world) {
		mine := route(w)
		const all, takers = 30, 6
		for range all {
			doubtful(w, mine)
		}
		stores := []Store{w.Store}
		if w.Second != nil {
			stores = append(stores, w.Second(w.T))
		}
		var mu sync.Mutex
		times := map[idempotency.OperationID]int{}
		var group sync.WaitGroup
		for i := range takers {
			group.Go(func() {
				for taken := 0; taken < all; { // what another one is taking now is not there for a moment
					due, err := stores[i%len(stores)].TakeProbes(background, []string{mine}, 3, time.Hour)
					if err != nil {
						w.Error(err)
					}
					mu.Lock()
					for _, id := range due {
						times[id]++
					}
					taken = len(times)
					mu.Unlock()
					if err != nil {
						return
					}
				}
			})
		}
		group.Wait()
		if len(times) != all {
			w.Errorf("%d of %d were taken", len(times), all)
		}
		for _, n := range times {
			if n != 1 {
				w.Errorf("one was taken %d times", n)
			}
		}
	})
}

// takes takes what is due of a route, for three steps, and compares it, in order of id.
func (w *world) takes(limit int, route string, want ...idempotency.Attempt) {
	w.Helper()
	due, err := w.Store.TakeProbes(background, []string{route}, limit, 3*step)
	if err != nil {
		w.Fatal("take:", err)
	}
	ids := make([]idempotency.OperationID, len(want))
	for i, a := range want {
		ids[i] = a.Operation
	}
	order := func(a, b idempotency.OperationID) int { return slices.Compare(a[:], b[:]) }
	slices.SortFunc(due, order)
	slices.SortFunc(ids, order)
	if !slices.Equal(due, ids) {
		w.Errorf("due are %v, want %v", due, ids)
	}
}
