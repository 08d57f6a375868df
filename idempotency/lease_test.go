package idempotency_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func (g *gateway) owner(t *testing.T, want bool) idempotency.Owner {
	t.Helper()
	o, ok := g.lease.Owner()
	if ok != want {
		t.Fatalf("vouched for: %v, want %v", ok, want)
	}
	return o
}

func TestLeaseIsKept(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		first := g.owner(t, true)
		for range 100 {
			time.Sleep(time.Second)
			if o := g.owner(t, true); o != first || o.Epoch != 1 {
				t.Fatalf("owner %v", o)
			}
		}
	})
}

// One renewal that fails must cost nothing.
func TestLeaseSurvivesAFailure(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		failed := false
		g.store.set(func(s *faulty) {
			s.renew = func() error {
				if !failed {
					failed = true
					return errBroken
				}
				return nil
			}
		})
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			if o := g.owner(t, true); o.Epoch != 1 {
				t.Fatal("lost")
			}
		}
	})
}

func TestNoClaimAfterTwoThirdsWithoutRenewal(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("running"), idempotency.Granted).Execution
		g.store.set(func(s *faulty) { s.renew = func() error { return errBroken } })
		time.Sleep(leaseLength*2/3 - time.Nanosecond)
		old := g.owner(t, true)
		if err := x.Ready(); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		g.owner(t, false)
		if err := x.Ready(); !errors.Is(err, idempotency.ErrNoLease) {
			t.Errorf("Ready: %v", err)
		}
		g.fails(t, request("order"), idempotency.ErrNoLease)
		if n := g.store.applied(is[idempotency.Claim]); n != 1 {
			t.Errorf("%d claims", n)
		}
		// It lapses; the next lease has a new epoch, and what the old one started stays fenced.
		time.Sleep(leaseLength)
		g.store.wants(request("running").ID, idempotency.Unknown)
		g.store.set(func(s *faulty) { s.renew = nil })
		time.Sleep(leaseLength / 3)
		if o := g.owner(t, true); o.Instance != old.Instance || o.Epoch != old.Epoch+1 {
			t.Errorf("owner %v after %v", o, old)
		}
		if err := x.Ready(); !errors.Is(err, idempotency.ErrNoLease) {
			t.Errorf("Ready under a new epoch: %v", err)
		}
		g.store.wants(request("running").ID, idempotency.Unknown)
		x.Release("no-lease", nil)
		g.store.wants(request("running").ID, idempotency.NotExecuted)
		g.begin(t, request("order"), idempotency.Granted).Execution.Doubt("test")
	})
}

// Once the store has said that the lease is lost, the local clock has nothing to say any more.
func TestLostLeaseIsNotVouchedForAnyLonger(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.set(func(s *faulty) { s.acquire = func() error { return errBroken } })
		if err := g.store.GiveBack(t.Context(), g.owner(t, true)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leaseLength / 3)
		synctest.Wait()
		g.owner(t, false)
		g.store.set(func(s *faulty) { s.acquire = nil })
		time.Sleep(leaseLength / 3)
		if o := g.owner(t, true); o.Epoch != 2 {
			t.Errorf("epoch %d", o.Epoch)
		}
	})
}

func TestSuspendedProcessDispatchesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.clock.suspend(leaseLength)
		if err := x.Ready(); !errors.Is(err, idempotency.ErrNoLease) {
			t.Errorf("Ready: %v", err)
		}
		g.fails(t, request("other"), idempotency.ErrNoLease)
		x.Doubt("test")
	})
}

// A claim that is committed after its lease lapsed is not granted, and is taken back.
func TestClaimCommittedUnderALapsedLease(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(once(only[idempotency.Claim](func(_ context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			_ = g.store.GiveBack(context.Background(), ts[0].(idempotency.Claim).Attempt.Owner)
			return apply()
		})))
		g.fails(t, request("order"), idempotency.ErrNoLease)
		synctest.Wait()
		g.store.wants(request("order").ID, idempotency.NotExecuted)
		time.Sleep(leaseLength)
		if d := g.begin(t, request("order"), idempotency.Granted); d.Execution.Attempt().Owner.Epoch != 2 {
			t.Errorf("epoch %d", d.Execution.Attempt().Owner.Epoch)
		} else {
			d.Execution.Doubt("test")
		}
	})
}

func TestLeaseIsGivenBack(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("order"), idempotency.Granted)
		for range 2 {
			if err := g.lease.Stop(context.Background()); err != nil {
				t.Fatal(err)
			}
			g.owner(t, false)
		}
		g.store.wants(request("order").ID, idempotency.Unknown)
	})
}

