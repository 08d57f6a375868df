package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func TestFiftyAtOnceExecuteOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		const n = 50
		var granted, executed atomic.Int32
		outcomes := make(chan idempotency.Outcome, n)
		r := request("order")
		for range n {
			go func() {
				d, err := g.engine.Begin(t.Context(), r)
				switch {
				case err != nil:
					t.Error(err)
				case d.Ruling == idempotency.Granted:
					granted.Add(1)
					time.Sleep(time.Second) // the backend
					executed.Add(1)
					outcomes <- d.Execution.Complete(answer("made"))
				case d.Ruling == idempotency.Busy:
					o, settled, err := g.engine.Wait(t.Context(), d, 10*time.Second)
					if !settled || err != nil {
						t.Errorf("waiter: settled %v, %v", settled, err)
					}
					outcomes <- o
				default:
					t.Errorf("ruled %v", d.Ruling)
				}
			}()
		}
		for range n {
			o := <-outcomes
			if o.Err != nil || o.Record.State != idempotency.Completed || string(o.Record.Response.Body) != "made" {
				t.Fatalf("outcome %+v", o)
			}
		}
		if granted.Load() != 1 || executed.Load() != 1 {
			t.Fatalf("granted %d, executed %d", granted.Load(), executed.Load())
		}
		if n := g.store.applied(is[idempotency.Claim]); n != 1 {
			t.Errorf("%d claims reached the store; duplicates attach in memory", n)
		}
		g.begin(t, r, idempotency.Replay)
		if g.engine.Running() != 0 {
			t.Errorf("%d run", g.engine.Running())
		}
	})
}

// What a store answers after the commit must not decide who executes: the claim whose confirmation was
// lost is recognised by its attempt id.
func TestClaimWhoseConfirmationWasLostIsGrantedOnce(t *testing.T) {
	for name, fault := range map[string]hook{"error after commit": failAfter, "error before": failBefore, "too few results": tooFew} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				var lost idempotency.AttemptID
				g.store.breakBy(once(func(ctx context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
					lost = ts[0].(idempotency.Claim).Attempt.ID
					return fault(ctx, ts, apply)
				}))
				d := g.begin(t, request("order"), idempotency.Granted)
				if a := d.Execution.Attempt(); a.ID != lost || a.N != 1 {
					t.Fatalf("granted %v, attempt %d; the first try was of %v", a.ID, a.N, lost)
				}
				g.begin(t, request("order"), idempotency.Busy)
				d.Execution.Complete(answer("made"))
				g.store.wants(request("order").ID, idempotency.Completed)
			})
		})
	}
}

// A store that mixes up its rows must not tell one caller what is another's.
func TestResultsOfOtherOperationsAreNotBelieved(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("other"), idempotency.Granted).Execution.Complete(answer("secret"))
		g.store.breakBy(func(_ context.Context, ts []idempotency.Transition, _ next) ([]idempotency.Result, error) {
			return make([]idempotency.Result, len(ts)), nil
		})
		g.fails(t, request("order"), idempotency.ErrStoreTimeout)
		g.store.breakBy(func(_ context.Context, ts []idempotency.Transition, _ next) ([]idempotency.Result, error) {
			return []idempotency.Result{{Record: g.store.state(request("other").ID), Applied: true}}, nil
		})
		g.fails(t, request("third"), idempotency.ErrStoreTimeout)
	})
}

func TestSettledIsAnsweredWhateverRefuses(t *testing.T) {
	refusal := errors.New("the breaker is open")
	for name, test := range map[string]struct {
		refuse func(g *gateway, r *idempotency.Request)
		want   error
	}{
		"refusal":  {func(_ *gateway, r *idempotency.Request) { r.Refusal = refusal }, refusal},
		"no lease": {func(g *gateway, _ *idempotency.Request) { g.clock.suspend(time.Hour) }, idempotency.ErrNoLease},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				completed, executing, released, unseen := request("completed"), request("executing"), request("released"), request("unseen")
				g.begin(t, completed, idempotency.Granted).Execution.Complete(answer("made"))
				g.begin(t, released, idempotency.Granted).Execution.Release("refused", nil)
				x := g.begin(t, executing, idempotency.Granted).Execution
				g.cache.Drop(completed.ID)
				for _, r := range []*idempotency.Request{&completed, &executing, &released, &unseen} {
					test.refuse(g, r)
				}
				claims := g.store.applied(is[idempotency.Claim])
				g.begin(t, completed, idempotency.Replay)
				d := g.begin(t, executing, idempotency.Busy)
				g.fails(t, released, test.want)
				g.fails(t, unseen, test.want)
				if n := g.store.applied(is[idempotency.Claim]); n != claims {
					t.Errorf("%d claims were written in spite of the refusal", n-claims)
				}
				x.Complete(answer("made"))
				if o, _ := g.wait(t, d, time.Second); o.Record.State != idempotency.Completed {
					t.Errorf("waiter was told %v", o.Record.State)
				}
			})
		})
	}
}

