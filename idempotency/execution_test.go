package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func TestOnlyTheFirstOutcomeCounts(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		first := x.Complete(answer("made"))
		for _, later := range []idempotency.Outcome{x.Doubt("panic"), x.Release("proof", nil), x.Complete(answer("other"))} {
			if later.Record.State != idempotency.Completed || later.Record.Revision != first.Record.Revision {
				t.Errorf("a later call returned %v", later.Record.State)
			}
		}
		if r := g.store.wants(request("order").ID, idempotency.Completed); r.Contradicted || string(r.Response.Body) != "made" {
			t.Errorf("contradicted: %v", r.Contradicted)
		}
		if n := g.store.applied(is[idempotency.Claim]); len(g.store.recorded()) != n+1 {
			t.Error("a later call reached the store")
		}
	})
}

func TestDoubtIsASafetyNetForPanics(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		d := g.begin(t, request("order"), idempotency.Granted)
		func() {
			defer func() { _ = recover() }()
			defer d.Execution.Doubt("panic")
			panic("in a handler")
		}()
		if r := g.store.wants(request("order").ID, idempotency.Unknown); r.Cause != "panic" {
			t.Errorf("cause %q", r.Cause)
		}
		g.begin(t, request("order"), idempotency.InDoubt)
		if g.engine.Running() != 0 {
			t.Error("still running")
		}
	})
}

func TestReleaseTellsWaitersWhatTheBackendSaid(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		d := g.begin(t, request("order"), idempotency.Busy)
		x.Release("status-429", answer("slow down"))
		if o, _ := g.wait(t, d, time.Second); o.Record.State != idempotency.NotExecuted || string(o.Answer.Body) != "slow down" {
			t.Errorf("%v", o.Record.State)
		}
		if d := g.begin(t, request("order"), idempotency.Granted); d.Execution.Attempt().N != 2 {
			t.Errorf("attempt %d", d.Execution.Attempt().N)
		} else {
			d.Execution.Doubt("test")
		}
	})
}

// What is told is what is stored: somebody else's resolution came first.
func TestOutcomeIsWhatIsStored(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		time.Sleep(time.Minute) // past the deadline and one lease: in doubt
		resolve := idempotency.Resolve{
			Operation: request("order").ID, N: 1, Verdict: idempotency.VerdictExecuted, Response: answer("by hand"),
			By: "operator:bob", Evidence: "the ledger", Retention: retain,
		}
		if r, err := g.committer.Submit(resolve, nil); err != nil || !r.Applied {
			t.Fatalf("%v, %v", r.Applied, err)
		}
		if o := x.Complete(answer("in hand")); string(o.Record.Response.Body) != "by hand" {
			t.Errorf("told %q", o.Record.Response.Body)
		}
	})
}

func TestRefusedAnswerIsDoubted(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(only[idempotency.Complete](refuse))
		d := g.begin(t, request("order"), idempotency.Granted)
		waiter := g.begin(t, request("order"), idempotency.Busy)
		o := d.Execution.Complete(answer("too long"))
		if o.Err != nil || o.Record.State != idempotency.Unknown || o.Record.Cause != idempotency.CauseUnrecordable {
			t.Errorf("%v, %v, %v", o.Record.State, o.Record.Cause, o.Err)
		}
		if o, _ := g.wait(t, waiter, time.Second); o.Record.State != idempotency.Unknown {
			t.Errorf("a waiter was told %v", o.Record.State)
		}
		g.begin(t, request("order"), idempotency.InDoubt)
	})
}

// The refusal comes when nobody waits for it any more.
func TestAnswerRefusedLateIsDoubted(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(only[idempotency.Complete](blackHole))
		o := g.begin(t, request("order"), idempotency.Granted).Execution.Complete(answer("too long"))
		if !errors.Is(o.Err, idempotency.ErrStoreTimeout) {
			t.Fatal(o.Err)
		}
		g.store.breakBy(only[idempotency.Complete](refuse))
		time.Sleep(5 * time.Second)
		if r := g.store.wants(request("order").ID, idempotency.Unknown); r.Cause != idempotency.CauseUnrecordable {
			t.Errorf("cause %q", r.Cause)
		}
		if g.engine.Running() != 0 {
			t.Error("still running")
		}
		g.begin(t, request("order"), idempotency.InDoubt)
	})
}

