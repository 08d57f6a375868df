package idempotency_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// strayClaim is written in the gateway's name behind its back.
func (g *gateway) strayClaim(t *testing.T, name string) {
	t.Helper()
	r := request(name)
	res, err := g.store.Model.Apply(t.Context(), []idempotency.Transition{idempotency.Claim{
		Attempt:   idempotency.Attempt{Operation: r.ID, ID: idempotency.NewAttemptID(), Owner: g.owner(t, true)},
		Operation: r.Operation, Fingerprint: r.Fingerprint, Method: r.Method, TargetURI: r.Target, Budget: time.Hour, Retention: retain,
	}})
	if err != nil || !res[0].Applied {
		t.Fatal("not claimed", err)
	}
}

func (g *gateway) reconcile(t *testing.T) {
	t.Helper()
	if err := g.engine.ReconcileOwn(t.Context(), g.store.Model, 0); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// A record that executes under a living lease, but of which its owner knows nothing, is doubted.
func TestOwnRecordThatNobodyExecutesIsDoubted(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		running := g.begin(t, request("running"), idempotency.Granted).Execution
		g.strayClaim(t, "stray")
		g.store.wants(request("stray").ID, idempotency.Executing)
		for range 2 {
			g.reconcile(t)
			r := g.store.wants(request("stray").ID, idempotency.Unknown)
			if r.Cause != idempotency.CauseUntracked || r.Expires.Sub(r.FirstSeen) < retain.Key {
				t.Errorf("cause %q, expires %v after %v", r.Cause, r.Expires, r.FirstSeen)
			}
		}
		g.store.wants(request("running").ID, idempotency.Executing)
		running.Complete(answer("done"))
		g.store.wants(request("running").ID, idempotency.Completed)
	})
}

// An outcome that is still on its way to the store keeps its attempt known.
func TestOwnRecordWhoseOutcomeIsOnItsWayIsNotDoubted(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(only[idempotency.Complete](failBefore))
		if o := x.Complete(answer("late")); o.Err == nil {
			t.Fatal("recorded")
		}
		g.reconcile(t)
		if n := g.store.applied(is[idempotency.Doubt]); n != 0 {
			t.Errorf("%d doubts", n)
		}
		g.store.heal()
		time.Sleep(2 * time.Second)
		g.store.wants(request("order").ID, idempotency.Completed)
	})
}

// A claim that was given up is released, which says more than a doubt.
func TestOwnRecordThatWasGivenUpIsReleased(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		write := g.givenUp(t, request("order"), false)
		time.Sleep(10*time.Minute + 500*time.Millisecond) // it is looked for ever less often
		if _, err := write(); err != nil {
			t.Fatal(err)
		}
		g.reconcile(t)
		g.store.wants(request("order").ID, idempotency.NotExecuted)
		if n := g.store.applied(is[idempotency.Doubt]); n != 0 {
			t.Errorf("%d doubts", n)
		}
	})
}

func TestNothingIsReconciledWithoutALease(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.strayClaim(t, "stray")
		g.clock.suspend(leaseLength)
		g.reconcile(t)
		if n := g.store.applied(is[idempotency.Doubt]); n != 0 {
			t.Errorf("%d doubts", n)
		}
	})
}