func TestMismatchAtTheSameMoment(t *testing.T) {
	mine, theirs := request("order"), request("order")
	theirs.Fingerprint = printOf(2)
	t.Run("claim granted", func(t *testing.T) {
		bubble(t, func(t *testing.T, g *gateway) {
			release := make(chan struct{})
			g.store.breakBy(once(hold(release)))
			first := g.begins(t, mine)
			synctest.Wait()
			second := g.begins(t, theirs)
			synctest.Wait()
			close(release)
			d := <-first
			if other := <-second; d.Ruling != idempotency.Granted || other.Ruling != idempotency.Mismatch {
				t.Fatalf("ruled %v and %v", d.Ruling, other.Ruling)
			}
			d.Execution.Doubt("test")
		})
	})
	t.Run("claim refused, the other one may", func(t *testing.T) {
		bubble(t, func(t *testing.T, g *gateway) {
			g.begin(t, mine, idempotency.Granted).Execution.Release("refused", nil)
			release := make(chan struct{})
			g.store.breakBy(once(hold(release)))
			first := g.begins(t, theirs)
			synctest.Wait()
			second := g.begins(t, mine)
			synctest.Wait()
			close(release)
			d := <-second
			if other := <-first; d.Ruling != idempotency.Granted || other.Ruling != idempotency.Mismatch {
				t.Fatalf("ruled %v and %v", d.Ruling, other.Ruling)
			}
			if o := d.Execution.Complete(answer("2")); o.Record.Attempt.N != 2 {
				t.Errorf("completed by attempt %d", o.Record.Attempt.N)
			}
		})
	})
}

// A claim can lose against something that is gone by the time the record is read.
func TestClaimThatLostAgainstNothing(t *testing.T) {
	lose := func(_ context.Context, ts []idempotency.Transition, _ next) ([]idempotency.Result, error) {
		return []idempotency.Result{{Record: idempotency.Record{ID: ts[0].Target()}}}, nil
	}
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(once(lose))
		g.begin(t, request("once"), idempotency.Granted).Execution.Doubt("test")
		g.store.breakBy(lose)
		if d, err := g.engine.Begin(t.Context(), request("always")); err == nil || d.Execution != nil {
			t.Errorf("ruled %v without an error", d.Ruling)
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		if err := g.engine.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		a, b := g.begin(t, request("a"), idempotency.Granted), g.begin(t, request("b"), idempotency.Granted)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.engine.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Drain with two running: %v", err)
		}
		var drained atomic.Int32
		for range 2 { // also two who drain at once
			go func() {
				if err := g.engine.Drain(t.Context()); err == nil {
					drained.Add(1)
				}
			}()
		}
		a.Execution.Complete(answer("a"))
		synctest.Wait()
		if drained.Load() != 0 || g.engine.Running() != 1 {
			t.Fatal("drained while one runs")
		}
		b.Execution.Doubt("test")
		synctest.Wait()
		if drained.Load() != 2 {
			t.Fatalf("%d of 2 drained", drained.Load())
		}
	})
}

