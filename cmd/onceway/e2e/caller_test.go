package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

func as(name string) http.Header { return rig.Header("X-User-Id", name) }

// The same key of two callers is two operations, and neither can see the other's.
func TestCallersAreKeptApart(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Caller: "{header: {name: X-User-Id}}", Extra: "trusted_proxies: [127.0.0.1/32]"})
		key := newKey()
		alice, bob := rig.Request{Key: key, Body: "a", Header: as("alice")}, rig.Request{Key: key, Body: "another", Header: as("bob")}
		hers := g.Do(t, alice)
		hers.Is(t, executed)

		// Until bob uses the key himself, alice's looks to him like one that nobody ever used.
		for _, call := range []string{"", "?wait=1", "?include=body", "/response"} {
			foreign := g.Get(t, recordPath(key)+call, "X-User-Id", "bob")
			unseen := g.Get(t, recordPath(newKey())+call, "X-User-Id", "bob")
			foreign.Is(t, rig.Want{Status: 404, State: "unseen", Next: "resend", Slug: "unseen"})
			if f, u := bare(foreign), bare(unseen); f != u {
				t.Errorf("a foreign key:\n%s\nan unseen one:\n%s", f, u)
			}
		}
		his := g.Do(t, bob)
		his.Is(t, executed)
		if hers.Body == his.Body {
			t.Error("bob got alice's answer")
		}
		g.Do(t, alice).Is(t, replayed)
		entries := b.Of(t, ledger.Effect, key)
		if len(entries) != 2 || entries[0].Operation == entries[1].Operation {
			t.Errorf("%d executions, operations %s and %s", len(entries), entries[0].Operation, entries[len(entries)-1].Operation)
		}
		for i, name := range []string{"alice", "bob"} {
			if got := entries[i].Header.Get("Onceway-Caller"); got != name {
				t.Errorf("the backend was told that %q calls, want %s", got, name)
			}
		}
		for _, h := range []http.Header{nil, as(""), as("two words"), as(strings.Repeat("x", 256)), rig.Header("X-User-Id", "alice", "X-User-Id", "bob")} {
			fresh := newKey()
			g.Do(t, rig.Request{Key: fresh, Body: "a", Header: h}).Is(t, unauthorised)
			g.Do(t, rig.Request{Method: "GET", Path: recordPath(key), Header: h}).Is(t, unauthorised)
			if n := len(b.Of(t, ledger.Begin, fresh)); n != 0 {
				t.Errorf("%d requests without a caller", n)
			}
		}
		// What is not protected needs no caller.
		if a := g.Do(t, rig.Request{Method: "GET", Path: "/catalogue"}); a.Status != 200 {
			t.Errorf("GET without a caller: %d", a.Status)
		}
	})
}

// bare is an answer without what time and chance put into it.
func bare(a *rig.Answer) string {
	h := a.Header.Clone()
	h.Del("Date")
	if h.Get("Retry-After") != "" {
		h.Set("Retry-After", "some")
	}
	var b strings.Builder
	h.Write(&b)
	return b.String() + a.Body
}

// A field that anybody can send names nobody: only trusted proxies are believed.
func TestCallerHeaderIsBelievedFromTrustedProxiesOnly(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Caller: "{header: {name: X-User-Id}}", Extra: "trusted_proxies: [10.0.0.0/8]"})
	key := newKey()
	g.Do(t, rig.Request{Key: key, Body: "a", Header: as("alice")}).Is(t, unauthorised)
	g.Get(t, recordPath(key), "X-User-Id", "alice").Is(t, unauthorised)
	if n := len(b.Of(t, ledger.Begin, key)); n != 0 {
		t.Errorf("%d requests", n)
	}
}
