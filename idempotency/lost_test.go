package idempotency_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func dated(name string, at time.Time) idempotency.Request {
	r := request(name)
	r.KeyDate = at
	return r
}

// After a change of the store, that there is no record proves nothing about a key that is older.
func TestKeyOlderThanTheStoreIsInDoubt(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		old, settled := dated("old", time.Now()), dated("settled", time.Now())
		g.begin(t, settled, idempotency.Granted).Execution.Complete(answer("kept"))
		g.begin(t, dated("released", time.Now()), idempotency.Granted).Execution.Release("test", nil)
		time.Sleep(time.Minute)
		g.store.Model.Change(time.Now())
		for range 2 {
			g.begin(t, old, idempotency.InDoubt)
		}
		r := g.store.wants(old.ID, idempotency.Unknown)
		if r.Cause != idempotency.CauseLost || r.Attempt.N != 1 || r.Fingerprint != old.Fingerprint {
			t.Errorf("%+v", r)
		}
		if e := g.store.Model.Evidence(old.ID); len(e) != 1 || e[0].Kind != idempotency.EvidenceImport || e[0].Text == "" {
			t.Errorf("evidence %+v", e)
		}
		// What has a record is what the record says, and what is newer, or has no date, is claimed.
		g.begin(t, settled, idempotency.Replay)
		g.begin(t, dated("released", time.Now().Add(-time.Minute)), idempotency.Granted).Execution.Doubt("test")
		g.begin(t, dated("new", time.Now().Add(time.Nanosecond)), idempotency.Granted).Execution.Doubt("test")
		g.begin(t, request("undated"), idempotency.Granted).Execution.Doubt("test")
	})
}

// On a route that resends, a retry executes what is in doubt, as attempt 2: the backend deduplicates.
func TestKeyOlderThanTheStoreIsResent(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		r := dated("old", time.Now())
		r.Resend = true
		g.store.Model.Change(time.Now())
		d, err := g.engine.Begin(t.Context(), r)
		if err != nil || d.Ruling != idempotency.InDoubt && d.Ruling != idempotency.Granted {
			t.Fatalf("%v, %v", d.Ruling, err)
		}
		if d.Execution == nil {
			d = g.begin(t, r, idempotency.Granted)
		}
		if n := d.Execution.Attempt().N; n != 2 {
			t.Errorf("attempt %d", n)
		}
		d.Execution.Doubt("test")
	})
}

func TestKeyOlderThanTheStoreIsNotCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		r := dated("old", time.Now())
		g.store.Model.Change(time.Now())
		res, err := g.committer.Submit(idempotency.Cancel{Operation: r.Operation, KeyDate: r.KeyDate, Retention: retain}, nil)
		if err != nil || res.Applied || res.Record.State != idempotency.Unseen {
			t.Errorf("%+v, %v", res, err)
		}
		done, err := g.engine.Cancel(t.Context(), idempotency.Cancel{Operation: r.Operation, KeyDate: r.KeyDate, Retention: retain}, false)
		if err != nil || done.Holds || done.Record.State != idempotency.Unknown {
			t.Errorf("%+v, %v", done, err)
		}
		g.begin(t, r, idempotency.InDoubt)
	})
}

