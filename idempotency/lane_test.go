package idempotency_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Of one operation there is one transition at a time in a lane, and they keep their order, though one
// of them is retried.
func TestOneOperationKeepsItsOrder(t *testing.T) {
	for name, fault := range map[string]hook{"sound": nil, "retried": once(failAfter), "blocked": once(block)} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				var all []<-chan submitted
				g.store.breakBy(about(request("order").ID, func(ctx context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
					if fault == nil {
						return apply()
					}
					return fault(ctx, ts, apply)
				}))
				op := request("order").Operation
				first := g.claim("order")
				g.gather(t, func() {
					for _, tr := range []idempotency.Transition{first, idempotency.Acknowledge{Operation: op.ID()}, g.claim("order"), idempotency.Cancel{Operation: op, Retention: retain}} {
						all = append(all, g.submits(tr, nil))
						all = append(all, g.submits(g.claim(name+string(rune('a'+len(all)))), nil))
						synctest.Wait()
					}
				})
				for _, c := range all {
					if r := <-c; r.err != nil {
						t.Error(r.err)
					}
				}
				var order []string
				for _, batch := range g.store.recorded() {
					for _, tr := range batch {
						if tr.Target() == op.ID() {
							order = append(order, verb(tr))
						}
					}
				}
				if got := slices.Compact(order); !slices.Equal(got, []string{"claim", "acknowledge", "claim", "cancel"}) {
					t.Errorf("applied in the order %v", got)
				}
				if r := g.store.wants(op.ID(), idempotency.Executing); r.Attempt.ID != first.Attempt.ID {
					t.Error("the second claim won")
				}
			})
		})
	}
}

// A store with a single writer has one lane; even so outcomes come first.
func TestOneLaneTakesOutcomesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newModel(), idempotency.CommitterOptions{OneLane: true, Flushers: 1, MaxBatch: 4})
		var running []*idempotency.Execution
		for i := range 3 {
			running = append(running, g.begin(t, request(name(i)), idempotency.Granted).Execution)
		}
		release := make(chan struct{})
		g.store.breakBy(once(hold(release)))
		g.submits(g.claim("stopper"), nil)
		synctest.Wait()
		for i := range 10 {
			g.submits(g.claim("claim "+name(i)), nil)
		}
		synctest.Wait()
		for _, x := range running {
			go x.Complete(answer("made"))
		}
		synctest.Wait()
		g.store.set(func(s *faulty) { s.batches = nil })
		close(release)
		synctest.Wait()
		first := g.store.recorded()[0]
		if n := len(slices.DeleteFunc(slices.Clone(first), is[idempotency.Claim])); n != 3 || len(first) != 4 {
			t.Errorf("the first batch of %d has %d outcomes", len(first), n)
		}
	})
}

// In one lane, a claim that is blocked costs an outcome of its batch nothing.
func TestOneLaneBlockedClaimHoldsNoOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newModel(), idempotency.CommitterOptions{OneLane: true, Flushers: 1})
		x := g.begin(t, request("running"), idempotency.Granted).Execution
		release := make(chan struct{})
		stop := once(hold(release))
		locked := only[idempotency.Claim](block)
		g.store.breakBy(func(ctx context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			return stop(ctx, ts, func() ([]idempotency.Result, error) { return locked(ctx, ts, apply) })
		})
		g.submits(idempotency.Acknowledge{Operation: request("stopper").ID}, nil)
		synctest.Wait()
		for i := range 5 {
			g.submits(g.claim(name(i)), nil)
		}
		done := make(chan submitted, 1)
		go func() { o := x.Complete(answer("made")); done <- submitted{err: o.Err} }()
		synctest.Wait()
		g.store.set(func(s *faulty) { s.batches = nil })
		close(release)
		if r := <-done; r.err != nil {
			t.Error(r.err)
		}
		// The batch that was blocked, and then the outcome by itself before any claim.
		if b := g.store.recorded(); len(b[0]) != 6 || len(b[1]) != 1 || !is[idempotency.Complete](b[1][0]) {
			t.Errorf("batches: %v", b)
		}
	})
}

// sizes submits n claims one after the other, each when the one before is where it stays, and returns the
// sizes of all batches so far.
func (g *gateway) sizes(from, n int) []int {
	synctest.Wait()
	for i := range n {
		g.submits(g.claim(name(from+i)), nil)
		synctest.Wait()
	}
	var sizes []int
	for _, batch := range g.store.recorded() {
		sizes = append(sizes, len(batch))
	}
	return sizes
}

// A near store is given one batch at a time, and what comes meanwhile is the next one. A batch that is
// late, or many that wait, hold up nobody.
func TestNearStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newModel(), idempotency.CommitterOptions{Flushers: 4})
		release := make(chan struct{})
		g.store.breakBy(hold(release))
		if got := g.sizes(0, 6); !slices.Equal(got, []int{1}) {
			t.Errorf("batches of %v before the first has landed", got)
		}
		g.store.heal()
		close(release)
		if got := g.sizes(0, 0); !slices.Equal(got, []int{1, 5}) {
			t.Errorf("batches of %v", got)
		}

		late := make(chan struct{})
		g.store.breakBy(hold(late))
		if got := g.sizes(10, 4); !slices.Equal(got, []int{1, 5, 1}) {
			t.Errorf("batches of %v", got)
		}
		time.Sleep(9 * time.Millisecond)
		if got := g.sizes(14, 1); !slices.Equal(got, []int{1, 5, 1}) {
			t.Errorf("batches of %v though nothing is late", got)
		}
		time.Sleep(time.Millisecond)
		if got := g.sizes(0, 0); !slices.Equal(got, []int{1, 5, 1, 4}) {
			t.Errorf("batches of %v when the first is late", got)
		}
		if got := g.sizes(20, 63); !slices.Equal(got, []int{1, 5, 1, 4}) {
			t.Errorf("batches of %v with 63 that wait", got)
		}
		if got := g.sizes(83, 1); !slices.Equal(got, []int{1, 5, 1, 4, 64}) {
			t.Errorf("batches of %v with 64 that wait", got)
		}
		close(late)
	})
}

