package idempotency_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func settled(r idempotency.Record) bool { return r.State != idempotency.Executing }

// awaits is Await in a goroutine of its own. It tells when it came back.
func (g *gateway) awaits(ctx context.Context, r idempotency.Request, wait time.Duration, enough func(idempotency.Record) bool) <-chan told {
	c := make(chan told, 1)
	begun := time.Now()
	go func() {
		rec, err := g.engine.Await(ctx, r.ID, wait, enough)
		c <- told{Outcome: idempotency.Outcome{Record: rec}, err: err, took: time.Since(begun)}
	}()
	return c
}

// A thousand who wait for one operation cost the store at most their first looks, and one watch.
func TestWaitersShareAWatch(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		const waiters = 1000
		var waits []<-chan told
		for range waiters {
			waits = append(waits, b.awaits(t.Context(), request("order"), time.Minute, settled))
		}
		synctest.Wait()
		first := b.store.looks()
		time.Sleep(10 * time.Second)
		x.Complete(answer("made"))
		for _, w := range waits {
			if o := <-w; o.err != nil || string(o.Record.Response.Body) != "made" || o.took > 10*time.Second+300*time.Millisecond {
				t.Fatalf("%v, %v after %v", o.Record.State, o.err, o.took)
			}
		}
		if n := b.store.looks() - first; first > waiters || n > 90 {
			t.Errorf("%d first looks, then %d in ten seconds", first, n)
		}
		b.engine.CloseWatches() // with nobody waiting nothing runs
		if rest := b.store.looks(); b.idles(rest) != rest {
			t.Error("somebody still looks")
		}
	})
}

func (g *gateway) idles(int) int { time.Sleep(10 * time.Second); return g.store.looks() }

// Many operations share their looks.
func TestWatchesShareQueries(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		const operations = 300
		var waits []<-chan told
		for i := range operations {
			x := a.begin(t, request(name(i)), idempotency.Granted).Execution
			t.Cleanup(func() { x.Doubt("over") })
			waits = append(waits, b.awaits(t.Context(), request(name(i)), 20*time.Second, settled))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		before := b.store.looks()
		time.Sleep(10 * time.Second)
		if n := b.store.looks() - before; n > 250 {
			t.Errorf("%d queries in ten seconds for %d operations", n, operations)
		}
		for _, w := range waits {
			if o := <-w; o.err != nil || o.Record.State != idempotency.Executing || o.took != 20*time.Second {
				t.Errorf("%v, %v after %v", o.Record.State, o.err, o.took)
			}
		}
	})
}

// What this gateway writes is noticed at once, whoever wrote it; what another one writes within 300 ms.
func TestHowSoonAChangeIsNoticed(t *testing.T) {
	changes := map[string]func(t *testing.T, g *gateway, x *idempotency.Execution){
		"answer": func(t *testing.T, g *gateway, x *idempotency.Execution) { x.Complete(answer("made")) },
		"doubt":  func(t *testing.T, g *gateway, x *idempotency.Execution) { x.Doubt("net") },
		"resolution": func(t *testing.T, g *gateway, x *idempotency.Execution) {
			if _, err := g.engine.Resolve(idempotency.Resolve{Operation: request("order").ID, N: 1, Verdict: idempotency.VerdictExecuted, By: "probe", Evidence: "found"}); err != nil {
				t.Error(err)
			}
		},
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			pair(t, func(t *testing.T, a, b *gateway) {
				x := a.begin(t, request("order"), idempotency.Granted).Execution
				if name == "resolution" {
					x.Doubt("net")
				}
				revision := a.store.state(request("order").ID).Revision
				moved := func(r idempotency.Record) bool { return r.Revision != revision }
				here, there := a.awaits(t.Context(), request("order"), time.Minute, moved), b.awaits(t.Context(), request("order"), time.Minute, moved)
				const after = 7777 * time.Millisecond
				time.Sleep(after)
				change(t, a, x)
				if o := <-here; o.err != nil || o.took > after+50*time.Millisecond {
					t.Errorf("on the same gateway after %v, %v", o.took-after, o.err)
				}
				if o := <-there; o.err != nil || o.took > after+300*time.Millisecond {
					t.Errorf("on another gateway after %v, %v", o.took-after, o.err)
				}
				x.Doubt("over")
			})
		})
	}
}

