package idempotency_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func resend(name string) idempotency.Request {
	r := request(name)
	r.Resend = true
	return r
}

// Of many retries on two gateways exactly one executes again, and all others get its outcome.
func TestFiftyResendOnce(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		a.begin(t, resend("order"), idempotency.Granted).Execution.Doubt("timeout")
		decisions := make(chan idempotency.Decision, 50)
		var retries sync.WaitGroup
		for i := range 50 {
			g := []*gateway{a, b}[i%2]
			retries.Go(func() {
				d, err := g.engine.Begin(t.Context(), resend("order"))
				if err != nil {
					t.Error(err)
				}
				if d.Ruling == idempotency.Busy {
					o, settled, err := g.engine.Wait(t.Context(), d, 10*time.Second)
					if err != nil || !settled || o.Record.State != idempotency.Completed || string(o.Record.Response.Body) != "second" {
						t.Errorf("a retry was told %v, settled %v, %v", o.Record.State, settled, err)
					}
				}
				decisions <- d
			})
		}
		synctest.Wait()
		var granted *idempotency.Execution
		for len(decisions) > 0 {
			if d := <-decisions; d.Ruling != idempotency.Granted || granted != nil {
				t.Errorf("ruled %v; %v granted before", d.Ruling, granted != nil)
			} else {
				granted = d.Execution
			}
		}
		if granted == nil || granted.Attempt().N != 2 {
			t.Fatalf("granted %+v", granted)
		}
		granted.Complete(answer("second"))
		retries.Wait()
	})
}

// The answer of an earlier attempt counts while a later one runs; the first commit wins, for everybody.
func TestLateAnswerOfAnEarlierAttempt(t *testing.T) {
	for _, orphaned := range []bool{false, true} {
		pair(t, func(t *testing.T, a, b *gateway) {
			first := a.begin(t, resend("order"), idempotency.Granted).Execution
			if orphaned {
				if err := a.store.GiveBack(t.Context(), first.Attempt().Owner); err != nil {
					t.Fatal(err)
				}
			} else if o := first.Doubt("timeout"); o.Record.State != idempotency.Unknown {
				t.Fatal(o.Record.State)
			}
			second := b.begin(t, resend("order"), idempotency.Granted).Execution
			waiter := b.waits(t, b.begin(t, resend("order"), idempotency.Busy), 10*time.Second)
			synctest.Wait()
			if second.Attempt().N != 2 {
				t.Fatalf("attempt %d", second.Attempt().N)
			}
			late := idempotency.Complete{Attempt: first.Attempt(), Response: answer("first"), Retention: retain}
			if _, err := a.committer.Submit(late, nil); err != nil {
				t.Fatal(err)
			}
			if o := second.Complete(answer("second")); o.Record.State != idempotency.Completed || string(o.Record.Response.Body) != "first" {
				t.Errorf("the second attempt's caller is told %v", o.Record.State)
			}
			if o := <-waiter; o.err != nil || string(o.Record.Response.Body) != "first" {
				t.Errorf("the waiter is told %v, %v", o.Record.State, o.err)
			}
		})
	}
}

// Who waited for attempt 1 on another gateway gets the operation's answer, though attempt 2 brought it.
func TestWaiterOfAnAttemptThatWasResentAndAnswered(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		x := a.begin(t, resend("order"), idempotency.Granted).Execution
		waiter := b.waits(t, b.begin(t, resend("order"), idempotency.Busy), 10*time.Second)
		synctest.Wait()
		x.Doubt("timeout")
		a.begin(t, resend("order"), idempotency.Granted).Execution.Complete(answer("made"))
		if o := <-waiter; !o.settled || o.Record.State != idempotency.Completed || string(o.Record.Response.Body) != "made" {
			t.Errorf("told %v, settled %v", o.Record.State, o.settled)
		}
	})
}

// A retry that joined the claim of another request is not refused for what was wrong with that one.
func TestResendBesideAClaimThatWasRefused(t *testing.T) {
	for name, other := range map[string]func(*idempotency.Request){
		"fingerprint": func(r *idempotency.Request) { r.Fingerprint = printOf(2) },
		"route":       func(r *idempotency.Request) { r.Resend = false },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, g *gateway) {
				g.begin(t, resend("order"), idempotency.Granted).Execution.Doubt("timeout")
				theirs := resend("order")
				other(&theirs)
				release := make(chan struct{})
				g.store.breakBy(once(hold(release)))
				first := g.begins(t, theirs)
				synctest.Wait()
				second := g.begins(t, resend("order"))
				synctest.Wait()
				close(release)
				if d := <-first; d.Ruling != idempotency.Mismatch && d.Ruling != idempotency.InDoubt {
					t.Errorf("the other is ruled %v", d.Ruling)
				}
				d := <-second
				if d.Ruling != idempotency.Granted {
					t.Fatalf("ruled %v", d.Ruling)
				}
				d.Execution.Complete(answer("2"))
			})
		})
	}
}