// Whoever waits for a batch that hangs does so for ten milliseconds, also if he came to wait for it only when the
// one before it had landed.
func TestHangingBatchAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newModel(), idempotency.CommitterOptions{Flushers: 4})
		sound, hanging := make(chan struct{}), make(chan struct{})
		defer close(hanging)
		<-g.submits(g.claim("near"), nil)
		g.store.set(func(s *faulty) { s.batches = nil })
		g.store.breakBy(hold(sound))
		g.sizes(0, 1)
		time.Sleep(time.Millisecond)
		g.sizes(1, 1)
		time.Sleep(4 * time.Millisecond)
		g.store.breakBy(hold(hanging))
		close(sound)
		if got := g.sizes(2, 1); !slices.Equal(got, []int{1, 1}) {
			t.Fatalf("batches of %v", got)
		}
		time.Sleep(9 * time.Millisecond)
		if got := g.sizes(0, 0); !slices.Equal(got, []int{1, 1}) {
			t.Errorf("batches of %v before the second was late", got)
		}
		time.Sleep(time.Millisecond)
		if got := g.sizes(0, 0); !slices.Equal(got, []int{1, 1, 1}) {
			t.Errorf("batches of %v when the second was late", got)
		}
	})
}

// takes lets each batch take its time.
func takes(d time.Duration) hook {
	return func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
		time.Sleep(d)
		return apply()
	}
}

// abreast checks the sizes of the batches that are on their way when ten claims have come one after the other
// and none has been answered.
func (g *gateway) abreast(t *testing.T, from int, want ...int) {
	t.Helper()
	g.store.set(func(s *faulty) { s.batches = nil })
	release := make(chan struct{})
	g.store.breakBy(hold(release))
	if got := g.sizes(from, 10); !slices.Equal(got, want) {
		t.Errorf("batches of %v on their way, want %v", got, want)
	}
	g.store.breakBy(takes(9 * time.Millisecond))
	time.Sleep(9 * time.Millisecond)
	close(release)
	time.Sleep(time.Second)
}

// To a store that is far away, batches are on their way beside each other. How far it is tells its soonest
// answer of late, not those of a busy hour.
func TestFarStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newModel(), idempotency.CommitterOptions{Flushers: 4})
		next := 0
		flights := func(n int, length time.Duration) {
			g.store.breakBy(takes(length))
			for range n {
				<-g.submits(g.claim(name(next)), nil)
				next++
			}
		}
		abreast := func(want ...int) {
			t.Helper()
			g.abreast(t, next, want...)
			next += 10
		}
		flights(1, 2500*time.Microsecond)
		abreast(1, 1, 2)
		flights(20, 300*time.Microsecond)
		abreast(1)
		flights(100, 9*time.Millisecond)
		abreast(1)
		flights(600, 9*time.Millisecond)
		abreast(1, 1, 2, 4)
	})
}

// A large batch takes a store that is near long, too: while all are large nothing is learnt of how far it is.
func TestLargeBatchesMakeNoStoreFar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newModel(), idempotency.CommitterOptions{Flushers: 4})
		const size, rounds = 33, 520
		release := make(chan struct{})
		g.store.breakBy(hold(release))
		g.sizes(0, 1+size)
		g.store.breakBy(takes(9 * time.Millisecond))
		close(release)
		for round := range rounds {
			g.sizes(100+round*size, size) // while the ones before them are on their way
			time.Sleep(9 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if last := g.store.recorded()[rounds]; len(last) != size {
			t.Fatalf("a batch of %d", len(last))
		}
		g.abreast(t, 100+rounds*size, 1)
	})
}

// A batch of which everybody has given up asks the store for nothing, and says nothing of it.
func TestAbandonedBatchMakesNoStoreNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := start(t, newModel(), idempotency.CommitterOptions{Flushers: 4})
		g.store.breakBy(takes(2500 * time.Microsecond))
		<-g.submits(g.claim("far"), nil)
		hang := make(chan struct{})
		g.store.breakBy(hold(hang))
		for i := range 4 {
			g.sizes(i, 1) // every flusher hangs
			time.Sleep(10 * time.Millisecond)
		}
		g.sizes(10, 3)
		g.store.breakBy(takes(9 * time.Millisecond))
		time.Sleep(time.Minute)
		close(hang)
		time.Sleep(time.Minute)
		if n := g.store.applied(func(tr idempotency.Transition) bool { return tr.Target() == request(name(11)).ID }); n != 0 {
			t.Fatal("a claim was written that nobody waited for")
		}
		g.abreast(t, 100, 1, 1, 2)
	})
}
