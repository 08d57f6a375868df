package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// pair runs a test on two gateways with one store.
func pair(t *testing.T, test func(t *testing.T, a, b *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		test(t, start(t, m, idempotency.CommitterOptions{}), start(t, m, idempotency.CommitterOptions{}))
	})
}

type told struct {
	idempotency.Outcome
	settled bool
	err     error
	took    time.Duration
}

func (g *gateway) waits(t *testing.T, d idempotency.Decision, wait time.Duration) <-chan told {
	c := make(chan told, 1)
	begun := time.Now()
	go func() {
		o, settled, err := g.engine.Wait(t.Context(), d, wait)
		c <- told{o, settled, err, time.Since(begun)}
	}()
	return c
}

func TestWaitOnAnotherGateway(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		waiter := b.waits(t, b.begin(t, request("order"), idempotency.Busy), 10*time.Second)
		time.Sleep(3 * time.Second)
		x.Complete(answer("made"))
		if o := <-waiter; !o.settled || o.err != nil || string(o.Record.Response.Body) != "made" || o.took > 3500*time.Millisecond {
			t.Errorf("%v, %v, %v after %v", o.Record.State, o.settled, o.err, o.took)
		}
		if n := b.store.looks(); n > 30 {
			t.Errorf("looked %d times in three seconds", n)
		}
		b.begin(t, request("order"), idempotency.Replay)
		if b.engine.Running() != 0 {
			t.Error("the waiter executes")
		}
	})
}

// Whoever waited for attempt 1 gets its outcome, though attempt 2 is under way or over by the time it looks. But what holds
// for the operation by then, for ever or until it is resolved, is not denied; and the cause of one attempt is not that of another.
func TestWaiterGetsItsOwnAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		then  func(t *testing.T, a *gateway, second *idempotency.Execution)
		state idempotency.State
		cause idempotency.Cause
		body  string
	}{
		"executing":    {func(*testing.T, *gateway, *idempotency.Execution) {}, idempotency.NotExecuted, "", ""},
		"not executed": {func(_ *testing.T, _ *gateway, x *idempotency.Execution) { x.Release("refused again", nil) }, idempotency.NotExecuted, "", ""},
		"completed": {func(_ *testing.T, _ *gateway, x *idempotency.Execution) { x.Complete(answer("of attempt 2")) },
			idempotency.Completed, "", "of attempt 2"},
		"forgotten": {func(_ *testing.T, _ *gateway, x *idempotency.Execution) {
			x.Complete(answer("of attempt 2").Bodiless())
		}, idempotency.Forgotten, "", ""},
		"unknown": {func(_ *testing.T, _ *gateway, x *idempotency.Execution) { x.Doubt("timeout") }, idempotency.Unknown, "timeout", ""},
		"cancelled": {func(t *testing.T, a *gateway, x *idempotency.Execution) {
			x.Release("refused again", nil)
			a.cancel(t, request("order"), false)
		}, idempotency.Cancelled, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			pair(t, func(t *testing.T, a, b *gateway) {
				x := a.begin(t, request("order"), idempotency.Granted).Execution
				waiter := b.waits(t, b.begin(t, request("order"), idempotency.Busy), 10*time.Second)
				synctest.Wait() // it has looked once, and sleeps
				x.Release("refused", nil)
				second := a.begin(t, request("order"), idempotency.Granted).Execution
				c.then(t, a, second)
				o := <-waiter
				body := ""
				if o.Record.Response != nil {
					body = string(o.Record.Response.Body)
				}
				if !o.settled || o.Record.State != c.state || o.Record.Cause != c.cause || body != c.body {
					t.Errorf("told %v because of %q, %q, settled %v", o.Record.State, o.Record.Cause, body, o.settled)
				}
				second.Doubt("net")
			})
		})
	}
}

// On a resend record the attempt before may have been in doubt: it is not called not executed.
func TestWaiterOfAnAttemptThatWasResent(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		r := request("order")
		r.Resend = true
		x := a.begin(t, r, idempotency.Granted).Execution
		waiter := b.waits(t, b.begin(t, r, idempotency.Busy), 10*time.Second)
		synctest.Wait()
		x.Doubt("timeout")
		second := a.begin(t, r, idempotency.Granted).Execution
		if o := <-waiter; !o.settled || o.Record.State != idempotency.Unknown {
			t.Errorf("told %v", o.Record.State)
		}
		second.Complete(answer("made"))
	})
}