// A claim that the store loses while its attempt runs comes back with the attempt's outcome.
func TestLostClaimComesBackWithItsOutcome(t *testing.T) {
	settle := map[string]struct {
		do   func(x *idempotency.Execution) idempotency.Outcome
		want idempotency.State
	}{
		"answer": {func(x *idempotency.Execution) idempotency.Outcome { return x.Complete(answer("done")) }, idempotency.Completed},
		"doubt":  {func(x *idempotency.Execution) idempotency.Outcome { return x.Doubt("test") }, idempotency.Unknown},
		"proof":  {func(x *idempotency.Execution) idempotency.Outcome { return x.Release("test", nil) }, idempotency.NotExecuted},
	}
	for name, c := range settle {
		for _, broken := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				bubble(t, func(t *testing.T, g *gateway) {
					r := dated("order", time.Now())
					x := g.begin(t, r, idempotency.Granted).Execution
					g.store.Model.Lose(r.ID)
					g.store.Model.Change(time.Now())
					if broken { // the store takes nothing for longer than anybody waits
						g.store.breakBy(failBefore)
					}
					o := c.do(x)
					if broken {
						g.store.heal()
						time.Sleep(5 * time.Second)
						synctest.Wait()
					} else if o.Err != nil || o.Record.State != c.want {
						t.Errorf("outcome %+v", o)
					}
					if got := g.store.state(r.ID).State; got != c.want && !(broken && c.want == idempotency.NotExecuted && got == idempotency.Unknown) {
						t.Errorf("the store says %v", got)
					}
					if n := g.engine.Running(); n != 0 {
						t.Errorf("%d executions still run", n)
					}
				})
			})
		}
	}
}

// What a gateway claimed lately it brings back after a change of the store, before it claims anything: as
// an answer where it still has that, else as in doubt. What runs is completed by its own answer.
func TestJournalBringsBackWhatTheStoreLost(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("answered"), idempotency.Granted).Execution.Complete(answer("kept"))
		g.begin(t, request("doubted"), idempotency.Granted).Execution.Doubt("test")
		g.begin(t, request("kept"), idempotency.Granted).Execution.Complete(answer("not lost"))
		running := g.begin(t, request("running"), idempotency.Granted).Execution
		before := g.store.wants(request("kept").ID, idempotency.Completed).Revision
		for _, name := range []string{"answered", "doubted", "running"} {
			g.store.Model.Lose(request(name).ID)
		}
		g.store.set(func(s *faulty) { s.find = func(context.Context) error { return errBroken } })
		g.engine.StoreChanged()
		for _, r := range []idempotency.Request{request("new"), dated("new, dated", time.Now())} {
			if d, err := g.engine.Begin(t.Context(), r); err == nil || d.Execution != nil {
				t.Errorf("claimed before what was lost is back: %v, %v", d.Ruling, err)
			}
		}
		if err := g.engine.Recover(t.Context()); err == nil {
			t.Error("recovered without a store")
		}
		g.store.set(func(s *faulty) { s.find = nil })
		for range 2 {
			if err := g.engine.Recover(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if r := g.store.wants(request("answered").ID, idempotency.Completed); string(r.Response.Body) != "kept" {
			t.Errorf("the answer is %q", r.Response.Body)
		}
		g.store.wants(request("doubted").ID, idempotency.Unknown)
		g.store.wants(request("running").ID, idempotency.Unknown)
		if r := g.store.wants(request("kept").ID, idempotency.Completed); r.Revision != before {
			t.Error("what was not lost was written again")
		}
		running.Complete(answer("late"))
		g.store.wants(request("running").ID, idempotency.Completed)

		// Keys without a date wait for a lease: other gateways bring back theirs.
		g.begin(t, dated("new, dated", time.Now()), idempotency.Granted).Execution.Doubt("test")
		g.fails(t, request("new"), idempotency.ErrStoreChanged)
		g.begin(t, request("doubted"), idempotency.InDoubt)
		time.Sleep(leaseLength)
		g.begin(t, request("new"), idempotency.Granted).Execution.Doubt("test")
	})
}

// A claim that crossed the change is neither granted nor sent. Without a date in its key it proves nothing
// either: it may stand where the store has lost another gateway's.
func TestClaimThatCrossedAChangeIsNotSent(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		x := g.begin(t, request("before"), idempotency.Granted).Execution
		cross := func() {
			g.store.breakBy(once(only[idempotency.Claim](func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
				g.engine.StoreChanged()
				return apply()
			})))
		}
		cross()
		g.fails(t, request("order"), idempotency.ErrStoreChanged)
		if err := x.Ready(); !errors.Is(err, idempotency.ErrStoreChanged) {
			t.Errorf("Ready: %v", err)
		}
		x.Release("store-changed", nil)
		synctest.Wait()
		if r := g.store.wants(request("order").ID, idempotency.Unknown); r.Cause != idempotency.CauseLost {
			t.Errorf("cause %q", r.Cause)
		}
		g.store.wants(request("before").ID, idempotency.NotExecuted)
		if err := g.engine.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		cross()
		g.fails(t, dated("dated", time.Now()), idempotency.ErrStoreChanged)
		synctest.Wait()
		g.store.wants(request("dated").ID, idempotency.NotExecuted)
	})
}