// Whoever was on his way to a claim when a drain began either is waited for or begins nothing: there is no moment in
// between. What is settled is answered all the same.
func TestRefuseBehindNobodysBack(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("settled"), idempotency.Granted).Execution.Complete(answer("made"))
		g.cache.Drop(request("settled").ID)
		release := make(chan struct{})
		admitted := func(name string) idempotency.Request {
			r := request(name)
			r.Admit = func() error { <-release; return nil }
			return r
		}
		replay := g.begins(t, admitted("settled"))
		refused := make(chan error, 1)
		go func() {
			_, err := g.engine.Begin(t.Context(), admitted("late"))
			refused <- err
		}()
		written := make(chan struct{})
		g.store.breakBy(about(request("claimed").ID, only[idempotency.Claim](hold(written))))
		granted := g.begins(t, request("claimed"))
		synctest.Wait()

		g.engine.Refuse()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.engine.Drain(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Drain while a claim is being written: %v", err)
		}
		close(written)
		d := <-granted
		g.begin(t, request("claimed"), idempotency.Busy)
		d.Execution.Complete(answer("made"))
		if err := g.engine.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		close(release)
		if err := <-refused; !errors.Is(err, idempotency.ErrStopped) {
			t.Errorf("begun after the drain: %v", err)
		}
		if d := <-replay; d.Ruling != idempotency.Replay {
			t.Errorf("what is settled is ruled %v", d.Ruling)
		}
		g.store.wants(request("late").ID, idempotency.Unseen)
		if n := g.engine.Running(); n != 0 {
			t.Errorf("%d running", n)
		}
	})
}

func TestCache(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		r := request("order")
		g.begin(t, r, idempotency.Granted).Execution.Complete(answer("made"))
		calls := g.store.calls()
		if d := g.begin(t, r, idempotency.Replay); string(d.Record.Response.Body) != "made" {
			t.Error("another body")
		}
		other := r
		other.Fingerprint = printOf(2)
		g.begin(t, other, idempotency.Mismatch)
		if g.store.calls() != calls {
			t.Error("a hit asked the store")
		}
		// An acknowledgement made elsewhere is noticed within 60 s.
		if _, err := g.store.Model.Apply(t.Context(), []idempotency.Transition{idempotency.Acknowledge{Operation: r.ID}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		g.begin(t, r, idempotency.NoBody)
	})
}

// A night in suspend is time that has passed: what is cached is as old as the night, although no timer noticed.
func TestCacheDoesNotOutliveASuspension(t *testing.T) {
	elsewhere := func(t *testing.T, g *gateway, r idempotency.Request) {
		if _, err := g.store.Model.Apply(t.Context(), []idempotency.Transition{idempotency.Acknowledge{Operation: r.ID}}); err != nil {
			t.Fatal(err)
		}
	}
	const noticed = time.Millisecond
	t.Run("cached before", func(t *testing.T) {
		bubble(t, func(t *testing.T, g *gateway) {
			r := request("order")
			g.begin(t, r, idempotency.Granted).Execution.Complete(answer("made"))
			for range 3 { // short ones count together
				g.clock.suspend(40 * time.Millisecond)
				time.Sleep(noticed)
				if _, ok := g.engine.Recall(r.ID); ok != (g.clock.jump < 100*time.Millisecond) {
					t.Errorf("recalled: %v, after %v", ok, g.clock.jump)
				}
			}
			for range 2 {
				time.Sleep(noticed)
				g.begin(t, r, idempotency.Replay)
				if _, ok := g.engine.Recall(r.ID); !ok {
					t.Error("what is read afterwards is not cached")
				}
			}
			g.clock.suspend(time.Hour)
			elsewhere(t, g, r)
			time.Sleep(noticed)
			g.begin(t, r, idempotency.NoBody)
		})
	})
	t.Run("read before", func(t *testing.T) {
		bubble(t, func(t *testing.T, g *gateway) {
			r := request("order")
			g.begin(t, r, idempotency.Granted).Execution.Complete(answer("made"))
			g.cache.Drop(r.ID)
			time.Sleep(time.Second)
			g.store.set(func(s *faulty) {
				s.found = func() {
					g.clock.suspend(time.Hour)
					time.Sleep(noticed)
					g.engine.Recall(request("other").ID) // notices it
				}
			})
			if _, err := g.engine.Find(t.Context(), r.ID); err != nil {
				t.Fatal(err)
			}
			g.store.set(func(s *faulty) { s.found = nil })
			elsewhere(t, g, r)
			g.begin(t, r, idempotency.NoBody)
		})
	})
}