// What this gateway writes is noticed because it was written: it costs one look, long before the next would be due.
func TestAChangeHereIsNotPolledFor(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		looked := make(chan struct{}, 1)
		waits := []<-chan told{}
		for range 10 {
			waits = append(waits, a.awaits(t.Context(), request("order"), time.Minute, settled))
		}
		time.Sleep(10 * time.Second)
		a.store.set(func(s *faulty) {
			s.found = func() {
				select {
				case looked <- struct{}{}:
				default:
				}
			}
		})
		<-looked
		synctest.Wait()
		// The next look would be a hundred milliseconds away: those that others need are as far apart.
		before, at := a.store.looks(), time.Now()
		x.Complete(answer("made"))
		for _, w := range waits {
			if o := <-w; o.err != nil || o.Record.State != idempotency.Completed {
				t.Fatalf("%v, %v", o.Record.State, o.err)
			}
		}
		if n := a.store.looks() - before; n != 1 || time.Since(at) > 5*time.Millisecond {
			t.Errorf("%d looks in %v", n, time.Since(at))
		}
	})
}

// However long somebody has waited, what another gateway writes is looked for as often as at first.
func TestLooksStayFrequent(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		var gaps []time.Duration
		last := time.Now()
		b.store.set(func(s *faulty) {
			s.found = func() { gaps, last = append(gaps, time.Since(last)), time.Now() }
		})
		wait := b.awaits(t.Context(), request("order"), time.Hour, settled)
		time.Sleep(5 * time.Minute)
		b.store.set(func(s *faulty) { s.found = nil })
		synctest.Wait() // also for a look that is on its way
		if longest := slices.Max(gaps); longest > 250*time.Millisecond {
			t.Errorf("%v between two looks", longest)
		}
		if n := len(gaps); n > 5*60*9 {
			t.Errorf("%d looks in five minutes", n)
		}
		x.Doubt("over")
		<-wait
	})
}

// A change while a look is on its way is looked for again at once.
func TestAChangeDuringALook(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		wait := g.awaits(t.Context(), request("order"), time.Minute, settled)
		time.Sleep(5 * time.Second)
		release, looking := make(chan struct{}), make(chan struct{})
		var once sync.Once
		g.store.set(func(s *faulty) {
			s.found = func() {
				once.Do(func() { close(looking) })
				<-release
			}
		})
		<-looking
		x.Complete(answer("made"))
		changed := time.Now()
		g.store.set(func(s *faulty) { s.found = nil })
		close(release)
		if o := <-wait; o.err != nil || o.Record.State != idempotency.Completed || time.Since(changed) > 50*time.Millisecond {
			t.Errorf("%v, %v, %v after the change", o.Record.State, o.err, time.Since(changed))
		}
	})
}

// Whoever comes later does not take what was seen before it came for its own.
func TestLateWaiterLooksForItself(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		never := b.awaits(t.Context(), request("order"), 20*time.Second, func(idempotency.Record) bool { return false })
		time.Sleep(5 * time.Second)
		x.Release("refused", nil)
		time.Sleep(time.Second)
		again := a.begin(t, request("order"), idempotency.Granted).Execution // at once: b's watch has not seen it
		if o := <-b.awaits(t.Context(), request("order"), 3*time.Second, settled); o.Record.State != idempotency.Executing || o.took != 3*time.Second {
			t.Errorf("%v after %v", o.Record.State, o.took)
		}
		<-never
		again.Complete(answer("made"))
	})
}

// A look that began before somebody came, and saw more than his own first look, is not lost on him.
func TestAnEarlierLookSawMore(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		never := b.awaits(t.Context(), request("order"), 20*time.Second, func(idempotency.Record) bool { return false })
		time.Sleep(5 * time.Second)
		release, looking := make(chan struct{}), make(chan struct{})
		var first atomic.Bool
		b.store.set(func(s *faulty) {
			s.find = func(context.Context) error {
				if first.CompareAndSwap(false, true) {
					close(looking)
					<-release
				}
				return nil
			}
		})
		<-looking
		wait := b.awaits(t.Context(), request("order"), 10*time.Second, settled)
		synctest.Wait()
		x.Complete(answer("made"))
		close(release)
		if o := <-wait; o.err != nil || o.Record.State != idempotency.Completed || o.took > 300*time.Millisecond {
			t.Errorf("%v, %v after %v", o.Record.State, o.err, o.took)
		}
		<-never
	})
}

