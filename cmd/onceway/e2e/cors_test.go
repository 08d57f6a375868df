package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

const (
	listedPage = "https://app.example.com"    // for everything
	adminPage  = "https://x.admin.example"    // for one route, with credentials
	otherPage  = "https://evil.example"       // for nothing
	mayCall    = "https://app.example.com.eu" // like one that is listed, but another
)

// page makes r a request of a page's script.
func page(origin string, r rig.Request) rig.Request {
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header["Origin"] = []string{origin}
	return r
}

// mayRead checks that a page of origin can read an answer, and the fields named; "" for none.
func mayRead(t *testing.T, a *rig.Answer, origin string, fields ...string) {
	t.Helper()
	if origin == "" {
		if got := a.Header.Values("Access-Control-Allow-Origin"); len(got) != 0 || !lists(a, "Vary", "Origin") {
			t.Errorf("readable for %q; Vary %q", got, a.Header.Values("Vary"))
		}
		return
	}
	if got := a.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != origin || !lists(a, "Vary", "Origin") {
		t.Errorf("readable for %q, want %s; Vary %q: %d %v", got, origin, a.Header.Values("Vary"), a.Status, a.Header)
	}
	for _, name := range fields {
		if !lists(a, "Access-Control-Expose-Headers", name) {
			t.Errorf("%s is not exposed once: %q", name, a.Header.Values("Access-Control-Expose-Headers"))
		}
	}
}

// lists reports whether a field that is there once lists a member exactly once.
func lists(a *rig.Answer, name, member string) bool {
	lines, n := a.Header.Values(name), 0
	for m := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		if strings.EqualFold(strings.TrimSpace(m), member) {
			n++
		}
	}
	return len(lines) == 1 && n == 1
}

var exposed = strings.Fields("Idempotency-State Idempotency-Next Idempotency-Expires Idempotency-Resolved Idempotency-Response-Status " +
	"Idempotent-Replayed Link Location Retry-After ETag Preference-Applied Content-Range")

func corsGateway(t *testing.T, b *ledger.Backend) *rig.Gateway {
	return rig.Serve(t, rig.Config{
		Targets: []string{b.URL()}, Only: true, Extra: "cors: {origins: ['" + listedPage + "', 'http://localhost:5173']}",
		Routes: `
  - {name: orders, match: {path: /orders/**, methods: [GET, POST]}, upstream: backend}
  - {name: admin, match: {path: /admin/**}, upstream: backend, cors: {origins: ['https://*.admin.example'], credentials: true}}
  - {name: off, match: {path: /off/**}, upstream: backend, idempotency: {mode: "off"}}
  - {name: small, match: {path: /small}, upstream: backend, idempotency: {max_request_body: 10B}}`[1:],
	})
}