// What refuses new attempts refuses a resend, and burns nothing. What is contradicted is answered.
func TestResendRefused(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		refusal := errors.New("no slot")
		r := resend("order")
		g.begin(t, r, idempotency.Granted).Execution.Doubt("timeout")
		r.Refusal = refusal
		g.fails(t, r, refusal)
		r.Resend = false
		g.begin(t, r, idempotency.InDoubt)
		g.store.wants(r.ID, idempotency.Unknown)

		c := resend("contradicted")
		contradict(t, g, c)
		for _, resend := range []bool{true, false} {
			for _, why := range []error{nil, refusal} {
				c.Resend, c.Refusal = resend, why
				g.begin(t, c, idempotency.InDoubt)
			}
		}
	})
}

// contradict has an answer arrive for an attempt that is recorded as not executed.
func contradict(t *testing.T, g *gateway, r idempotency.Request) idempotency.Record {
	t.Helper()
	x := g.begin(t, r, idempotency.Granted).Execution
	x.Release("wrong", nil)
	res, err := g.committer.Submit(idempotency.Complete{Attempt: x.Attempt(), Response: answer("made"), Retention: retain}, nil)
	if err != nil || res.Applied || !res.Record.Contradicted {
		t.Fatalf("contradiction: applied %v, marked %v, %v", res.Applied, res.Record.Contradicted, err)
	}
	return res.Record
}

// alarms counts contradictions.
type alarms struct {
	mu  sync.Mutex
	ops []idempotency.OperationID
}

func (*alarms) Batched(string, int, time.Duration, error) {}
func (*alarms) Moved(idempotency.State, int)              {}
func (a *alarms) Contradicted(id idempotency.OperationID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ops = append(a.ops, id)
}

// An answer that no move accepts raises the alarm, whatever the record says; an answer that moves, or
// that comes again, does not.
func TestContradictionRaisesTheAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := &alarms{}
		g := start(t, newModel(), idempotency.CommitterOptions{Observer: heard})
		x := g.begin(t, request("plain"), idempotency.Granted).Execution
		x.Complete(answer("made"))
		for range 2 {
			if _, err := g.committer.Submit(idempotency.Complete{Attempt: x.Attempt(), Response: answer("made"), Retention: retain}, nil); err != nil {
				t.Fatal(err)
			}
		}
		purged := idempotency.Attempt{Operation: request("purged").ID, ID: idempotency.NewAttemptID(), N: 1}
		if _, err := g.committer.Submit(idempotency.Complete{Attempt: purged, Response: answer("made"), Retention: retain}, nil); err != nil {
			t.Fatal(err)
		}
		if len(heard.ops) != 0 {
			t.Fatal("alarm about an answer that was recorded")
		}
		contradict(t, g, request("wrong"))

		// After a resolution by an operator, while the next attempt runs, and after it has answered.
		r := request("resolved")
		first := g.begin(t, r, idempotency.Granted).Execution
		first.Doubt("timeout")
		if _, err := g.committer.Submit(idempotency.Resolve{
			Operation: r.ID, N: 1, Verdict: idempotency.VerdictNotExecuted, By: "operator:alice", Evidence: "looked", Retention: retain,
		}, nil); err != nil {
			t.Fatal(err)
		}
		second := g.begin(t, r, idempotency.Granted).Execution
		second.Complete(answer("second"))
		res, err := g.committer.Submit(idempotency.Complete{Attempt: first.Attempt(), Response: answer("first"), Retention: retain}, nil)
		if err != nil || res.Applied || !res.Record.Contradicted || string(res.Record.Response.Body) != "second" {
			t.Errorf("late answer: %+v, %v", res.Record, err)
		}
		if len(heard.ops) != 2 || heard.ops[1] != r.ID {
			t.Errorf("%d alarms", len(heard.ops))
		}
		kept := g.store.Evidence(r.ID)
		if n := len(kept); n != 2 || kept[1].Kind != idempotency.EvidenceContradiction || string(kept[1].Response.Body) != "first" {
			t.Errorf("evidence: %+v", kept)
		}
	})
}

// A contradicted record is never shown as not executed or cancelled, and can be neither claimed nor cancelled.
func TestContradictedIsInDoubt(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		r := request("order")
		rec := contradict(t, g, r)
		if rec.State != idempotency.NotExecuted || rec.Believed() != idempotency.Unknown {
			t.Errorf("%v, to be believed as %v", rec.State, rec.Believed())
		}
		if res, err := g.committer.Submit(idempotency.Cancel{Operation: r.Operation, Retention: retain}, nil); err != nil || res.Applied {
			t.Errorf("cancelled: %v, %v", res.Applied, err)
		}
		c := request("cancelled")
		x := g.begin(t, c, idempotency.Granted).Execution
		x.Release("wrong", nil)
		for _, tr := range []idempotency.Transition{
			idempotency.Cancel{Operation: c.Operation, Retention: retain},
			idempotency.Complete{Attempt: x.Attempt(), Response: answer("made"), Retention: retain},
		} {
			if _, err := g.committer.Submit(tr, nil); err != nil {
				t.Fatal(err)
			}
		}
		if rec := g.store.wants(c.ID, idempotency.Cancelled); rec.Believed() != idempotency.Unknown {
			t.Errorf("a cancelled record that was executed is to be believed as %v", rec.Believed())
		}
		g.begin(t, c, idempotency.InDoubt)
		rs, _ := g.store.Find(context.Background(), []idempotency.OperationID{c.ID})
		if idempotency.Judge(rs[0], printOf(1)) != idempotency.InDoubt {
			t.Error("judged otherwise")
		}
	})
}