// Whoever waits for a final record to change does not make the store read its answer again and again.
func TestWatchOfAFinalRecord(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("order"), idempotency.Granted).Execution.Complete(answer("made"))
		wait := g.awaits(t.Context(), request("order"), time.Minute, func(r idempotency.Record) bool { return r.State != idempotency.Completed })
		time.Sleep(10 * time.Second)
		before := g.store.looks()
		time.Sleep(20 * time.Second)
		if n := g.store.looks() - before; n > 15 {
			t.Errorf("%d looks in 20 seconds", n)
		}
		g.acknowledge(t, request("order"), idempotency.Forgotten)
		if o := <-wait; o.err != nil || o.Record.State != idempotency.Forgotten || o.took > 30*time.Second+50*time.Millisecond {
			t.Errorf("%v, %v after %v", o.Record.State, o.err, o.took)
		}
	})
}

// What is enough may depend on time alone.
func TestWaitJudgesAgain(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("order"), idempotency.Granted).Execution.Doubt("net")
		var over atomic.Bool
		wait := g.awaits(t.Context(), request("order"), time.Minute, func(idempotency.Record) bool { return over.Load() })
		time.Sleep(5 * time.Second)
		over.Store(true)
		if o := <-wait; o.took > 6*time.Second {
			t.Errorf("after %v", o.took)
		}
	})
}

// The end of a gateway ends waits with what was seen last, also when the store is gone.
func TestTheEndOfWaits(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		work, end := context.WithCancel(t.Context())
		wait := b.awaits(work, request("order"), time.Minute, func(idempotency.Record) bool { return false })
		time.Sleep(time.Second)
		x.Doubt("net")
		time.Sleep(time.Second)
		synctest.Wait()
		b.store.set(func(s *faulty) { s.find = func(ctx context.Context) error { <-ctx.Done(); return errBroken } })
		end()
		if o := <-wait; o.err != nil || o.Record.State != idempotency.Unknown || o.took != 2*time.Second {
			t.Errorf("%v, %v after %v", o.Record.State, o.err, o.took)
		}
	})
}

// waiters are all who can wait for an operation that another gateway executes: a retry, one who asks, and one who
// asks about it among others.
func (g *gateway) waiters(t *testing.T, wait time.Duration) map[string]<-chan told {
	many := make(chan told, 1)
	begun := time.Now()
	go func() {
		o := told{}
		rs, err := g.engine.AwaitAll(t.Context(), []idempotency.OperationID{request("another").ID, request("order").ID}, wait, settled)
		if err == nil {
			o.Record = rs[1]
		}
		o.err, o.took = err, time.Since(begun)
		many <- o
	}()
	return map[string]<-chan told{
		"a retry":            g.waits(t, g.begin(t, request("order"), idempotency.Busy), wait),
		"a question":         g.awaits(t.Context(), request("order"), wait, settled),
		"a question of many": many,
	}
}

// A store that restarts within its time throws nobody out who waits, whether its looks fail or hang meanwhile.
func TestWaitersOutlastARestart(t *testing.T) {
	const away = storeTimeout - 100*time.Millisecond
	for name, look := range map[string]func(up <-chan struct{}) error{
		"refused": func(<-chan struct{}) error { return errBroken },
		"hanging": func(up <-chan struct{}) error { <-up; return errBroken },
	} {
		t.Run(name, func(t *testing.T) {
			pair(t, func(t *testing.T, a, b *gateway) {
				x := a.begin(t, request("order"), idempotency.Granted).Execution
				waits := b.waiters(t, 20*time.Second)
				for range 3 { // each has its own time
					time.Sleep(time.Second)
					up := make(chan struct{})
					b.store.set(func(s *faulty) { s.find = func(context.Context) error { return look(up) } })
					time.Sleep(away)
					b.store.set(func(s *faulty) { s.find = nil })
					close(up)
				}
				time.Sleep(time.Second)
				after := 4*time.Second + 3*away
				x.Complete(answer("made"))
				for who, wait := range waits {
					if o := <-wait; o.err != nil || o.Record.State != idempotency.Completed || o.took < after || o.took > after+300*time.Millisecond {
						t.Errorf("%s: %v, %v after %v", who, o.Record.State, o.err, o.took)
					}
				}
			})
		})
	}
}

