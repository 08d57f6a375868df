package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

var errTooOld = errors.New("too old")

func tooOld(r idempotency.Request) idempotency.Request {
	r.TooOld = errTooOld
	return r
}

// Of a key that is too old nothing may start where there is no record. What there is a record of is answered
// from it, or executed, as any other.
func TestTooOld(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		unseen := tooOld(request("unseen"))
		g.fails(t, unseen, errTooOld)
		g.store.wants(unseen.ID, idempotency.Unseen)

		released := request("released")
		g.begin(t, released, idempotency.Granted).Execution.Release("refused", nil)
		d := g.begin(t, tooOld(released), idempotency.Granted)
		g.begin(t, tooOld(released), idempotency.Busy)
		if o := d.Execution.Complete(answer("made")); o.Record.Attempt.N != 2 {
			t.Errorf("executed as attempt %d", o.Record.Attempt.N)
		}
		g.cache.Drop(released.ID)
		g.begin(t, tooOld(released), idempotency.Replay)

		doubted := resend("doubted")
		g.begin(t, doubted, idempotency.Granted).Execution.Doubt("timeout")
		hold := tooOld(doubted)
		hold.Resend = false
		g.begin(t, hold, idempotency.InDoubt)
		g.begin(t, tooOld(doubted), idempotency.Granted).Execution.Complete(answer("made"))
	})
}

// What is final comes before what will pass.
func TestTooOldAndRefused(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		refusal := errors.New("no slot")
		unseen, released := request("unseen"), request("released")
		g.begin(t, released, idempotency.Granted).Execution.Release("refused", nil)
		unseen.Refusal, released.Refusal = refusal, refusal
		g.fails(t, tooOld(unseen), errTooOld)
		g.fails(t, tooOld(released), refusal)
	})
}

// A record that is purged before the claim comes to it is none: nobody can say what else was purged. Nor is it one
// that the store has lost.
func TestTooOldAndPurged(t *testing.T) {
	for name, kept := range map[string]int{"before the claim": 0, "before the second": 1} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				r := request("order")
				r.KeyDate = time.Now().Add(-2 * retain.Key)
				g.begin(t, r, idempotency.Granted).Execution.Release("refused", nil)
				claims := 0
				g.store.breakBy(func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
					if claims++; claims <= kept {
						return []idempotency.Result{{Record: g.store.state(r.ID)}}, nil // it lost against what is gone
					}
					g.store.Model.Lose(r.ID)
					return apply()
				})
				g.fails(t, tooOld(r), errTooOld)
				g.store.wants(r.ID, idempotency.Unseen)
			})
		})
	}
}

// Whoever waits for a claim of another is refused by its own date, and not by the other's.
func TestTooOldBesideAnother(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		release := make(chan struct{})
		g.store.breakBy(once(hold(release)))
		first := make(chan error)
		go func() {
			_, err := g.engine.Begin(t.Context(), tooOld(request("order")))
			first <- err
		}()
		synctest.Wait()
		second := g.begins(t, request("order"))
		synctest.Wait()
		close(release)
		if err := <-first; !errors.Is(err, errTooOld) {
			t.Errorf("%v", err)
		}
		if d := <-second; d.Ruling != idempotency.Granted {
			t.Fatalf("ruled %v", d.Ruling)
		} else {
			d.Execution.Complete(answer("made"))
		}
	})
}
