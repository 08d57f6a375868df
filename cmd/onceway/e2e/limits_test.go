package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

var rateLimited = rig.Want{Status: 429, State: "rejected", Next: "resend", Slug: "rate-limited"}

// limited serves callers that a header names, each within limits.
func limited(t *testing.T, dsn string, b *ledger.Backend, limits, more string) *rig.Gateway {
	return rig.Serve(t, rig.Config{
		Store: dsn, Targets: []string{b.URL()}, Caller: "{header: {name: X-User}}", Extra: "trusted_proxies: [127.0.0.0/8]\nlimits: {" + limits + "}\n" + more,
		Routes: "  - {name: twice, match: {path: /twice}, upstream: backend, idempotency: {on_unknown: resend}}\n",
	})
}

func by(who string, r rig.Request) rig.Request {
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = rig.Header()
	}
	r.Header["X-User"] = []string{who}
	return r
}

// Attempts that run at once: one more is refused before its claim, its own caller's alone, and what is settled
// or running is answered all the same.
func TestInFlightOfACaller(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := limited(t, "", b, "in_flight: 2", "")
	settled := by("anna", rig.Request{Key: newKey(), Body: "a"})
	g.Do(t, settled).Is(t, executed)
	gate := newKey()
	running := []rig.Request{
		by("anna", rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Before: gate}}),
		by("anna", rig.Request{Key: newKey(), Body: "b", Script: ledger.Script{Before: gate}, Header: rig.Header("Prefer", "respond-async")}),
	}
	first, second := g.Go(t, running[0]), g.Do(t, running[1])
	if second.Status != 202 {
		t.Fatalf("%d", second.Status)
	}
	b.Await(t, gate, 2)
	more := by("anna", rig.Request{Key: newKey(), Body: "c"})
	a := g.Do(t, more)
	a.Is(t, rateLimited)
	if n, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || n < 1 || n > 3 {
		t.Errorf("Retry-After: %q", a.Header.Get("Retry-After"))
	}
	g.Do(t, by("anna", rig.Request{Method: "GET", Path: recordPath(more.Key)})).Is(t, unseen)
	if n := b.Effects(t, more.Key); n != 0 {
		t.Errorf("%d effects of what was refused", n)
	}
	g.Do(t, settled).Is(t, replayed)
	attached := running[0]
	attached.Header = rig.Header("Prefer", "wait=0", "X-User", "anna")
	g.Do(t, attached).Is(t, inProgress)
	g.Do(t, by("bert", rig.Request{Key: newKey(), Body: "d"})).Is(t, executed)
	b.Open(t, gate)
	(<-first).Is(t, executed)
	g.Until(t, "the other attempt ends", func() bool { return g.Do(t, running[1]).Status == 200 })
	g.Do(t, more).Is(t, executed)
	wantEffects(t, b, more.Key, 1)
}

// What a caller has in doubt is counted in the store: by every gateway, also after a restart. A retry that may
// resolve a doubt is not refused for it.
func TestUnsettledOfACaller(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := limited(t, dsn, b, "unsettled: 3", "")
		settled := by("anna", rig.Request{Key: newKey(), Body: "a"})
		g.Do(t, settled).Is(t, executed)
		lost := func(path string) rig.Request {
			return by("anna", rig.Request{Path: path, Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}})
		}
		held, again := lost("/orders"), lost("/twice")
		for _, r := range []rig.Request{held, lost("/orders"), again} {
			if a := g.Do(t, r); a.Status != 502 {
				t.Fatalf("%d", a.Status)
			}
		}
		more := by("anna", rig.Request{Key: newKey(), Body: "a"})
		check := func() {
			t.Helper()
			g.Do(t, more).Is(t, rateLimited)
			g.Do(t, held).Is(t, stillUnknown)
			g.Do(t, settled).Is(t, replayed)
			g.Do(t, by("bert", rig.Request{Key: newKey(), Body: "a"})).Is(t, executed)
		}
		check()
		g.Kill(t)
		g.Start(t)
		check()
		if a := g.Do(t, again); a.Status != 502 { // in doubt again, but sent
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if n := len(b.Of(t, ledger.Begin, again.Key)); n != 2 {
			t.Errorf("sent %d times", n)
		}
		g.Do(t, more).Is(t, rateLimited)
		again.Script = ledger.Script{}
		again = by("anna", again)
		// The ledger's backend takes part in nothing: a copy without a script is another request only to it.
		if a := g.Do(t, again); a.Status != 200 {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		g.Until(t, "the resolution is noticed", func() bool { return g.Do(t, more).Status == 200 })
	})
}

// Of what comes at once no more is begun than a second has, and the rest succeeds later, with the same keys.
func TestRequestsPerSecondOfACaller(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := limited(t, "", b, "requests_per_second: 3", "")
	settled := by("anna", rig.Request{Key: newKey(), Body: "a"})
	g.Do(t, settled).Is(t, executed)
	requests := make([]rig.Request, 40)
	refused := make([]bool, len(requests))
	one := func(i int) {
		requests[i] = by("anna", rig.Request{Key: newKey(), Body: "a"})
		a := g.Do(t, requests[i])
		if refused[i] = a.Status == 429; refused[i] {
			a.Is(t, rateLimited)
			g.Do(t, settled).Is(t, replayed)
			if n := b.Effects(t, requests[i].Key); n != 0 {
				t.Errorf("%d effects of what was refused", n)
			}
		} else {
			a.Is(t, executed)
		}
	}
	g.Until(t, "something is refused", func() bool { // on a machine that is slow 40 may take as long as they should
		workers(20, len(requests), one)
		return slices.Contains(refused, true)
	})
	g.Do(t, by("bert", rig.Request{Key: newKey(), Body: "a"})).Is(t, executed)
	last := requests[slices.Index(refused, true)]
	g.Until(t, "the refused request is executed", func() bool { return g.Do(t, last).Status == 200 })
	wantEffects(t, b, last.Key, 1)
}

// Questions have a limit of their own: it refuses none of the requests, and theirs refuses no question.
func TestQuestionsPerSecondOfACaller(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := limited(t, "", b, "in_flight: 1", "reconcile: {requests_per_second: 1}")
	ask := func(who, path string) *rig.Answer { return g.Do(t, by(who, rig.Request{Method: "GET", Path: path})) }
	key := newKey()
	n := 0
	g.Until(t, "a question is refused", func() bool {
		if n++; n%2 == 0 {
			return ask("anna", recordPath(key)).Status == 429
		}
		return g.Do(t, by("anna", queryOf([]string{key}, ""))).Status == 429
	})
	var a *rig.Answer
	g.Until(t, "a question is refused again", func() bool { a = ask("anna", recordPath(key)); return a.Status == 429 })
	a.Is(t, rateLimited)
	g.Do(t, by("anna", rig.Request{Key: key, Body: "a"})).Is(t, executed)
	for i := range 5 {
		if a := ask(fmt.Sprint("bert", i), recordPath(key)); a.Status != 404 {
			t.Errorf("%d for another caller", a.Status)
		}
		if a := ask("anna", "/.well-known/idempotency"); a.Status != 200 {
			t.Errorf("%d for what needs no caller", a.Status)
		}
	}
	g.Do(t, rig.Request{Method: "GET", Path: recordPath(key)}).Is(t, unauthorised)
}
