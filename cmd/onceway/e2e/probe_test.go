package e2e

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// probing is the policy of a route that asks at a URL; more are further settings of the probe.
func probing(url, more string) string {
	return fmt.Sprintf("on_unknown: probe, probe: {url: %q%s}", url, more)
}

// cut is a request that is executed, and whose answer never comes.
func cut() rig.Request {
	return rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{
		Status: 201, Body: ledger.Text("made"), Then: ledger.Close,
		Header: map[string][]string{"Location": {"/orders/1"}, "Content-Type": {"text/plain"}, "Set-Cookie": {"a=b"}},
	}}
}

// lost is a request that is not executed, and whose answer never comes.
func lost() rig.Request {
	return rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{NoEffect: true, Then: ledger.Close}}
}

// probed returns the probes about the one operation that a key has.
func probed(t *testing.T, b *ledger.Backend, key string) (about []ledger.Entry) {
	t.Helper()
	operation := b.Of(t, ledger.Begin, key)[0].Operation
	for _, e := range b.Of(t, ledger.Probe, "") {
		if e.Operation == operation {
			about = append(about, e)
		}
	}
	return about
}

// A backend that only says that it executed an operation ends the doubt, and leaves no answer.
func TestProbeFindsItExecuted(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: probing(b.Probe("plain"), ", headers: {Authorization: Bearer s}")})
		r := cut()
		g.Do(t, r).Is(t, doubted)
		rec := wantState(t, g, r.Key, "forgotten", 1) // the wait goes on while a probe is pending
		if rec.Response != nil {
			t.Errorf("an answer out of nowhere: %+v", rec.Response)
		}
		a := g.Do(t, r)
		a.Is(t, isForgotten)
		if a.Header.Get("Idempotency-Resolved") != "probe" {
			t.Errorf("Idempotency-Resolved: %q", a.Header.Get("Idempotency-Resolved"))
		}
		about := probed(t, b, r.Key)
		if len(about) == 0 {
			t.Fatal("nobody asked")
		}
		e := about[0]
		if e.Method != "GET" || e.Attempt != "1" || e.Header.Get("Authorization") != "Bearer s" || e.Key != "" ||
			!strings.Contains(e.Header.Get("Traceparent"), rec.TraceID) || rec.TraceID == "" {
			t.Errorf("asked by %+v", e)
		}
		wantEffects(t, b, r.Key, 1)
	})
}

// A backend that takes part gives the answer that was lost.
func TestProbeBringsTheAnswer(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: probing(b.Probe("envelope"), ", absence: fenced")})
		r := cut()
		g.Do(t, r).Is(t, doubted)
		wantState(t, g, r.Key, "completed", 1)
		for range 2 {
			a := g.Do(t, r)
			a.Is(t, with(replayed, 201))
			if a.Body != "made" || a.Header.Get("Location") != "/orders/1" || a.Header.Get("Set-Cookie") != "" || a.Header.Get("Idempotency-Resolved") != "probe" {
				t.Errorf("%v\n%s", a.Header, a.Body)
			}
		}
		if !strings.Contains(g.Get(t, recordPath(r.Key)).Body, `"by":"probe"`) {
			t.Error("the record does not say who resolved it")
		}
		wantEffects(t, b, r.Key, 1)
	})
}

// With replay the probe's own answer is the operation's, if it is whole and not too long.
func TestProbeAnswerIsReplayed(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{b.URL()}, Policy: probing(b.Probe("plain"), ", replay: true"),
			Routes: fmt.Sprintf("  - {name: short, match: {path: /short}, upstream: backend, idempotency: {%s, max_response_body: 9B}}", probing(b.Probe("plain"), ", replay: true")),
		})
		r := cut()
		g.Do(t, r).Is(t, doubted)
		wantState(t, g, r.Key, "completed", 1)
		a := g.Do(t, r)
		a.Is(t, replayed)
		if !strings.HasPrefix(a.Body, "executed ") || a.Header.Get("Idempotency-Resolved") != "probe" {
			t.Errorf("%v\n%s", a.Header, a.Body)
		}
		r = cut()
		r.Path = "/short"
		g.Do(t, r).Is(t, doubted)
		if rec := wantState(t, g, r.Key, "forgotten", 1); rec.Response == nil || rec.Response.Status != 200 {
			t.Errorf("%+v", rec.Response)
		}
	})
}

