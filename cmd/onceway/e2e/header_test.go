package e2e

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

var (
	uuid        = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	traceparent = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
)

// What the backend gets: the client's end-to-end fields, its key, and ours, whatever the client sent.
func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	key := newKey()
	body := "exact\x00bytes\r\n\xff"
	r := rig.Request{Key: key, Path: "/orders/x;y=1?b=2&a=%20&&c", Body: body, Header: rig.Header(
		"Onceway-Operation", "mine", "onceway-attempt", "99", "Onceway_Caller", "root", "ONCEWAY-CALLER", "root", "onceway_operation", "mine",
		"X-Forwarded-For", "6.6.6.6", "X_Forwarded_For", "6.6.6.7", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.test", "Forwarded", "for=6.6.6.6",
		"Traceparent", "00-11111111111111111111111111111111-2222222222222222-01",
		"Connection", "Idempotency-Key, Onceway-Operation, X-Hop, Onceway-Caller", "X-Hop", "1", "Keep-Alive", "timeout=5", "Te", "trailers", "Proxy-Authorization", "Basic x",
		"Prefer", `respond-async, wait=20, return=minimal; x="a,b"`, "Prefer", "handling=lenient",
		"Content-Type", "text/plain", "Cookie", "a=b; c=d", "Authorization", "Bearer t", "X-Many", "1", "X-Many", "2", "X-Custom", " padded ", "Accept-Encoding", "br",
		"Idempotency-Deadline", "2100-01-01T00:00:00Z", "Expect", "100-continue",
	)}
	a := g.Send(t, "POST", r.Raw(), false)
	if a.Status == 202 {
		t.Fatal("the answer took more than 20 s")
	}
	a.Is(t, executed)
	e := only(t, b, ledger.Effect, key)
	if string(e.Body) != body || e.Target != r.Path || e.Method != "POST" || e.Host != rig.Host {
		t.Errorf("arrived as %s %s %s %q", e.Method, e.Target, e.Host, e.Body)
	}
	for name, want := range map[string][]string{
		"Idempotency-Key": {key}, "Onceway-Attempt": {"1"}, "Onceway-Caller": {"anonymous"},
		"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {rig.Host}, "X-Forwarded-Proto": {"http"},
		"Forwarded": {"for=127.0.0.1;host=" + rig.Host + ";proto=http"},
		"Prefer":    {`return=minimal; x="a,b", handling=lenient`},
		"X-Hop":     nil, "Keep-Alive": nil, "Te": nil, "Proxy-Authorization": nil, "Expect": nil, "Connection": nil, "User-Agent": nil,
		"Onceway_caller": nil, "Onceway_operation": nil, "X_forwarded_for": nil,
		"Content-Type": {"text/plain"}, "Cookie": {"a=b; c=d"}, "Authorization": {"Bearer t"}, "X-Many": {"1", "2"}, "X-Custom": {"padded"},
		"Accept-Encoding": {"br"},
	} {
		if got := e.Header[name]; !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for name := range e.Header {
		if folded := strings.ToLower(strings.ReplaceAll(name, "_", "-")); strings.Contains(name, "_") && (strings.HasPrefix(folded, "onceway") || strings.HasPrefix(folded, "x-forwarded")) {
			t.Errorf("%s got through", name)
		}
	}
	if !uuid.MatchString(e.Operation) {
		t.Errorf("operation %q", e.Operation)
	}
	if got := e.Header["Traceparent"]; len(got) != 1 || !traceparent.MatchString(got[0]) || got[0][3:35] != strings.Repeat("1", 32) {
		t.Errorf("traceparent %q does not continue the client's trace", got)
	}
	if rec := record(t, g, key); rec.Operation != e.Operation {
		t.Errorf("the record is of %s, the backend saw %s", rec.Operation, e.Operation)
	}
}