func TestWaitEnds(t *testing.T) {
	for _, elsewhere := range []bool{false, true} {
		pair(t, func(t *testing.T, a, b *gateway) {
			g := a
			if elsewhere {
				g = b
			}
			x := a.begin(t, request("order"), idempotency.Granted).Execution
			d := g.begin(t, request("order"), idempotency.Busy)
			for _, wait := range []time.Duration{0, time.Second} {
				begun := time.Now()
				if o, settled := g.wait(t, d, wait); settled || o.Record.State != idempotency.Executing || time.Since(begun) != wait {
					t.Errorf("%v, settled %v, after %v instead of %v", o.Record.State, settled, time.Since(begun), wait)
				}
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, settled, err := g.engine.Wait(ctx, d, time.Hour); settled || err != nil {
				t.Errorf("settled %v, %v", settled, err)
			}
			// The last look decides: the wait is over, and so is the attempt.
			x.Complete(answer("made"))
			if o, settled := g.wait(t, d, 0); !settled || o.Record.State != idempotency.Completed {
				t.Errorf("last look: %v, settled %v", o.Record.State, settled)
			}
		})
	}
}

// The attempt ends at the very end of the wait: between the poll before and the last look.
func TestLastLookDecides(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		waiter := b.waits(t, b.begin(t, request("order"), idempotency.Busy), 10*time.Second)
		time.Sleep(10*time.Second - time.Nanosecond)
		x.Complete(answer("made"))
		if o := <-waiter; !o.settled || o.Record.State != idempotency.Completed || o.took != 10*time.Second {
			t.Errorf("%v, settled %v, after %v", o.Record.State, o.settled, o.took)
		}
	})
}

func TestWaitWhileTheStoreIsDown(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, request("order"), idempotency.Granted).Execution
		d := b.begin(t, request("order"), idempotency.Busy)
		b.store.set(func(s *faulty) { s.find = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } })
		o := <-b.waits(t, d, time.Second)
		if !errors.Is(o.err, context.DeadlineExceeded) || o.settled || o.took != storeTimeout {
			t.Errorf("%v after %v", o.err, o.took)
		}
		x.Doubt("test")
	})
}

// The owner dies: its attempt is in doubt, and nobody executes it again.
func TestWaiterOfAGatewayThatDied(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		a.begin(t, request("order"), idempotency.Granted)
		waiter := b.waits(t, b.begin(t, request("order"), idempotency.Busy), time.Minute)
		a.store.set(func(s *faulty) { s.renew = func() error { return errBroken } })
		o := <-waiter
		if !o.settled || o.Record.State != idempotency.Unknown || o.Record.Cause != idempotency.CauseOwnerGone || o.took > leaseLength+time.Second {
			t.Errorf("told %v (%v) after %v", o.Record.State, o.Record.Cause, o.took)
		}
		b.begin(t, request("order"), idempotency.InDoubt)
	})
}

func TestAwaitIsWokenByItsOwnProcess(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		c := make(chan time.Duration, 1)
		go func() {
			begun := time.Now()
			r, err := g.engine.Await(t.Context(), request("order").ID, time.Minute, func(r idempotency.Record) bool { return r.State.Settled() })
			if err != nil || r.State != idempotency.Completed {
				t.Errorf("%v, %v", r.State, err)
			}
			c <- time.Since(begun)
		}()
		time.Sleep(7 * time.Second)
		x.Complete(answer("made"))
		if took := <-c; took > 7*time.Second+5*time.Millisecond { // looks keep a least pause
			t.Errorf("woken after %v", took)
		}
	})
}

// An outcome that is over, but not recorded, must not make a waiter spin.
func TestAwaitDoesNotSpin(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		x.Complete(answer("made"))
		looks := g.store.looks()
		if r, err := g.engine.Await(t.Context(), request("order").ID, 10*time.Second, func(r idempotency.Record) bool { return r.State.Settled() }); err != nil || r.State != idempotency.Executing {
			t.Errorf("%v, %v", r.State, err)
		}
		if n := g.store.looks() - looks; n > 100 {
			t.Errorf("looked %d times", n)
		}
	})
}
