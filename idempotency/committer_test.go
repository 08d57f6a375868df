package idempotency_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// claim returns a claim of this gateway's, with an attempt id of its own.
func (g *gateway) claim(key string) idempotency.Claim {
	c := claim(key)
	c.Attempt.Owner, _ = g.lease.Owner()
	return c
}

func claim(key string) idempotency.Claim {
	r := request(key)
	return idempotency.Claim{
		Attempt:   idempotency.Attempt{Operation: r.ID, ID: idempotency.NewAttemptID()},
		Operation: r.Operation, Fingerprint: r.Fingerprint, Method: r.Method, TargetURI: r.Target, Budget: r.Budget, Retention: retain,
	}
}

type submitted struct {
	result idempotency.Result
	err    error
	took   time.Duration
}

// submits submits in a goroutine of its own.
func (g *gateway) submits(tr idempotency.Transition, late func(idempotency.Result, error)) <-chan submitted {
	c := make(chan submitted, 1)
	begun := time.Now()
	go func() {
		r, err := g.committer.Submit(tr, late)
		c <- submitted{r, err, time.Since(begun)}
	}()
	return c
}

// gather makes sure that what f submits goes into one batch of the claims' lane: it keeps the two
// flushers busy until f has returned.
func (g *gateway) gather(t *testing.T, f func()) {
	t.Helper()
	g.busy(t, f, func(key string) { g.submits(g.claim(key), nil) })
}

// gatherOutcomes is gather for the outcomes' lane.
func (g *gateway) gatherOutcomes(t *testing.T, f func()) {
	t.Helper()
	g.busy(t, f, func(key string) { g.submits(idempotency.Doubt{Attempt: g.claim(key).Attempt}, nil) })
}

func (g *gateway) busy(t *testing.T, f func(), stop func(key string)) {
	t.Helper()
	release := make(chan struct{})
	defer synctest.Wait()
	defer close(release) // also when f ends the test
	before := g.store.hooked()
	g.store.breakBy(hold(release))
	for _, key := range []string{"stopper 1", "stopper 2"} {
		stop(key)
		time.Sleep(10 * time.Millisecond) // others do not wait longer for a batch that hangs
		synctest.Wait()
	}
	g.store.breakBy(before)
	f()
	synctest.Wait()
}

func TestWhatWaitsIsOneBatch(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.gather(t, func() {
			for i := range 100 {
				g.submits(g.claim(name(i)), nil)
			}
		})
		synctest.Wait()
		batches := g.store.recorded()
		if last := batches[len(batches)-1]; len(batches) != 3 || len(last) != 100 || !slices.IsSortedFunc(last, byTarget) {
			t.Errorf("%d batches, the last of %d", len(batches), len(last))
		}
	})
}

func byTarget(a, b idempotency.Transition) int {
	x, y := a.Target(), b.Target()
	return slices.Compare(x[:], y[:])
}

func TestPoisonedItemFailsAlone(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(about(request(name(3)).ID, refuse))
		var results []<-chan submitted
		g.gather(t, func() {
			for i := range 10 {
				results = append(results, g.submits(g.claim(name(i)), nil))
			}
		})
		for i, c := range results {
			r := <-c
			var rolledBack *idempotency.RolledBackError
			if poisoned := i == 3; errors.As(r.err, &rolledBack) != poisoned || r.result.Applied == poisoned {
				t.Errorf("item %d: applied %v, %v", i, r.result.Applied, r.err)
			}
		}
	})
}

// One that makes every batch with it fail without a word why must not hold its companions for ever.
func TestItemThatAlwaysTimesOutFailsAlone(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		poisoned := g.begin(t, request("poisoned"), idempotency.Granted).Execution
		fine := make([]*idempotency.Execution, 5)
		for i := range fine {
			fine[i] = g.begin(t, request(name(i)), idempotency.Granted).Execution
		}
		g.store.breakBy(about(request("poisoned").ID, failBefore))
		outcomes := make(chan idempotency.Outcome, len(fine))
		g.gatherOutcomes(t, func() {
			go poisoned.Complete(answer("poison"))
			for _, x := range fine {
				go func() { outcomes <- x.Complete(answer("made")) }()
			}
		})
		for range fine {
			if o := <-outcomes; o.Err != nil || o.Record.State != idempotency.Completed {
				t.Errorf("a companion: %v, %v", o.Record.State, o.Err)
			}
		}
		begun := time.Now()
		g.begin(t, request("later"), idempotency.Granted).Execution.Complete(answer("made"))
		if took := time.Since(begun); took != 0 {
			t.Errorf("a later outcome took %v", took)
		}
	})
}

func TestBlockedItemHoldsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		unlock := make(chan struct{})
		g.store.breakBy(about(request("blocked").ID, func(ctx context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			select {
			case <-unlock:
				return apply()
			default:
				return block(ctx, ts, apply)
			}
		}))
		var blocked <-chan submitted
		var others []<-chan submitted
		g.gather(t, func() {
			blocked = g.submits(g.claim("blocked"), nil)
			for i := range 10 {
				others = append(others, g.submits(g.claim(name(i)), nil))
			}
		})
		for _, c := range others {
			if r := <-c; !r.result.Applied || r.took > 500*time.Millisecond {
				t.Errorf("another item: applied %v, %v, after %v", r.result.Applied, r.err, r.took)
			}
		}
		select {
		case r := <-blocked:
			t.Fatalf("the blocked item came back: %v", r.err)
		default:
		}
		if r := <-g.submits(g.claim("new"), nil); !r.result.Applied || r.took != 0 {
			t.Errorf("a new claim took %v", r.took)
		}
		close(unlock)
		if r := <-blocked; !r.result.Applied {
			t.Errorf("unlocked: %v", r.err)
		}
	})
}

func TestManyBlockedItemsUseFewConnections(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		var mu sync.Mutex
		at, most := 0, 0
		g.store.breakBy(only[idempotency.Claim](func(ctx context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			mu.Lock()
			at++
			most = max(most, at)
			mu.Unlock()
			defer func() { mu.Lock(); at--; mu.Unlock() }()
			return block(ctx, ts, apply)
		}))
		var all []<-chan submitted
		for i := range 30 {
			all = append(all, g.submits(g.claim(name(i)), nil))
		}
		for _, c := range all {
			if r := <-c; !errors.Is(r.err, idempotency.ErrStoreTimeout) || r.took != storeTimeout {
				t.Errorf("%v after %v", r.err, r.took)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if most > 4 {
			t.Errorf("%d at a time", most)
		}
	})
}

func TestOutcomesNeverWaitBehindClaims(t *testing.T) {
	for name, fault := range map[string]hook{"blocked": block, "swallowed": blackHole} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				x := g.begin(t, request("running"), idempotency.Granted).Execution
				g.store.breakBy(only[idempotency.Claim](fault))
				for i := range 200 {
					g.submits(g.claim("claim "+string(rune('a'+i))), nil)
				}
				synctest.Wait()
				begun := time.Now()
				if o := x.Complete(answer("made")); o.Err != nil || time.Since(begun) != 0 {
					t.Errorf("%v after %v", o.Err, time.Since(begun))
				}
			})
		})
	}
}

func TestFullQueueRefusesAndWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newModel(), idempotency.CommitterOptions{MaxQueue: 5})
		running := g.begin(t, request("running"), idempotency.Granted).Execution
		var waiting []<-chan submitted
		submit := func(tr idempotency.Transition) {
			waiting = append(waiting, g.submits(tr, nil))
			synctest.Wait()
		}
		g.gather(t, func() {
			for i := range 3 {
				submit(g.claim(name(i)))
			}
			// What stands behind a busy operation is in the queue too.
			submit(idempotency.Acknowledge{Operation: request(name(0)).ID})
			submit(g.claim(name(0)))
			g.fails(t, request("one more"), idempotency.ErrOverloaded)
			if _, err := g.committer.Submit(idempotency.Cancel{Operation: request(name(0)).Operation, Retention: retain}, nil); !errors.Is(err, idempotency.ErrOverloaded) {
				t.Errorf("behind another item: %v", err)
			}
			if g.engine.Running() != 1 {
				t.Errorf("%d run", g.engine.Running())
			}
			go running.Complete(answer("made")) // outcomes are never refused
		})
		for _, c := range waiting {
			if r := <-c; r.err != nil {
				t.Error(r.err)
			}
		}
		synctest.Wait()
		g.store.wants(request("one more").ID, idempotency.Unseen)
		g.store.wants(request("running").ID, idempotency.Completed)
		g.begin(t, request("one more"), idempotency.Granted).Execution.Doubt("test")
	})
}

// A claim that nobody waits for any more, and that never was on its way, is never written, and is said to be.
func TestClaimThatNeverLeftTheQueue(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		release := make(chan struct{})
		g.store.breakBy(hold(release))
		for _, key := range []string{"a", "b"} {
			g.submits(g.claim(key), nil)
			time.Sleep(10 * time.Millisecond) // others do not wait longer for a batch that hangs
			synctest.Wait()
		}
		_, err := g.engine.Begin(t.Context(), request("queued"))
		var rolledBack *idempotency.RolledBackError
		if !errors.Is(err, idempotency.ErrStoreTimeout) || !errors.As(err, &rolledBack) {
			t.Errorf("queued: %v", err)
		}
		close(release)
		time.Sleep(time.Minute)
		g.store.wants(request("queued").ID, idempotency.Unseen)
		if n := g.store.applied(func(tr idempotency.Transition) bool { return tr.Target() == request("queued").ID }); n != 0 {
			t.Errorf("applied %d times", n)
		}
	})
}

