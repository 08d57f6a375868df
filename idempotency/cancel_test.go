package idempotency_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func (g *gateway) cancel(t *testing.T, r idempotency.Request, tooOld bool) idempotency.Cancellation {
	t.Helper()
	c, err := g.engine.Cancel(t.Context(), idempotency.Cancel{Operation: r.Operation, Retention: retain}, tooOld)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCancel(t *testing.T) {
	released := func(t *testing.T, g *gateway) {
		g.begin(t, request("order"), idempotency.Granted).Execution.Release("refused", nil)
	}
	for name, c := range map[string]struct {
		before     func(t *testing.T, g *gateway)
		tooOld     bool
		state      idempotency.State
		holds, new bool
	}{
		"unseen":       {func(*testing.T, *gateway) {}, false, idempotency.Cancelled, true, true},
		"not executed": {released, false, idempotency.Cancelled, true, false},
		"again":        {func(t *testing.T, g *gateway) { g.cancel(t, request("order"), false) }, false, idempotency.Cancelled, true, false},
		"completed": {func(t *testing.T, g *gateway) {
			g.begin(t, request("order"), idempotency.Granted).Execution.Complete(answer("made"))
		}, false, idempotency.Completed, false, false},
		"unknown": {func(t *testing.T, g *gateway) {
			g.begin(t, request("order"), idempotency.Granted).Execution.Doubt("net")
		}, false, idempotency.Unknown, false, false},
		// It may have been executed long ago: I4 forbids to call it cancelled.
		"too old, unseen":       {func(*testing.T, *gateway) {}, true, idempotency.Unseen, false, false},
		"too old, not executed": {released, true, idempotency.Cancelled, true, false},
		"too old, again":        {func(t *testing.T, g *gateway) { g.cancel(t, request("order"), false) }, true, idempotency.Cancelled, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				c.before(t, g)
				got := g.cancel(t, request("order"), c.tooOld)
				if got.Record.State != c.state || got.Holds != c.holds || got.New != c.new {
					t.Errorf("%v, holds %v, new %v; want %v, %v, %v", got.Record.State, got.Holds, got.New, c.state, c.holds, c.new)
				}
				g.store.wants(request("order").ID, c.state)
				if c.holds {
					g.begin(t, request("order"), idempotency.Forbidden)
				}
			})
		})
	}
}

// A record that an answer has proved wrong is never shown as cancelled.
func TestCancelWhatWasExecutedAllTheSame(t *testing.T) {
	for _, cancelFirst := range []bool{false, true} {
		bubble(t, func(t *testing.T, g *gateway) {
			x := g.begin(t, request("order"), idempotency.Granted).Execution
			x.Release("refused", nil)
			if cancelFirst {
				g.cancel(t, request("order"), false)
			}
			if _, err := g.store.Model.Apply(t.Context(), []idempotency.Transition{
				idempotency.Complete{Attempt: x.Attempt(), Response: answer("made"), Retention: retain},
			}); err != nil {
				t.Fatal(err)
			}
			if c := g.cancel(t, request("order"), false); c.Holds || c.Record.Believed() != idempotency.Unknown {
				t.Errorf("%v, holds %v", c.Record.Believed(), c.Holds)
			}
		})
	}
}

// What this process is executing cannot be cancelled, whatever the store says: it may have lost the claim.
func TestCancelWhatIsOutThoughTheStoreForgotIt(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.Model.Lose(request("order").ID)
		if c := g.cancel(t, request("order"), false); c.Holds || c.Record.State != idempotency.Executing {
			t.Errorf("%v, holds %v", c.Record.State, c.Holds)
		}
		g.store.wants(request("order").ID, idempotency.Unseen)
		x.Doubt("net")
	})
}

// A claim and a cancellation meet in the queue: whichever comes first, the other one learns of it.
func TestCancelMeetsAClaim(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		release := make(chan struct{})
		g.store.breakBy(only[idempotency.Claim](once(hold(release))))
		d := g.begins(t, request("order"))
		synctest.Wait()
		done := make(chan idempotency.Cancellation)
		go func() { done <- g.cancel(t, request("order"), false) }()
		synctest.Wait()
		close(release)
		if c := <-done; c.Holds || c.Record.State != idempotency.Executing {
			t.Errorf("%v, holds %v", c.Record.State, c.Holds)
		}
		if granted := <-d; granted.Ruling != idempotency.Granted {
			t.Fatalf("%v", granted.Ruling)
		} else {
			granted.Execution.Complete(answer("made"))
		}
	})
}

func TestCancelSaysWhenItDoesNotKnow(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(only[idempotency.Cancel](blackHole))
		if _, err := g.engine.Cancel(t.Context(), idempotency.Cancel{Operation: request("order").Operation, Retention: retain}, false); !errors.Is(err, idempotency.ErrStoreTimeout) {
			t.Errorf("%v", err)
		}
		g.store.heal()
		time.Sleep(2 * storeTimeout)
		if c := g.cancel(t, request("order"), false); !c.Holds {
			t.Errorf("%v", c.Record.State)
		}
	})
}