// What a backend cannot find may still be in its queue: that alone proves nothing.
func TestProbeThatFindsNothingProvesNothing(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		for name, more := range map[string]string{
			"ignore": ", settle: 2s",
			"fenced": ", settle: 2s, absence: fenced", // and the backend confirms nothing
		} {
			g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: probing(b.Probe("blind"), more)})
			r := cut()
			g.Do(t, r).Is(t, doubted)
			wantState(t, g, r.Key, "unknown", 1) // held until settle has passed
			if n := len(probed(t, b, r.Key)); n < 2 {
				t.Errorf("%s: asked %d times", name, n)
			}
			g.Do(t, r).Is(t, stillUnknown)
			wantEffects(t, b, r.Key, 1)
			g.Signal(t, syscall.SIGTERM)
			if code := g.Exit(t); code != 0 {
				t.Errorf("exit code %d", code)
			}
		}
	})
}

// A backend that refuses an attempt from now on proves that it had no effect; and it keeps its word when
// that attempt turns up late.
func TestProbeFences(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{b.URL()}, Upstream: "timeout: 3s, connect_timeout: 3s", // the second attempt is to be answered within that
			Policy: probing(b.Probe("envelope"), ", absence: fenced"),
		})
		r, a := inTime(t, g, b, func() rig.Request {
			return rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Before: newKey()}}
		})
		a.Is(t, timedOut)
		if rec := wantState(t, g, r.Key, "not_executed", 1); rec.Next != "resend" {
			t.Errorf("next is %s", rec.Next)
		}
		expired := r
		expired.Header = rig.Header("Idempotency-Deadline", "2020-01-01T00:00:00Z")
		g.Do(t, expired).Is(t, rig.Want{Status: 412, State: "rejected", Next: "stop", Slug: "deadline-passed", Record: true})
		again := r
		again.Script = ledger.Script{}
		g.Do(t, again).Is(t, executed)
		b.Open(t, r.Script.Before)
		g.Until(t, "the first attempt is refused", func() bool { return len(b.Of(t, ledger.Fenced, r.Key)) == 1 })
		wantAttempts(t, b, r.Key, "1", "2")
		if n := b.Effects(t, r.Key); n != 1 {
			t.Errorf("%d effects", n)
		}
		wantState(t, g, r.Key, "completed", 2)
	})
}

// At the user's risk, what is not found when settle has passed counts as not executed.
func TestProbeSettles(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: probing(b.Probe("plain"), ", absence: settle, settle: 2s")})
		r := lost()
		g.Do(t, r).Is(t, doubted)
		wantState(t, g, r.Key, "not_executed", 1)
		r.Script = ledger.Script{}
		g.Do(t, r).Is(t, executed)
		wantAttempts(t, b, r.Key, "1", "2")
		g.AwaitOutput(t, "weaker promise")
	})
}

// A probe that nobody answers is made again until somebody does, also by the process that follows.
func TestProbeDownThenUp(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		address, listen := b.Late(t)
		url := strings.Replace(b.Probe("plain"), b.Address(), address, 1)
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: probing(url, "")})
		r := cut()
		g.Do(t, r).Is(t, doubted)
		g.Until(t, "a probe was not answered", func() bool { return probes(t, g, "unanswered") > 1 })
		g.Get(t, recordPath(r.Key)).Is(t, rig.Want{Status: 200, State: "unknown", Next: "reconcile"})
		g.Kill(t)
		g.Start(t)
		listen()
		wantState(t, g, r.Key, "forgotten", 1)
		g.Until(t, "the probe that found it is counted", func() bool { return probes(t, g, "executed") > 0 })
		if n := probes(t, g, "executed"); n != 1 {
			t.Errorf("%d probes found it", n)
		}
	})
}

// probes is how many probes found something, by the metrics.
func probes(t *testing.T, g *rig.Gateway, found string) int {
	return counter(t, g, `onceway_probes_total\{[^}]*onceway_result="`+found+`"[^}]*\}`)
}

func counter(t *testing.T, g *rig.Gateway, series string) int {
	t.Helper()
	line := regexp.MustCompile(`(?m)^` + series + ` (\d+)`).FindStringSubmatch(g.AdminGet(t, "/metrics").Body)
	if line == nil {
		return 0
	}
	n, _ := strconv.Atoi(line[1])
	return n
}