// Who waited is told what was seen last if the store restarts just when the wait is over.
func TestAWaitThatEndsDuringARestart(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		waits := b.waiters(t, 2*time.Second)
		time.Sleep(time.Second)
		b.store.set(func(s *faulty) { s.find = func(context.Context) error { return errBroken } })
		for who, wait := range waits {
			if o := <-wait; o.err != nil || o.settled || o.Record.State != idempotency.Executing || o.took != 2*time.Second {
				t.Errorf("%s: %v, settled %v, %v after %v", who, o.Record.State, o.settled, o.err, o.took)
			}
		}
		b.store.set(func(s *faulty) { s.find = nil })
		x.Complete(answer("made"))
	})
}

// A retry whose very claim was answered knows enough for its answer.
func TestARestartRightAfterTheClaim(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		d := b.begin(t, request("order"), idempotency.Busy)
		b.store.set(func(s *faulty) { s.find = func(context.Context) error { return errBroken } })
		for _, wait := range []time.Duration{0, time.Second} {
			if o := <-b.waits(t, d, wait); o.err != nil || o.settled || o.Record.State != idempotency.Executing || o.took != wait {
				t.Errorf("%v, settled %v, %v after %v instead of %v", o.Record.State, o.settled, o.err, o.took, wait)
			}
		}
		b.store.set(func(s *faulty) { s.find = nil })
		x.Complete(answer("made"))
	})
}

// A store that stays away is told of once it has had its time.
func TestAwaitWithoutAStore(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		waits := b.waiters(t, time.Minute)
		time.Sleep(time.Second)
		b.store.set(func(s *faulty) { s.find = func(context.Context) error { return errBroken } })
		for who, wait := range waits {
			if o := <-wait; !errors.Is(o.err, errBroken) || o.took < time.Second+storeTimeout || o.took > time.Second+storeTimeout+500*time.Millisecond {
				t.Errorf("%s: %v, %v after %v", who, o.Record.State, o.err, o.took)
			}
		}
		b.store.set(func(s *faulty) { s.find = nil })
		x.Complete(answer("made"))
	})
}

func TestAwaitAll(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		requests := []idempotency.Request{request("one"), request("two"), request("none"), request("three")}
		var ids []idempotency.OperationID
		for _, r := range requests {
			ids = append(ids, r.ID)
		}
		one := a.begin(t, requests[0], idempotency.Granted).Execution
		a.begin(t, requests[1], idempotency.Granted).Execution.Complete(answer("made"))
		three := a.begin(t, requests[3], idempotency.Granted).Execution
		type all struct {
			records []idempotency.Record
			err     error
			took    time.Duration
		}
		await := func(wait time.Duration) <-chan all {
			c, begun := make(chan all, 1), time.Now()
			go func() {
				rs, err := b.engine.AwaitAll(t.Context(), ids, wait, settled)
				c <- all{rs, err, time.Since(begun)}
			}()
			return c
		}
		states := func(got all, took time.Duration, want ...idempotency.State) {
			t.Helper()
			if got.err != nil || len(got.records) != len(want) || got.took > took || got.took < took-300*time.Millisecond {
				t.Fatalf("%d records, %v, after %v", len(got.records), got.err, got.took)
			}
			for i, r := range got.records {
				if r.ID != ids[i] || r.State != want[i] || !r.Observed.Equal(got.records[0].Observed) {
					t.Errorf("record %d is %v as of %v, want %v", i, r.State, r.Observed, want[i])
				}
			}
		}
		const E, C, U, D = idempotency.Executing, idempotency.Completed, idempotency.Unseen, idempotency.Unknown
		states(<-await(0), 0, E, C, U, E)
		states(<-await(2*time.Second), 2*time.Second, E, C, U, E)
		wait := await(time.Minute)
		time.Sleep(time.Second)
		three.Doubt("net")
		time.Sleep(time.Second)
		one.Complete(answer("made"))
		states(<-wait, 2*time.Second+300*time.Millisecond, C, C, U, D)
	})
}