// A trusted proxy may say for whom it speaks; our hop is added.
func TestForwardingOfATrustedProxy(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "trusted_proxies: [127.0.0.0/8]"})
	for _, method := range []string{"POST", "GET"} {
		key := newKey()
		g.Do(t, rig.Request{Method: method, Key: key, Header: rig.Header("X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "shop.example", "Forwarded", "for=1.2.3.4;proto=https")})
		e := only(t, b, ledger.Begin, key).Header
		if e.Get("X-Forwarded-For") != "1.2.3.4, 127.0.0.1" || e.Get("X-Forwarded-Proto") != "https" || e.Get("X-Forwarded-Host") != "shop.example" ||
			!strings.HasPrefix(e.Get("Forwarded"), "for=1.2.3.4;proto=https, for=127.0.0.1") {
			t.Errorf("%s: %v", method, e)
		}
	}
}

// What the first caller gets, and what is kept of it for the others.
func TestResponseHeaders(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: "drop_headers: [x-secret]"})
		once := map[string][]string{
			"Set-Cookie": {"a=b", "c=d"}, "Www-Authenticate": {"Basic"}, "Age": {"7"},
			"Access-Control-Allow-Origin": {"https://a.test"}, "Access-Control-Expose-Headers": {"X"},
			"RateLimit-Remaining": {"3"}, "RateLimit": {"x"}, "X-RateLimit-Limit": {"9"}, "X-Rate-Limit-Reset": {"9"}, "X-Secret": {"s"},
		}
		kept := map[string][]string{
			"Location": {"/orders/1"}, "Etag": {`"v1"`}, "X-Many": {"1", "2", "1"}, "Content-Type": {"application/vnd.order+json"},
			"Content-Language": {"de"}, "Link": {`</orders>; rel="up"`}, "Cache-Control": {"private"}, "Vary": {"Accept"}, "X-Empty": {""}, "Retry-After": {"3"},
		}
		never := map[string][]string{
			"Idempotency-State": {"cancelled"}, "Idempotency-Next": {"stop"}, "Idempotent-Replayed": {"true"}, "Idempotency-Resolved": {"operator"}, "Idempotency-Expires": {"never"},
			"Keep-Alive": {"timeout=5"}, "Proxy-Authenticate": {"Basic"}, "X-Hop": {"1"}, "Connection": {"X-Hop"}, "Upgrade": {"h2c"},
		}
		sent := http.Header{}
		for _, m := range []map[string][]string{once, kept, never} {
			for name, values := range m {
				sent[name] = values
			}
		}
		r := rig.Request{Key: newKey(), Script: ledger.Script{Status: 201, Header: sent, Body: ledger.Text("created")}}
		first := g.Do(t, r)
		first.Is(t, with(executed, 201))
		second := g.Do(t, r)
		second.Is(t, with(replayed, 201))
		for name, values := range once {
			if got := first.Header[http.CanonicalHeaderKey(name)]; !slices.Equal(got, values) {
				t.Errorf("%s is %q for the first caller, want %q", name, got, values)
			}
			if got := second.Header[http.CanonicalHeaderKey(name)]; got != nil {
				t.Errorf("%s is replayed: %q", name, got)
			}
		}
		for name, values := range kept {
			for i, a := range []*rig.Answer{first, second} {
				got := a.Header[name]
				if name == "Link" {
					got = got[:min(len(got), 1)]
				}
				if !slices.Equal(got, values) {
					t.Errorf("%s is %q in answer %d, want %q", name, got, i+1, values)
				}
			}
		}
		for name, values := range never {
			for i, a := range []*rig.Answer{first, second} {
				if got := a.Header[name]; slices.Equal(got, values) && !(name == "Idempotent-Replayed" && i == 1) {
					t.Errorf("the backend's %s: %q is in answer %d", name, got, i+1)
				}
			}
		}
		if d := second.Header["Date"]; len(d) != 1 {
			t.Errorf("Date %q", d)
		}
		if links := second.Header["Link"]; len(links) != 2 || links[1] != "<"+recordPath(r.Key)+`>; rel="status"` {
			t.Errorf("Link %q", links)
		}
		// Reading the record tells what is stored.
		rec := record(t, g, r.Key)
		for name := range once {
			if got := rec.Response.Headers[http.CanonicalHeaderKey(name)]; got != nil {
				t.Errorf("%s is stored: %q", name, got)
			}
		}

		// No content type is invented, and a body that cannot be is not given a length.
		plain := rig.Request{Key: newKey(), Script: ledger.Script{Header: map[string][]string{"Content-Type": nil}, Body: ledger.Text("<html>")}}
		for range 2 {
			if a := g.Do(t, plain); len(a.Header["Content-Type"]) != 0 || a.Body != "<html>" || a.Header.Get("Content-Length") != "6" {
				t.Errorf("%v %q", a.Header, a.Body)
			}
		}
		empty := rig.Request{Key: newKey(), Script: ledger.Script{Status: 204}}
		for range 2 {
			if a := g.Do(t, empty); a.Status != 204 || len(a.Header["Content-Length"]) != 0 {
				t.Errorf("%d %v", a.Status, a.Header)
			}
		}
	})
}