// A gateway that dies with an attempt under way leaves a doubt that its next process, or another one,
// asks about.
func TestKilledThenProbed(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	policy := probing(b.Probe("envelope"), ", absence: fenced")
	die := func(t *testing.T, g *rig.Gateway) rig.Request {
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, After: newKey()}}
		gone := resent(t, g, r)
		b.Await(t, r.Script.After, 1)
		g.Kill(t)
		<-gone
		return r
	}
	rig.EachStore(t, func(t *testing.T, dsn string) {
		// With a spool the next process looks first whether the answer is in it.
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: policy, Extra: "lease: 2s\nspool: spool.db"})
		r := die(t, g)
		g.Start(t)
		wantState(t, g, r.Key, "completed", 1)
		g.Do(t, r).Is(t, with(replayed, 201))
		wantEffects(t, b, r.Key, 1)
	})
	t.Run("two gateways", func(t *testing.T) {
		t.Parallel()
		g, other := pair(t, rig.Config{Targets: []string{b.URL()}, Policy: policy, Extra: "lease: 2s"})
		r := die(t, g)
		other.Until(t, "the attempt is resolved", func() bool {
			return strings.Contains(other.Get(t, recordPath(r.Key)).Body, `"state":"completed"`)
		})
		other.Do(t, r).Is(t, with(replayed, 201))
		wantEffects(t, b, r.Key, 1)
	})
}

// A probe was wrong: the answer that proves it is kept, raises the alarm, and keeps the operation from
// being executed again. Nobody is told "not executed" any more.
func TestContradiction(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g, other := pair(t, rig.Config{
		Targets: []string{b.URL()}, Policy: probing(b.Probe("blind"), ", absence: settle, settle: 1s"), Extra: "lease: 2s",
	})
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, After: newKey()}}
	first := resent(t, g, r)
	b.Await(t, r.Script.After, 1)
	g.Signal(t, syscall.SIGSTOP)
	other.Until(t, "the probe declares it not executed", func() bool {
		return strings.Contains(other.Get(t, recordPath(r.Key)).Body, `"state":"not_executed"`)
	})
	b.Open(t, r.Script.After)
	g.Signal(t, syscall.SIGCONT)
	a := <-first
	if a == nil {
		t.Fatal("no answer")
	}
	a.Is(t, doubted)
	for _, g := range []*rig.Gateway{g, other} {
		g.Do(t, r).Is(t, stillUnknown)
		g.Get(t, recordPath(r.Key)).Is(t, rig.Want{Status: 200, State: "unknown", Next: "reconcile"})
	}
	if n := counter(t, g, `onceway_contradictions_total(?:\{[^}]*\})?`); n != 1 {
		t.Errorf("%d contradictions are counted", n)
	}
	seen := other.Operate(t, "", "GET", "/admin/v1/requests/"+operationOf(t, g, r.Key), "").Body
	for _, want := range []string{`"contradicted":true`, `"state":"not_executed"`, `"kind":"resolution"`, `"by":"probe"`, `"kind":"absence"`, `"kind":"contradiction"`} {
		if !strings.Contains(strings.ReplaceAll(seen, ": ", ":"), want) {
			t.Errorf("operators do not see %s in %s", want, seen)
		}
	}
	g.AwaitOutput(t, `"level":"ERROR","msg":"an answer contradicts its record"`)
	wantEffects(t, b, r.Key, 1)
}

// The store is away when a probe is due. When it is back, without a restart, the doubt resolves.
func TestStoreStoppedThenProbed(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	address, listen := b.Late(t)
	url := strings.Replace(b.Probe("envelope"), b.Address(), address, 1)
	g := rig.Serve(t, rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Policy: probing(url, ", absence: fenced"), Extra: "lease: 2s"})
	r := cut()
	g.Do(t, r).Is(t, doubted)
	cluster.Stop(pgtest.Immediate)
	listen()
	g.Until(t, "the prober misses the store", func() bool { return strings.Contains(g.Output(), "probe: the store does not say what is due") })
	cluster.Start(t)
	g.AwaitReady(t)
	g.Until(t, "the operation is resolved", func() bool {
		return strings.Contains(g.Get(t, recordPath(r.Key)).Body, `"state":"completed"`)
	})
	g.Do(t, r).Is(t, with(replayed, 201))
	wantEffects(t, b, r.Key, 1)
}