// A store that takes nothing, as when its disk is full, has nothing against this answer.
func TestAnswerSurvivesAStoreThatRefusesEverything(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(refuse)
		if o := x.Complete(answer("made")); o.Err == nil {
			t.Fatalf("told %v", o.Record.State)
		}
		time.Sleep(10 * time.Second)
		g.begin(t, request("order"), idempotency.Busy)
		g.store.heal()
		time.Sleep(5 * time.Second)
		if d := g.begin(t, request("order"), idempotency.Replay); string(d.Record.Response.Body) != "made" {
			t.Error("another body")
		}
		if g.engine.Running() != 0 {
			t.Error("still running")
		}
	})
}

func TestAnswerLandsWhenTheStoreComesBack(t *testing.T) {
	for name, fault := range map[string]hook{"refuses connections": failBefore, "swallows": blackHole, "takes back": takeBack, "blocked": block} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				r := request("order")
				d := g.begin(t, r, idempotency.Granted)
				waiter := g.begin(t, r, idempotency.Busy)
				told := make(chan idempotency.Outcome, 1)
				go func() {
					o, _, err := g.engine.Wait(t.Context(), waiter, 10*time.Second)
					if err != nil {
						t.Error(err)
					}
					told <- o
				}()
				g.store.breakBy(fault)
				begun := time.Now()
				if o := d.Execution.Complete(answer("made")); !errors.Is(o.Err, idempotency.ErrStoreTimeout) || time.Since(begun) != storeTimeout {
					t.Fatalf("%v after %v", o.Err, time.Since(begun))
				}
				if o := <-told; !errors.Is(o.Err, idempotency.ErrStoreTimeout) {
					t.Errorf("the waiter was told %v, %v", o.Record.State, o.Err)
				}
				// Duplicates stay attached, and none executes, while the outcome is on its way.
				claims := g.store.applied(is[idempotency.Claim])
				for range 10 {
					time.Sleep(time.Second)
					d := g.begin(t, r, idempotency.Busy)
					if o, settled := g.wait(t, d, time.Second); !settled || o.Err == nil {
						t.Errorf("a duplicate was told %v, %v", o.Record.State, settled)
					}
				}
				if g.engine.Running() != 1 || g.store.applied(is[idempotency.Claim]) != claims {
					t.Error("the flight did not stay")
				}
				g.store.heal()
				time.Sleep(5 * time.Second)
				if d := g.begin(t, r, idempotency.Replay); string(d.Record.Response.Body) != "made" {
					t.Error("another body")
				}
				if g.engine.Running() != 0 {
					t.Error("still running")
				}
			})
		})
	}
}

// The commit went through, its confirmation did not: others see the answer in the store, so nobody may be
// told less here.
func TestNobodyIsToldLessThanTheStoreShows(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		r := request("order")
		d := g.begin(t, r, idempotency.Granted)
		early := g.begin(t, r, idempotency.Busy)
		g.store.breakBy(only[idempotency.Complete](failAfter))
		told := make(chan idempotency.Outcome, 1)
		go func() {
			o, _, err := g.engine.Wait(t.Context(), early, 10*time.Second)
			if err != nil {
				t.Error(err)
			}
			told <- o
		}()
		synctest.Wait()
		d.Execution.Complete(answer("made"))
		late := <-g.begins(t, r)
		o := idempotency.Outcome{Record: late.Record}
		if late.Ruling != idempotency.Replay { // it was quicker than the look at what the store has
			if late.Ruling != idempotency.Busy {
				t.Fatalf("Begin ruled %v", late.Ruling)
			}
			o, _ = g.wait(t, late, time.Second)
		}
		for _, o := range []idempotency.Outcome{<-told, o} {
			if o.Err != nil || o.Record.State != idempotency.Completed {
				t.Errorf("told %v, %v; the store says completed", o.Record.State, o.Err)
			}
		}
	})
}

// Fencing blocks execution, never evidence.
func TestLateAnswerCompletesAfterTheLeaseWasLost(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		if err := g.store.GiveBack(context.Background(), x.Attempt().Owner); err != nil {
			t.Fatal(err)
		}
		g.store.wants(request("order").ID, idempotency.Unknown)
		if o := x.Complete(answer("made")); o.Record.State != idempotency.Completed {
			t.Errorf("%v", o.Record.State)
		}
		time.Sleep(leaseLength)
	})
}