// A page of a listed origin can read every answer and every field that the gateway sends.
func TestPagesReadEveryAnswer(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := corsGateway(t, b)
	made := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, Header: map[string][]string{
		"Location": {"/orders/1"}, "Etag": {`"1"`}, "X-Order": {"1"}, "Vary": {"Accept, Cookie"}, "Link": {`</help>; rel="help"`},
		"Access-Control-Allow-Origin": {"*"}, "Access-Control-Expose-Headers": {"X-Order, ETag"}, "Access-Control-Allow-Credentials": {"true"},
	}}}
	for i := range 3 {
		a := g.Do(t, page(listedPage, made))
		a.Is(t, rig.Want{Status: 201, State: []string{"executed", "replayed", "replayed"}[i], Next: "done"})
		mayRead(t, a, listedPage, append(slices.Clone(exposed), "X-Order")...)
		if !lists(a, "Vary", "Cookie") || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%v", a.Header)
		}
	}
	// A replay to another page repeats nothing of what the first one was allowed, and one to no page neither.
	mayRead(t, g.Do(t, page(otherPage, made)), "")
	mayRead(t, g.Do(t, page(mayCall, made)), "")
	mayRead(t, g.Do(t, made), "")

	running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Before: newKey()}}
	first := g.Go(t, page(listedPage, running))
	b.Await(t, running.Script.Before, 1)
	waiting := running
	waiting.Header = rig.Header("Prefer", "wait=0")
	mayRead(t, g.Do(t, page(listedPage, waiting)), listedPage, "Retry-After", "Link")
	waiting.Header = rig.Header("Prefer", "respond-async, wait=0")
	if a := g.Do(t, page(listedPage, waiting)); a.Status != 202 {
		t.Errorf("%d", a.Status)
	} else {
		mayRead(t, a, listedPage, "Location", "Preference-Applied")
	}
	b.Open(t, running.Script.Before)
	mayRead(t, <-first, listedPage, exposed...)

	get := func(path string, header ...string) rig.Request {
		return rig.Request{Method: "GET", Path: path, Header: rig.Header(header...)}
	}
	record := g.Do(t, page(listedPage, get(recordPath(made.Key))))
	for name, c := range map[string]struct {
		r      rig.Request
		status int
	}{
		"record":       {get(recordPath(made.Key)), 200},
		"not modified": {get(recordPath(made.Key), "If-None-Match", record.Header.Get("ETag")), 304},
		"unseen":       {get(recordPath(newKey())), 404},
		"part":         {get(recordPath(made.Key)+"/response", "Range", "bytes=0-0"), 206},
		"query":        {queryOf([]string{made.Key}, ""), 200},
		"cancellation": {cancellation(newKey()), 201},
		"facts":        {get("/.well-known/idempotency"), 200},
		"no such API":  {get("/_reconcile/v1/nothing"), 404},
		"no route":     {get("/nowhere"), 404},
		"no key":       {rig.Request{Body: "a"}, 400},
		"ambiguous":    {rig.Request{Path: "/orders//x", Key: newKey()}, 400},
		"too large":    {rig.Request{Path: "/small", Key: newKey(), Body: "more than ten"}, 413},
		"passed":       {get("/off/x"), 200},
		"lost":         {rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}, 502},
		"passed, lost": {rig.Request{Path: "/off/x", Body: "a", Script: ledger.Script{Then: ledger.Close}}, 502},
		"throttled":    {rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}, 429},
	} {
		t.Run(name, func(t *testing.T) {
			a := g.Do(t, page(listedPage, c.r))
			if a.Status != c.status {
				t.Errorf("answered %d, want %d: %s", a.Status, c.status, a.Body)
			}
			mayRead(t, a, listedPage, exposed...)
			mayRead(t, g.Do(t, page(otherPage, c.r)), "")
		})
	}
}

// What a backend tells the pages that it allows itself stays as it is.
func TestPagesOfTheBackend(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	own := ledger.Script{Header: map[string][]string{
		"Vary": {"Origin"}, "Access-Control-Allow-Origin": {otherPage}, "Access-Control-Expose-Headers": {"X-Order"}, "Access-Control-Allow-Credentials": {"true"},
	}}
	for name, g := range map[string]*rig.Gateway{"other pages listed": corsGateway(t, b), "none listed": rig.Serve(t, rig.Config{Targets: []string{b.URL()}})} {
		for _, r := range []rig.Request{{Method: "GET", Path: "/orders", Script: own}, {Key: newKey(), Body: "a", Script: own}} {
			h := g.Do(t, page(otherPage, r)).Header
			if h.Get("Access-Control-Allow-Origin") != otherPage || h.Get("Access-Control-Expose-Headers") != "X-Order" || h.Get("Access-Control-Allow-Credentials") != "true" || len(h.Values("Vary")) != 1 {
				t.Errorf("%s: %v", name, h)
			}
		}
	}
}

func preflight(origin, path, method string, fields ...string) rig.Request {
	h := rig.Header("Access-Control-Request-Method", method)
	if len(fields) > 0 {
		h["Access-Control-Request-Headers"] = []string{strings.Join(fields, ",")}
	}
	return page(origin, rig.Request{Method: "OPTIONS", Path: path, Header: h})
}

