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

func TestSwallowedClaimIsGivenUpInTime(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(blackHole)
		begun := time.Now()
		g.fails(t, request("order"), idempotency.ErrStoreTimeout)
		if took := time.Since(begun); took != storeTimeout {
			t.Errorf("after %v", took)
		}
		if g.engine.Running() != 0 {
			t.Error("still running")
		}
		g.store.heal()
		time.Sleep(time.Second)
		g.begin(t, request("order"), idempotency.Granted).Execution.Doubt("test")
	})
}

// givenUp makes a claim of r be given up, and returns the apply that would still write it.
func (g *gateway) givenUp(t *testing.T, r idempotency.Request, written bool) (write next) {
	t.Helper()
	first := make(chan next, 1)
	g.store.breakBy(only[idempotency.Claim](func(ctx context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
		select {
		case first <- apply:
			if written {
				_, _ = apply()
			}
		default:
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}))
	g.fails(t, r, idempotency.ErrStoreTimeout)
	g.store.heal()
	return <-first
}

func TestClaimThatWasWrittenAfterAllIsReleased(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.givenUp(t, request("order"), true)
		g.store.wants(request("order").ID, idempotency.Executing)
		g.begin(t, request("order"), idempotency.Busy) // not ours to execute: nobody knows that nothing was sent, yet
		g.engine.ReleaseAbandoned(t.Context())
		synctest.Wait()
		if r := g.store.wants(request("order").ID, idempotency.NotExecuted); r.Cause != idempotency.CauseAbandoned {
			t.Errorf("cause %q", r.Cause)
		}
		if d := g.begin(t, request("order"), idempotency.Granted); d.Execution.Attempt().N != 2 {
			t.Errorf("attempt %d", d.Execution.Attempt().N)
		} else {
			d.Execution.Doubt("test")
		}
	})
}

func TestClaimThatIsWrittenMuchLaterIsReleased(t *testing.T) {
	for _, later := range []time.Duration{0, 10 * time.Second, 50 * time.Minute} {
		bubble(t, func(t *testing.T, g *gateway) {
			write := g.givenUp(t, request("order"), false)
			g.engine.ReleaseAbandoned(t.Context()) // finds nothing yet
			time.Sleep(later)
			g.store.wants(request("order").ID, idempotency.Unseen)
			_, _ = write()
			time.Sleep(6 * time.Minute)
			if r := g.store.wants(request("order").ID, idempotency.NotExecuted); r.Cause != idempotency.CauseAbandoned {
				t.Errorf("cause %q", r.Cause)
			}
		})
	}
}

// Two tries of one batch are on their way. The first was released; the second turns up after another
// attempt was claimed and released too.
func TestClaimThatIsWrittenTwiceIsReleasedTwice(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		write := g.givenUp(t, request("order"), true)
		time.Sleep(leaseLength)
		g.store.wants(request("order").ID, idempotency.NotExecuted)
		g.begin(t, request("order"), idempotency.Granted).Execution.Release("refused", nil)
		_, _ = write()
		g.store.wants(request("order").ID, idempotency.Executing)
		time.Sleep(time.Minute)
		if r := g.store.wants(request("order").ID, idempotency.NotExecuted); r.Attempt.N != 3 {
			t.Errorf("attempt %d", r.Attempt.N)
		}
	})
}

// The batch was written, its confirmation lost; when it is applied again the claim is not in it any more.
func TestClaimDroppedFromABatchThatWasWritten(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(about(request("order").ID, func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			_, _ = apply()
			time.Sleep(storeTimeout + time.Second) // longer than anybody waits
			return nil, errBroken
		}))
		g.fails(t, request("order"), idempotency.ErrStoreTimeout)
		time.Sleep(2 * time.Second)
		if n := g.store.applied(is[idempotency.Claim]); n != 1 {
			t.Errorf("the claim was applied %d times", n)
		}
		g.store.heal()
		time.Sleep(leaseLength)
		g.store.wants(request("order").ID, idempotency.NotExecuted)
	})
}

// The first try was written and nobody heard of it; the second was rolled back. That is no proof that the
// claim left no trace.
func TestClaimWhoseLastTryRolledBackIsWatched(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		var tries atomic.Int32
		g.store.breakBy(only[idempotency.Claim](func(ctx context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			if tries.Add(1) == 1 {
				return failAfter(ctx, ts, apply)
			}
			return refuse(ctx, ts, apply)
		}))
		d, err := g.engine.Begin(t.Context(), request("order"))
		var rolledBack *idempotency.RolledBackError
		if !errors.Is(err, idempotency.ErrStoreTimeout) || errors.As(err, &rolledBack) {
			t.Errorf("%v, %v", d.Ruling, err)
		}
		time.Sleep(leaseLength)
		g.store.wants(request("order").ID, idempotency.NotExecuted)
	})
}

// The result comes after the submitter has left: it is released at once, without a look.
func TestLateClaimIsReleasedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		release := make(chan struct{})
		g.store.breakBy(once(hold(release)))
		g.fails(t, request("order"), idempotency.ErrStoreTimeout)
		close(release)
		synctest.Wait()
		g.store.wants(request("order").ID, idempotency.NotExecuted)
	})
}

// Claims that were given up in an outage are looked for less and less, and then no more.
func TestWatchingIsNoLoad(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.givenUp(t, request("order"), false)
		looks := g.store.looks()
		time.Sleep(2 * time.Hour)
		n := g.store.looks() - looks
		if n < 10 || n > 30 {
			t.Errorf("looked %d times in two hours", n)
		}
	})
}

// While the store takes no releases, renewals go on.
func TestReleasesDoNotCostTheLease(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		for i := range 20 {
			g.givenUp(t, request(name(i)), true)
		}
		g.store.breakBy(blackHole)
		for range 30 {
			time.Sleep(time.Second)
			g.owner(t, true)
		}
		g.store.heal()
		time.Sleep(leaseLength)
		for i := range 20 {
			g.store.wants(request(name(i)).ID, idempotency.NotExecuted)
		}
	})
}