func TestStartFailsWithTheStore(t *testing.T) {
	l := idempotency.NewLease(unreachable{}, idempotency.Instance{}, leaseLength, &clock{start: time.Now()})
	if err := l.Start(t.Context(), nil); !errors.Is(err, errBroken) {
		t.Error(err)
	}
	if _, ok := l.Owner(); ok {
		t.Error("vouched for")
	}
	if err := l.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

type unreachable struct{ idempotency.LeaseStore }

func (unreachable) Acquire(context.Context, idempotency.Instance, time.Duration) (idempotency.Owner, error) {
	return idempotency.Owner{}, errBroken
}

// What happens at each renewal must not cost the lease, however slow the store answers it.
func TestSlowTickDoesNotCostTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		l := idempotency.NewLease(m, idempotency.Instance{ID: [16]byte{1}}, leaseLength, &clock{start: time.Now()})
		if err := l.Start(t.Context(), func(ctx context.Context) { <-ctx.Done() }); err != nil {
			t.Fatal(err)
		}
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			if o, ok := l.Owner(); !ok || o.Epoch != 1 {
				t.Fatal("lost")
			}
		}
		if err := l.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// What a dead gateway left is written down as in doubt within a lease and a second, and a sweep that
// hangs does not cost the sweeper's own lease.
func TestOrphansAreSweptWithinASecondOfTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		dead := start(t, m, idempotency.CommitterOptions{})
		dead.begin(t, request("order"), idempotency.Granted)
		dead.store.set(func(s *faulty) { s.renew = func() error { return errBroken } })
		dead.begin(t, request("other"), idempotency.Granted)
		time.Sleep(leaseLength / 2) // the living one's renewals have another phase
		living := start(t, m, idempotency.CommitterOptions{})
		time.Sleep(leaseLength/2 + time.Second)
		synctest.Wait()
		if n, err := m.InDoubt(t.Context()); n != 2 || err != nil {
			t.Errorf("%d are written as in doubt, error %v", n, err)
		}
		living.owner(t, true)
	})
}

// Whoever runs a gateway can hear that what others left is not written down, and that it is again.
func TestSweepsAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &stuck{LeaseStore: newModel()}
		l := idempotency.NewLease(store, idempotency.Instance{ID: [16]byte{1}}, leaseLength, &clock{start: time.Now()})
		var failed, went atomic.Int64
		l.ReportSweeps(func(err error) {
			if errors.Is(err, errBroken) {
				failed.Add(1)
			} else if err == nil {
				went.Add(1)
			}
		})
		store.fails.Store(true)
		if err := l.Start(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(leaseLength)
		synctest.Wait()
		if failed.Load() == 0 || went.Load() != 0 {
			t.Errorf("%d sweeps that failed were told of, and %d that went well", failed.Load(), went.Load())
		}
		store.fails.Store(false)
		time.Sleep(leaseLength)
		if err := l.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		if went.Load() == 0 {
			t.Error("nothing was told of sweeps that went well")
		}
	})
}

// stuck is a store whose sweeps can fail.
type stuck struct {
	idempotency.LeaseStore
	fails atomic.Bool
}

func (s *stuck) Sweep(ctx context.Context) (int, error) {
	if s.fails.Load() {
		return 0, errBroken
	}
	return s.LeaseStore.Sweep(ctx)
}

// A process that comes back, or only its partition heals, lives again with what is in its spool: others must
// not see it alive and empty until it notes something.
func TestALeaseComesWithWhatIsInTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		instance := idempotency.Instance{ID: [16]byte{1}}
		l := idempotency.NewLease(m, instance, leaseLength, &clock{start: time.Now()})
		var depth atomic.Int64
		l.UseSpool(func() idempotency.SpoolNote { return idempotency.SpoolNote{Depth: depth.Load(), Oldest: time.Now()} })
		if err := l.Start(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for epoch := range int64(2) {
			if leases, _ := m.InstanceLeases(t.Context(), instance.ID); idempotency.MayHoldAnswers(leases) {
				t.Errorf("holds answers from the start: %+v", leases)
			}
			depth.Store(epoch) // told to a client; the note of it does not reach the store
			owner, _ := l.Owner()
			if err := m.GiveBack(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
			time.Sleep(leaseLength)
		}
		leases, _ := m.InstanceLeases(t.Context(), instance.ID)
		if len(leases) != 3 || !leases[0].Alive || leases[0].Spool.Depth != 1 || !idempotency.MayHoldAnswers(leases) {
			t.Errorf("after its return: %+v", leases)
		}
		if err := l.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
}