// One key in two spellings is one operation, and the backend sees the spelling that was used.
func TestKeyInTwoSpellings(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		key := newKey()
		quoted := rig.Request{Key: `"` + key + `"`, Body: "a"}
		g.Do(t, quoted).Is(t, executed)
		g.Do(t, rig.Request{Key: key, Body: "a"}).Is(t, replayed)
		wantEffects(t, b, key, 1)
		if got := only(t, b, ledger.Effect, key).Key; got != quoted.Key {
			t.Errorf("the backend saw %s", got)
		}
	})
}

// Modes and methods: what is protected, and how the rest is told.
func TestModes(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Routes: `
  - {name: optional, match: {path: /optional}, upstream: backend, idempotency: {mode: optional}}
  - {name: "off", match: {path: /off}, upstream: backend, idempotency: {mode: "off"}}
  - {name: put, match: {path: /put}, upstream: backend, idempotency: {methods: [PUT, DELETE]}}
  - {name: named, match: {path: /named}, upstream: backend, idempotency: {header: X-Request-Id}}
  - {name: picky, match: {path: /picky}, upstream: backend, idempotency: {not_executed_statuses: [503], unknown_statuses: [500]}}
`[1:]})
	count := func(key string) int { return b.Effects(t, key) }

	// optional
	a := g.Do(t, rig.Request{Path: "/optional", Body: "a", Script: ledger.Script{Header: map[string][]string{"Idempotency-State": {"executed"}, "Idempotency-Next": {"done"}}}})
	if a.Status != 200 || a.Header.Get("Idempotency-State") != "unprotected" || a.Header.Get("Idempotency-Next") != "" {
		t.Errorf("optional without a key: %d %v", a.Status, a.Header)
	}
	r := rig.Request{Path: "/optional", Key: newKey(), Body: "a"}
	g.Do(t, r).Is(t, executed)
	g.Do(t, r).Is(t, replayed)
	if count(r.Key) != 1 {
		t.Errorf("%d executions", count(r.Key))
	}
	g.Do(t, rig.Request{Path: "/optional", Key: "a b", Body: "a"}).Is(t, refused(400, "key-malformed"))

	// off, and methods that are idempotent by themselves
	for _, r := range []rig.Request{
		{Path: "/off", Key: newKey(), Body: "a"}, {Method: "PUT", Key: newKey(), Body: "a"}, {Method: "DELETE", Key: newKey()},
		{Method: "GET", Key: newKey()}, {Method: "OPTIONS", Key: newKey()}, {Path: "/put", Key: newKey(), Body: "a"},
		{Key: newKey(), Header: rig.Header("Content-Type", "application/grpc+proto"), Body: "a"},
	} {
		for range 2 {
			if a := g.Do(t, r); a.Status != 200 || a.Header.Get("Idempotency-State") != "" {
				t.Errorf("%s %s: %d %v", r.Method, r.Path, a.Status, a.Header)
			}
		}
		if count(r.Key) != 2 {
			t.Errorf("%s %s: %d executions, want 2", r.Method, r.Path, count(r.Key))
		}
	}
	for _, r := range []rig.Request{{Method: "PUT", Path: "/put", Key: newKey(), Body: "a"}, {Method: "PATCH", Key: newKey(), Body: "a"}, {Method: "BREW", Key: newKey(), Body: "a"}} {
		g.Do(t, r).Is(t, executed)
		g.Do(t, r).Is(t, replayed)
		wantEffects(t, b, r.Key, 1)
	}
	g.Do(t, rig.Request{Method: "DELETE", Path: "/put"}).Is(t, refused(400, "key-missing"))

	// another header
	named := rig.Request{Path: "/named", Body: "a", Header: rig.Header("X-Request-Id", newKey(), "Connection", "x-request-id")}
	g.Do(t, named).Is(t, executed)
	g.Do(t, named).Is(t, replayed)
	g.Do(t, rig.Request{Path: "/named", Body: "a", Key: newKey()}).Is(t, refused(400, "key-missing"))

	// other statuses
	odd := rig.Request{Path: "/picky", Key: newKey(), Body: "a", Script: ledger.Script{Status: 503, NoEffect: true}}
	g.Do(t, odd).Is(t, rig.Want{Status: 503, State: "not_executed", Next: "resend"})
	odd.Script = ledger.Script{Status: 502}
	g.Do(t, odd).Is(t, with(executed, 502))
	odd = rig.Request{Path: "/picky", Key: newKey(), Body: "a", Script: ledger.Script{Status: 500}}
	g.Do(t, odd).Is(t, rig.Want{Status: 500, State: "unknown", Next: "reconcile"})
	odd = rig.Request{Path: "/picky", Key: newKey(), Body: "a", Script: ledger.Script{Status: 429}}
	g.Do(t, odd).Is(t, with(executed, 429))
}