func TestPreflights(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := corsGateway(t, b)
	fields := strings.Fields("authorization content-type idempotency-deadline idempotency-first-sent idempotency-key if-none-match last-event-id prefer range x-own")
	ours := "/_reconcile/v1/requests/some-key"
	for _, c := range []struct {
		origin, path, method string
		credentials          string
	}{
		{listedPage, ours, "GET", ""},
		{listedPage, ours + "/cancellation", "PUT", ""},
		{listedPage, "/_reconcile/v1/query", "POST", ""},
		{listedPage, "/.well-known/idempotency", "GET", ""},
		{"http://localhost:5173", ours, "GET", ""},
		{adminPage, ours, "GET", "true"}, // listed for one route
		{listedPage, "/orders", "POST", ""},
		{listedPage, "/off/x", "DELETE", ""},
		{listedPage, "/nowhere", "POST", ""}, // so that the page can read that there is no route
		{listedPage, "/admin/x", "PATCH", ""},
		{adminPage, "/admin/x", "PATCH", "true"},
	} {
		a := g.Do(t, preflight(c.origin, c.path, c.method, fields...))
		if a.Status != 204 || a.Header.Get("Access-Control-Allow-Origin") != c.origin || a.Header.Get("Access-Control-Allow-Credentials") != c.credentials ||
			!lists(a, "Access-Control-Allow-Methods", c.method) || a.Header.Get("Access-Control-Max-Age") == "" || !lists(a, "Vary", "Origin") {
			t.Errorf("%+v: %d %v", c, a.Status, a.Header)
		}
		for _, name := range fields {
			if !lists(a, "Access-Control-Allow-Headers", name) {
				t.Errorf("%+v: %s may not be sent: %v", c, name, a.Header)
			}
		}
	}
	// Of pages that are not listed our own APIs refuse them, and on routes the backend decides.
	for _, origin := range []string{otherPage, mayCall, "null"} {
		a := g.Do(t, preflight(origin, ours, "GET"))
		a.Is(t, refused(403, "forbidden"))
		mayRead(t, a, "")
	}
	for _, r := range []rig.Request{preflight(otherPage, "/off/x", "POST"), preflight(adminPage, "/off/x", "POST"), preflight(otherPage, "/admin/x", "POST")} {
		r.Script = ledger.Script{Status: 204, Header: map[string][]string{"Access-Control-Allow-Origin": {"https://of.backend"}}}
		if a := g.Do(t, r); a.Status != 204 || a.Header.Get("Access-Control-Allow-Origin") != "https://of.backend" || a.Header.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("%v: %d %v", r.Header, a.Status, a.Header)
		}
	}
	// An OPTIONS that asks nothing of the kind goes its way.
	if a := g.Do(t, page(listedPage, rig.Request{Method: "OPTIONS", Path: "/off/x"})); a.Status != 200 || a.Header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("%d %v", a.Status, a.Header)
	}
	for _, e := range b.Entries(t) {
		if e.Method == "OPTIONS" && slices.Contains(e.Header["Origin"], listedPage) && len(e.Header["Access-Control-Request-Method"]) > 0 {
			t.Errorf("the backend was asked about %s", e.Target)
		}
	}
}

// Every origin may be listed, by *, but then no credentials are.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "cors: {origins: ['*']}"})
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Header: map[string][]string{"Access-Control-Allow-Origin": {listedPage}, "Access-Control-Allow-Credentials": {"true"}}}}
	mayRead(t, g.Do(t, page(otherPage, r)), "*", exposed...)
	mayRead(t, g.Do(t, page("null", r)), "*", exposed...)
	for _, a := range []*rig.Answer{g.Do(t, page(otherPage, r)), g.Do(t, preflight(otherPage, "/orders", "POST")), g.Do(t, preflight(otherPage, "/_reconcile/v1/query", "POST"))} {
		if a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%d %v", a.Status, a.Header)
		}
	}
	// Without any origin nothing of this is said at all.
	g = rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	if a := g.Do(t, page(otherPage, rig.Request{Key: newKey(), Body: "a"})); a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Vary") != "" {
		t.Errorf("%v", a.Header)
	}
	g.Do(t, preflight(otherPage, "/_reconcile/v1/query", "POST")).Is(t, refused(405, "method-not-allowed"))
}