// Whatever another gateway wrote where the store had lost a claim does not hide what its owner knows.
func TestJournalInsistsOnItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel()
		a, b := start(t, m, idempotency.CommitterOptions{}), start(t, m, idempotency.CommitterOptions{})
		for _, name := range []string{"crossed", "crossed late", "cancelled", "released"} {
			a.begin(t, request(name), idempotency.Granted).Execution.Complete(answer("made"))
			m.Lose(request(name).ID)
		}
		a.begin(t, request("in doubt"), idempotency.Granted).Execution.Doubt("test")
		m.Lose(request("in doubt").ID)
		b.cancel(t, request("cancelled"), false)
		b.begin(t, request("released"), idempotency.Granted).Execution.Release("test", nil)
		b.begin(t, request("in doubt"), idempotency.Granted).Execution.Release("test", nil)
		b.store.breakBy(once(only[idempotency.Claim](func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			b.engine.StoreChanged()
			return apply()
		})))
		b.fails(t, request("crossed"), idempotency.ErrStoreChanged)
		synctest.Wait()
		a.engine.StoreChanged()
		if err := a.engine.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"crossed", "crossed late"} {
			if r := a.store.wants(request(name).ID, idempotency.Completed); string(r.Response.Body) != "made" {
				t.Errorf("the answer is %q", r.Response.Body)
			}
		}
		for _, name := range []string{"cancelled", "released", "in doubt"} {
			if r := a.store.state(request(name).ID); r.Believed() != idempotency.Unknown {
				t.Errorf("%s: %v", name, r.Believed())
			}
		}
	})
}

// The journal has room for so many claims, and forgets the oldest.
func TestJournalIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		const more = 100
		for i := range 8192 + more {
			g.begin(t, request(name(i)), idempotency.Granted).Execution.Release("test", nil)
			g.store.Model.Lose(request(name(i)).ID)
		}
		g.engine.StoreChanged()
		if err := g.engine.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.store.wants(request(name(more-1)).ID, idempotency.Unseen)
		g.store.wants(request(name(more)).ID, idempotency.Unknown)
		g.store.wants(request(name(8191+more)).ID, idempotency.Unknown)
	})
}

// What was claimed so long ago that its record may have been purged is not brought back as in doubt.
func TestJournalForgetsWhatRetentionForgot(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("old"), idempotency.Granted).Execution.Complete(answer("made"))
		g.begin(t, dated("dated", time.Now().Add(time.Hour)), idempotency.Granted).Execution.Complete(answer("made"))
		time.Sleep(retain.Key + 2*request("old").Budget)
		g.begin(t, request("young"), idempotency.Granted).Execution.Doubt("test")
		for _, name := range []string{"old", "dated", "young"} {
			g.store.Model.Lose(request(name).ID)
		}
		g.engine.StoreChanged()
		if err := g.engine.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.store.wants(request("old").ID, idempotency.Unseen)
		g.store.wants(request("dated").ID, idempotency.Unknown)
		g.store.wants(request("young").ID, idempotency.Unknown)
	})
}

// A cancellation that crossed the change says nothing.
func TestCancelThatCrossedAChangeIsNotTold(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.store.breakBy(once(only[idempotency.Cancel](func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			g.engine.StoreChanged()
			return apply()
		})))
		_, err := g.engine.Cancel(t.Context(), idempotency.Cancel{Operation: request("order").Operation, Retention: retain}, false)
		if !errors.Is(err, idempotency.ErrStoreChanged) {
			t.Errorf("Cancel: %v", err)
		}
	})
}