func TestCacheNeverOutlivesTheBody(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		r := request("order")
		r.Retention.Response = 10 * time.Second
		// The answer of the store takes its time: the body's life is counted on the store's clock.
		g.store.breakBy(only[idempotency.Complete](func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			rs, err := apply()
			time.Sleep(time.Second)
			return rs, err
		}))
		g.begin(t, r, idempotency.Granted).Execution.Complete(answer("made"))
		g.begin(t, r, idempotency.Replay)
		time.Sleep(9 * time.Second)
		g.begin(t, r, idempotency.NoBody)
		for _, ttl := range g.cache.ttls {
			if ttl > 9*time.Second {
				t.Errorf("cached for %v", ttl)
			}
		}
	})
}

func TestNothingUnfinishedIsCached(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("doubt"), idempotency.Granted).Execution.Doubt("test")
		g.begin(t, request("release"), idempotency.Granted).Execution.Release("test", nil)
		g.begin(t, request("bodiless"), idempotency.Granted).Execution.Complete(answer("x").Bodiless())
		damaged := request("damaged")
		g.begin(t, damaged, idempotency.Granted).Execution.Complete(answer("x"))
		g.cache.Drop(damaged.ID)
		g.store.Damage(damaged.ID)
		g.begin(t, damaged, idempotency.Damage)
		if len(g.cache.m) != 0 {
			t.Errorf("cached: %v", g.cache.m)
		}
	})
}

// Random load on a store that fails at random: whatever happens, no operation has two effects, every
// answer that anybody saw is the one that stays, and in the end everything is settled.
func TestRandomLoadOnABadStore(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomLoad(t, seed) })
		})
	}
}

func randomLoad(t *testing.T, seed uint64) {
	m := newModel()
	gateways := []*gateway{
		start(t, m, idempotency.CommitterOptions{MaxBatch: 7}),
		start(t, m, idempotency.CommitterOptions{MaxBatch: 5, OneLane: true, Flushers: 1}),
	}
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	draw := func(n int) int { mu.Lock(); defer mu.Unlock(); return random.IntN(n) }
	faults := []hook{failBefore, failAfter, blackHole, refuse, block, tooFew}
	for _, g := range gateways {
		g.store.breakBy(func(ctx context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			time.Sleep(time.Duration(draw(20)) * time.Millisecond)
			if draw(4) == 0 {
				return faults[draw(len(faults))](ctx, ts, apply)
			}
			return apply()
		})
	}
	const operations = 40
	effects, seen := make([]int, operations), make([]string, operations)
	show := func(i int, r idempotency.Record) {
		if r.State != idempotency.Completed {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if body := string(r.Response.Body); seen[i] == "" {
			seen[i] = body
		} else if seen[i] != body {
			t.Errorf("operation %d was answered %q and %q", i, seen[i], body)
		}
	}
	one := func() {
		g, i := gateways[draw(2)], draw(operations)
		d, err := g.engine.Begin(t.Context(), request(name(i)))
		if err != nil {
			return
		}
		switch d.Ruling {
		case idempotency.Granted:
			defer d.Execution.Doubt("net")
			time.Sleep(time.Duration(draw(300)) * time.Millisecond)
			if draw(3) == 0 {
				show(i, d.Execution.Release("proof", nil).Record)
				return
			}
			mu.Lock()
			effects[i]++
			mu.Unlock()
			if draw(5) > 0 {
				show(i, d.Execution.Complete(answer(d.Execution.Attempt().ID.String())).Record)
			}
		case idempotency.Busy:
			o, _, _ := g.engine.Wait(t.Context(), d, time.Duration(draw(2000))*time.Millisecond)
			show(i, o.Record)
		default:
			show(i, d.Record)
		}
	}
	var clients sync.WaitGroup
	for range 40 {
		clients.Go(func() {
			for range 25 {
				one()
			}
		})
	}
	clients.Wait()
	for _, g := range gateways {
		g.store.heal()
	}
	time.Sleep(10 * time.Minute) // retries, abandoned claims
	for _, g := range gateways {
		if err := g.engine.Drain(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for i := range operations {
		r := gateways[0].store.state(request(name(i)).ID)
		if effects[i] > 1 {
			t.Errorf("operation %d was executed %d times", i, effects[i])
		}
		if r.State == idempotency.Executing {
			t.Errorf("operation %d is still executing", i)
		}
		if effects[i] == 1 && (r.State == idempotency.NotExecuted || r.State == idempotency.Unseen) || effects[i] == 0 && r.State == idempotency.Completed {
			t.Errorf("operation %d has %d effects and is %v", i, effects[i], r.State)
		}
		show(i, r)
	}
}