func TestStop(t *testing.T) {
	type end struct {
		name  string
		fault hook
		limit time.Duration
	}
	for _, end := range []end{{"sound", nil, 0}, {"failing", failBefore, 0}, {"blocked", block, storeTimeout}, {"swallowed", blackHole, storeTimeout}} {
		t.Run(end.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				var late []error
				var mu sync.Mutex
				note := func(_ idempotency.Result, err error) { mu.Lock(); defer mu.Unlock(); late = append(late, err) }
				x := g.begin(t, request("running"), idempotency.Granted).Execution
				g.store.breakBy(end.fault)
				done := make(chan idempotency.Outcome, 1)
				var all []<-chan submitted
				for i := range 300 { // three batches, each of which could take a timeout
					all = append(all, g.submits(g.claim(name(i)), nil))
				}
				all = append(all, g.submits(idempotency.Doubt{Attempt: claim("unknown").Attempt}, note))
				all = append(all, g.submits(idempotency.Doubt{Attempt: claim("unknown").Attempt}, note)) // behind the other
				go func() { done <- x.Complete(answer("made")) }()
				synctest.Wait()
				begun := time.Now()
				g.committer.Stop()
				g.committer.Stop()
				if took := time.Since(begun); took > end.limit {
					t.Errorf("Stop took %v", took)
				}
				for i, c := range all {
					if r := <-c; (r.err == nil) != (end.fault == nil) {
						t.Errorf("item %d: %v", i, r.err)
					}
				}
				o := <-done
				if (o.Err == nil) != (end.fault == nil) {
					t.Errorf("the outcome: %v", o.Err)
				}
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				if g.engine.Running() != 0 {
					t.Errorf("%d run after Stop", g.engine.Running())
				}
				if want := map[bool]int{true: 0, false: 2}[end.fault == nil]; len(late) != want {
					t.Errorf("late was called %d times: %v", len(late), late)
				}
				if _, err := g.committer.Submit(claim("x"), nil); !errors.Is(err, idempotency.ErrStopped) {
					t.Errorf("after Stop: %v", err)
				}
			})
		})
	}
}

// Everything that is submitted comes back exactly once, by its result or by late, whatever the store does.
func TestEveryOutcomeComesBackOnce(t *testing.T) {
	for name, fault := range map[string]hook{"fails before": failBefore, "fails after": failAfter, "swallowed": blackHole, "blocked": block, "refused": refuse, "too few": tooFew} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				const n = 20
				var mu sync.Mutex
				results, lates := make([]int, n), make([]int, n)
				g.store.breakBy(fault)
				var all sync.WaitGroup
				for i := range n {
					all.Go(func() {
						_, err := g.committer.Submit(idempotency.Doubt{Attempt: claim(string(rune('a' + i))).Attempt}, func(idempotency.Result, error) {
							mu.Lock()
							defer mu.Unlock()
							lates[i]++
						})
						if !errors.Is(err, idempotency.ErrStoreTimeout) {
							mu.Lock()
							defer mu.Unlock()
							results[i]++
						}
					})
				}
				all.Wait()
				g.store.heal()
				time.Sleep(time.Minute)
				mu.Lock()
				defer mu.Unlock()
				for i := range n {
					if results[i]+lates[i] != 1 {
						t.Errorf("item %d: %d results, late called %d times", i, results[i], lates[i])
					}
				}
			})
		})
	}
}

// What submitters wait with is used again. The result of one that has left must not wake the next one, which would
// take it for its own, or find nothing.
func TestAResultWakesItsOwnSubmitterOnly(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		for i := range 20 { // the race detector makes pools forget
			first, second := make(chan struct{}), make(chan struct{})
			g.store.breakBy(hold(first))
			left := g.submits(g.claim(name(2*i)), nil)
			time.Sleep(storeTimeout + time.Second)
			if s := <-left; !errors.Is(s.err, idempotency.ErrStoreTimeout) {
				t.Fatalf("left: %v", s.err)
			}
			g.store.breakBy(hold(second))
			now := g.submits(g.claim(name(2*i+1)), nil)
			synctest.Wait()
			close(first) // the first result comes while the second submitter waits
			synctest.Wait()
			select {
			case s := <-now:
				t.Fatalf("woken by another's result: %v", s.err)
			default:
			}
			close(second)
			if s := <-now; s.err != nil || !s.result.Applied || s.result.Record.Operation.Key != idempotency.Key(name(2*i+1)) {
				t.Fatalf("%v, %+v", s.err, s.result)
			}
		}
	})
}

// noStore applies nothing, at no cost of its own.
type noStore struct{}

func (noStore) Apply(_ context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	rs := make([]idempotency.Result, len(ts))
	for i, t := range ts {
		rs[i].Record.ID = t.Target()
	}
	return rs, nil
}

func (noStore) Find(context.Context, []idempotency.OperationID) ([]idempotency.Record, error) {
	return nil, nil
}

func BenchmarkSubmit(b *testing.B) {
	c := idempotency.NewCommitter(noStore{}, idempotency.CommitterOptions{})
	defer c.Stop()
	b.ReportAllocs()
	b.SetParallelism(64)
	b.RunParallel(func(p *testing.PB) {
		key := idempotency.NewAttemptID().String()
		claim := claim(key)
		complete := idempotency.Complete{Attempt: claim.Attempt, Response: answer("made"), Retention: retain}
		for p.Next() {
			for _, t := range []idempotency.Transition{claim, complete} {
				if _, err := c.Submit(t, nil); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}
