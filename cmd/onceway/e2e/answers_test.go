package e2e

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// table is a gateway whose routes cover the table of answers.
type table struct {
	g    *rig.Gateway
	b    *ledger.Backend
	late func() // makes /late/ reachable
}

func newTable(t *testing.T, b *ledger.Backend, dsn string) *table {
	late, listen := b.Late(t)
	g := rig.Serve(t, rig.Config{
		Store: dsn, Targets: []string{b.URL()}, Only: true,
		Upstreams: fmt.Sprintf(`
  single: {targets: [%[1]s], max_in_flight: 1}
  hasty: {targets: [%[1]s], timeout: 700ms}
  late: {targets: [http://%[2]s]}`, b.URL(), late)[1:],
		Routes: `
  - {name: orders, match: {path: /orders/**}, upstream: backend}
  - {name: small, match: {path: /small}, upstream: backend, idempotency: {max_request_body: 10B}}
  - {name: tiny, match: {path: /tiny}, upstream: backend, idempotency: {max_response_body: 16B, max_response_spill: 64B}}
  - {name: single, match: {path: /single}, upstream: single}
  - {name: hasty, match: {path: /hasty}, upstream: hasty}
  - {name: late, match: {path: /late}, upstream: late}
  - {name: raw, match: {path: /raw/**}, upstream: backend, raw_paths: true}
  - {name: undated, match: {path: /undated}, upstream: backend, idempotency: {key_date: none}}
  - {name: ulid, match: {path: /ulid}, upstream: backend, idempotency: {key_date: ulid}}`[1:],
	})
	return &table{g, b, listen}
}

// Every row of the table of answers that a request can cause by itself.
func TestAnswers(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		at := newTable(t, b, dsn)
		for name, test := range map[string]func(*testing.T, *table){
			"key": keyAnswers, "path": pathAnswers, "no route": noRouteAnswer, "too large": tooLargeAnswers,
			"key reused": keyReusedAnswers, "overloaded": overloadedAnswer, "in progress": inProgressAnswers,
			"asynchronous": asynchronousAnswers, "unreachable": unreachableAnswers, "unknown": unknownAnswers,
			"forgotten": forgottenAnswers, "key too old": keyTooOldAnswers, "deadline": deadlineAnswers,
			"statuses": statusAnswers,
		} {
			t.Run(name, func(t *testing.T) { test(t, at) })
		}
	})
}

func keyAnswers(t *testing.T, at *table) {
	at.g.Do(t, rig.Request{Body: "a"}).Is(t, refused(400, "key-missing"))
	for _, fields := range []string{
		"Idempotency-Key:",
		"Idempotency-Key: two words",
		"Idempotency-Key: a, b",
		"Idempotency-Key: a;b=c",
		`Idempotency-Key: "a";b=c`,
		`Idempotency-Key: "a", "b"`,
		`Idempotency-Key: "open`,
		`Idempotency-Key: "back\slash"`,
		`Idempotency-Key: ""`,
		`Idempotency-Key: "with space"`,
		"Idempotency-Key: .",
		"Idempotency-Key: ..",
		`Idempotency-Key: ".."`,
		"Idempotency-Key: " + strings.Repeat("x", 256),
		"Idempotency-Key: ключ",
		"Idempotency-Key: \"a\tb\"",
		"Idempotency-Key: a\r\nIdempotency-Key: a",
		"Idempotency-Key: a\r\nidempotency-key: b",
		"Idempotency-Key: a\r\n folded",
	} {
		a := at.g.Send(t, "POST", "POST /orders HTTP/1.1\r\nHost: "+rig.Host+"\r\n"+fields+"\r\nContent-Length: 1\r\n\r\na", false)
		if a.Is(t, refused(400, "key-malformed")); t.Failed() {
			t.Fatalf("for %q", fields)
		}
		if strings.Contains(a.Body, "folded") || strings.Contains(a.Body, "ключ") {
			t.Errorf("%q comes back in %s", fields, a.Body)
		}
	}
	for _, field := range []string{strings.Repeat("y", 255), `"` + strings.Repeat("z", 255) + `"`, "A-Za-z0-9-._~:+/=@" + newKey()} {
		at.g.Do(t, rig.Request{Key: field}).Is(t, executed)
	}
	for _, h := range []http.Header{
		rig.Header("Idempotency-Deadline", "tomorrow"),
		rig.Header("Idempotency-First-Sent", "1700000000"),
		rig.Header("Idempotency-Deadline", "2030-01-01T00:00:00Z", "Idempotency-Deadline", "2031-01-01T00:00:00Z"),
	} {
		key := newKey()
		at.g.Do(t, rig.Request{Key: key, Header: h}).Is(t, refused(400, "request-malformed"))
		wantUnseen(t, at.g, at.b, key)
	}
}

func pathAnswers(t *testing.T, at *table) {
	for _, path := range []string{"/orders//1", "/orders/./1", "/orders/../orders", "/orders/%2e%2E/1", "/orders/a%2fb", "/orders/a%2Fb",
		`/orders/a\b`, "/orders/a%5cb", "/orders/a%00", "/orders/..;x/1", "//orders"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			key := newKey()
			a := at.g.Send(t, method, rig.Request{Method: method, Path: path, Key: key, Body: "a"}.Raw(), false)
			if path == "//orders" && a.Status == 404 {
				continue // no route begins so
			}
			a.Is(t, refused(400, "path-ambiguous"))
			wantUnseen(t, at.g, at.b, key)
		}
	}
	// On a route that wants them raw, and on safe methods, they arrive as they were sent.
	for _, path := range []string{"/raw//1", "/raw/../x", "/raw/a%2Fb", "/raw/a%5Cb"} {
		key := newKey()
		at.g.Send(t, "POST", rig.Request{Path: path, Key: key, Body: "a"}.Raw(), false).Is(t, executed)
		if got := at.b.Of(t, ledger.Effect, key); len(got) != 1 || got[0].Target != path {
			t.Errorf("%s arrived as %+v", path, got)
		}
		a := at.g.Send(t, "GET", rig.Request{Method: "GET", Path: "/orders" + path, Key: key + "g"}.Raw(), false)
		if got := at.b.Of(t, ledger.Effect, key+"g"); a.Status != 200 || len(got) != 1 || got[0].Target != "/orders"+path {
			t.Errorf("GET %s: %d, arrived as %+v", path, a.Status, got)
		}
	}
	// Two spellings of one path are one request.
	key := newKey()
	at.g.Do(t, rig.Request{Path: "/orders/%7ejoe?q=%e4", Key: key}).Is(t, executed)
	at.g.Do(t, rig.Request{Path: "/orders/~joe?q=%E4", Key: key}).Is(t, replayed)
	if got := at.b.Of(t, ledger.Effect, key); len(got) != 1 || got[0].Target != "/orders/~joe?q=%E4" {
		t.Errorf("arrived as %+v", got)
	}
	// What is no URI at all is refused by net/http, before any handler of ours.
	key = newKey()
	if a := at.g.Do(t, rig.Request{Path: "/orders/%zz", Key: key}); a.Status != 400 {
		t.Errorf("%d", a.Status)
	}
	wantUnseen(t, at.g, at.b, key)
}

func noRouteAnswer(t *testing.T, at *table) {
	for _, method := range []string{"POST", "GET"} {
		at.g.Do(t, rig.Request{Method: method, Path: "/nowhere", Key: newKey()}).Is(t, refused(404, "no-route"))
	}
	at.g.Do(t, rig.Request{Path: "/ordersx", Key: newKey()}).Is(t, refused(404, "no-route"))
	at.g.Do(t, rig.Request{Path: "/orders", Key: newKey()}).Is(t, executed)
}

func tooLargeAnswers(t *testing.T, at *table) {
	for name, framing := range map[string]string{
		"length": "Content-Length: 11\r\n\r\n12345678901",
		"chunks": "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n6\r\n678901\r\n0\r\n\r\n",
		"unsent": "Content-Length: 999999999999\r\n\r\n",
		"expect": "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			key := newKey()
			head := "POST /small HTTP/1.1\r\nHost: " + rig.Host + "\r\nIdempotency-Key: " + key + "\r\n"
			a := at.g.Send(t, "POST", head+framing, false)
			a.Is(t, refused(413, "request-too-large"))
			if !strings.Contains(a.Problem(t).Detail, "max_request_body") || !strings.Contains(a.Problem(t).Detail, "10") {
				t.Errorf("the detail does not name the limit: %s", a.Problem(t).Detail)
			}
			wantUnseen(t, at.g, at.b, key)
			at.g.Do(t, rig.Request{Path: "/small", Key: key, Body: "1234567890"}).Is(t, executed)
		})
	}
	// Who sends all of it before he reads gets the answer, too, and not a reset.
	for _, path := range []string{"/small", "/_reconcile/v1/query"} {
		much := strings.Repeat("x", 24<<20)
		at.g.Send(t, "POST", "POST "+path+" HTTP/1.1\r\nHost: "+rig.Host+"\r\nIdempotency-Key: "+newKey()+
			"\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(much))+"\r\n\r\n"+much, false).Is(t, refused(413, "request-too-large"))
	}
	key := newKey()
	at.g.Send(t, "POST", "POST /small HTTP/1.1\r\nHost: "+rig.Host+"\r\nIdempotency-Key: "+key+
		"\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5\r\n67890\r\n0\r\n\r\n", false).Is(t, executed)
	// Chunked or not, it is the same request.
	at.g.Do(t, rig.Request{Path: "/small", Key: key, Body: "1234567890"}).Is(t, replayed)
}

func keyReusedAnswers(t *testing.T, at *table) {
	base := rig.Request{Key: newKey(), Path: "/orders/1?a=b", Body: "a", Header: rig.Header("Content-Type", "application/json")}
	at.g.Do(t, base).Is(t, executed)
	for name, change := range map[string]func(*rig.Request){
		"body":       func(r *rig.Request) { r.Body = "b" },
		"no body":    func(r *rig.Request) { r.Body = "" },
		"path":       func(r *rig.Request) { r.Path = "/orders/2?a=b" },
		"query":      func(r *rig.Request) { r.Path = "/orders/1?a=c" },
		"no query":   func(r *rig.Request) { r.Path = "/orders/1" },
		"method":     func(r *rig.Request) { r.Method = "PATCH" },
		"media type": func(r *rig.Request) { r.Header = rig.Header("Content-Type", "text/plain") },
		"encoding": func(r *rig.Request) {
			r.Header = rig.Header("Content-Type", "application/json", "Content-Encoding", "gzip")
		},
		"host": func(r *rig.Request) { r.Host = "other.test" },
	} {
		r := base
		change(&r)
		if at.g.Do(t, r).Is(t, keyReused); t.Failed() {
			t.Fatalf("another %s", name)
		}
	}
	same := base
	same.Header = rig.Header("Content-Type", "Application/JSON; charset=utf-8", "Authorization", "Bearer refreshed", "User-Agent", "another")
	same.Host = strings.ToUpper(rig.Host)
	at.g.Do(t, same).Is(t, replayed)
	wantEffects(t, at.b, base.Key, 1)

	// A running operation and one in doubt are not told apart from a settled one.
	running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := at.g.Go(t, running)
	at.b.Await(t, running.Script.After, 1)
	at.g.Do(t, rig.Request{Key: running.Key, Body: "b"}).Is(t, keyReused)
	at.b.Open(t, running.Script.After)
	<-answer
	unknown := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}
	at.g.Do(t, unknown).Is(t, doubted)
	at.g.Do(t, rig.Request{Key: unknown.Key, Body: "b"}).Is(t, keyReused)
	wantEffects(t, at.b, unknown.Key, 1)
	// So is one that was not executed: only the same request may be the next attempt.
	refusedOnce := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	at.g.Do(t, refusedOnce).Is(t, rig.Want{Status: 429, State: "not_executed", Next: "resend"})
	at.g.Do(t, rig.Request{Key: refusedOnce.Key, Body: "b"}).Is(t, keyReused)
}

func overloadedAnswer(t *testing.T, at *table) {
	settled := rig.Request{Path: "/single", Key: newKey(), Body: "a"}
	at.g.Do(t, settled).Is(t, executed)
	held := rig.Request{Path: "/single", Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := at.g.Go(t, held)
	at.b.Await(t, held.Script.After, 1)
	key := newKey()
	at.g.Do(t, rig.Request{Path: "/single", Key: key, Body: "a"}).Is(t, overloaded)
	// Nothing new may start; what is settled is answered, and what runs can be waited for.
	at.g.Do(t, settled).Is(t, replayed)
	at.g.Do(t, rig.Request{Path: "/single", Key: held.Key, Body: "a", Header: rig.Header("Prefer", "wait=0")}).Is(t, inProgress)
	at.b.Open(t, held.Script.After)
	(<-answer).Is(t, executed)
	wantUnseen(t, at.g, at.b, key)
	at.g.Do(t, rig.Request{Path: "/single", Key: key, Body: "a"}).Is(t, executed)
}

func inProgressAnswers(t *testing.T, at *table) {
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := at.g.Go(t, r)
	at.b.Await(t, r.Script.After, 1)
	for _, prefer := range []string{"wait=0", `wait="0"`, "WAIT = 0", "handling=lenient, wait=0, wait=20", "wait=1"} {
		duplicate := r
		duplicate.Header = rig.Header("Prefer", prefer)
		at.g.Do(t, duplicate).Is(t, inProgress)
	}
	async := r
	async.Header = rig.Header("Prefer", "respond-async")
	at.g.Do(t, async).Is(t, rig.Want{Status: 202, State: "executing", Next: "wait"})
	at.b.Open(t, r.Script.After)
	(<-answer).Is(t, executed)
	wantEffects(t, at.b, r.Key, 1)
}

func asynchronousAnswers(t *testing.T, at *table) {
	r := rig.Request{Key: newKey(), Body: "a", Header: rig.Header("Prefer", "respond-async"), Script: ledger.Script{Status: 201, After: newKey()}}
	a := at.g.Do(t, r)
	a.Is(t, rig.Want{Status: 202, State: "executing", Next: "wait"})
	if a.Header.Get("Location") != recordPath(r.Key) || a.Header.Get("Preference-Applied") != "respond-async" ||
		a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v", a.Header)
	}
	if rec := a.Record(t); rec.Key != r.Key || rec.State != "executing" || rec.Next != "wait" || rec.Attempts != 1 {
		t.Errorf("the 202 shows %+v", rec)
	}
	at.b.Await(t, r.Script.After, 1)
	at.b.Open(t, r.Script.After)
	wantState(t, at.g, r.Key, "completed", 1)
	at.g.Do(t, r).Is(t, with(replayed, 201)) // settled: answered, never 202
	wantEffects(t, at.b, r.Key, 1)

	quick := rig.Request{Key: newKey(), Body: "a", Header: rig.Header("Prefer", "respond-async, wait=20")}
	at.g.Do(t, quick).Is(t, executed)
}

func unreachableAnswers(t *testing.T, at *table) {
	r := rig.Request{Path: "/late", Key: newKey(), Body: "a"}
	at.g.Do(t, r).Is(t, notReached)
	wantState(t, at.g, r.Key, "not_executed", 1)
	at.g.Do(t, r).Is(t, notReached)
	at.late()
	at.g.Do(t, r).Is(t, executed)
	wantEffects(t, at.b, r.Key, 1)
	if got := only(t, at.b, ledger.Effect, r.Key).Attempt; got != "3" {
		t.Errorf("the backend saw attempt %s, want 3", got)
	}
	wantState(t, at.g, r.Key, "completed", 3)
}

func unknownAnswers(t *testing.T, at *table) {
	broken := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}
	at.g.Do(t, broken).Is(t, doubted)
	at.g.Do(t, broken).Is(t, stillUnknown)
	late, a := inTime(t, at.g, at.b, func() rig.Request {
		return rig.Request{Path: "/hasty", Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Hang}}
	})
	a.Is(t, timedOut)
	at.g.Do(t, late).Is(t, stillUnknown)
	for _, r := range []rig.Request{broken, late} {
		at.g.Until(t, "it is executed", func() bool { return at.b.Effects(t, r.Key) > 0 })
		wantEffects(t, at.b, r.Key, 1)
		rec := wantState(t, at.g, r.Key, "unknown", 1)
		if rec.Next != "reconcile" || rec.Response != nil || rec.Times.Settled == nil {
			t.Errorf("record %+v", rec)
		}
	}
}

func forgottenAnswers(t *testing.T, at *table) {
	const body = "twenty-six characters, yes"
	r := rig.Request{Path: "/tiny", Key: newKey(), Script: ledger.Script{Status: 201, Body: ledger.Text(body), Header: map[string][]string{"X-Order": {"17"}}}}
	first := at.g.Do(t, r)
	first.Is(t, with(executed, 201))
	if first.Body != body || first.Header.Get("X-Order") != "17" {
		t.Errorf("the first caller got %q", first.Body)
	}
	for range 2 {
		again := at.g.Do(t, r)
		again.Is(t, isForgotten)
		known := again.Problem(t).Response
		if known == nil || known.Status != 201 || known.Length == nil || *known.Length != int64(len(body)) || known.Digest != digest(body) {
			t.Errorf("what is known of the answer: %+v", known)
		}
	}
	wantState(t, at.g, r.Key, "forgotten", 1)
	at.g.Get(t, recordPath(r.Key)+"/response").Is(t, isForgotten)
	wantEffects(t, at.b, r.Key, 1)

	for _, chunked := range []bool{false, true} {
		over := rig.Request{Path: "/tiny", Key: newKey(), Script: ledger.Script{Body: ledger.Text(strings.Repeat("x", 65)), Chunked: chunked}}
		at.g.Do(t, over).Is(t, doubted)
		at.g.Do(t, over).Is(t, stillUnknown)
		wantEffects(t, at.b, over.Key, 1)
	}
	for length, want := range map[int]string{16: "replayed", 17: "forgotten", 64: "forgotten"} {
		edge := rig.Request{Path: "/tiny", Key: newKey(), Script: ledger.Script{Body: ledger.Text(strings.Repeat("x", length)), Chunked: true}}
		at.g.Do(t, edge).Is(t, executed)
		if got := at.g.Do(t, edge).Header.Get("Idempotency-State"); got != want {
			t.Errorf("%d bytes: %s, want %s", length, got, want)
		}
	}
}

func statusAnswers(t *testing.T, at *table) {
	for _, status := range []int{200, 201, 202, 204, 205, 301, 302, 307, 308, 400, 403, 404, 409, 410, 418, 422, 500, 501, 505, 599} {
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: status, Header: map[string][]string{"Location": {"/orders/1"}}}}
		first := at.g.Do(t, r)
		first.Is(t, with(executed, status))
		again := at.g.Do(t, r)
		again.Is(t, with(replayed, status))
		if first.Bytes() != again.Bytes() {
			t.Errorf("%d: replayed as %s", status, again.Bytes())
		}
		wantEffects(t, at.b, r.Key, 1)
	}
	for _, status := range []int{401, 421, 425, 429} {
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: status, NoEffect: true, Body: ledger.Text("not now"),
			Header: map[string][]string{"Set-Cookie": {"a=b"}, "Www-Authenticate": {"Basic"}, "X-Why": {"x"}}}}
		a := at.g.Do(t, r)
		a.Is(t, rig.Want{Status: status, State: "not_executed", Next: "resend"})
		if a.Body != "not now" || a.Header.Get("Set-Cookie") != "a=b" || a.Header.Get("Www-Authenticate") != "Basic" || a.Header.Get("X-Why") != "x" {
			t.Errorf("%d did not pass through unchanged: %v %q", status, a.Header, a.Body)
		}
		wantState(t, at.g, r.Key, "not_executed", 1)
		r.Script = ledger.Script{}
		at.g.Do(t, r).Is(t, executed)
		if e := at.b.Of(t, ledger.Effect, r.Key); len(e) != 1 || e[0].Attempt != "2" {
			t.Errorf("%d: %d effects", status, len(e))
		}
	}
	for _, status := range []int{502, 503, 504} {
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: status, Body: ledger.Text("hm"), Header: map[string][]string{"Retry-After": {"77"}}}}
		a := at.g.Do(t, r)
		a.Is(t, rig.Want{Status: status, State: "unknown", Next: "reconcile"})
		if a.Body != "hm" || a.Header.Get("Retry-After") != "77" {
			t.Errorf("%d did not pass through unchanged: %v %q", status, a.Header, a.Body)
		}
		at.g.Do(t, r).Is(t, stillUnknown)
		wantEffects(t, at.b, r.Key, 1)
	}
}

// The page of every problem that the table knows is served by the gateway itself.
func TestEveryProblemHasItsPage(t *testing.T) {
	t.Parallel()
	g := rig.Serve(t, rig.Config{Targets: []string{"http://127.0.0.1:9"}})
	for slug := range strings.FieldsSeq(`key-missing key-malformed path-ambiguous request-malformed unauthenticated forbidden no-route
		request-too-large key-reused rate-limited overloaded store-unavailable in-progress backend-unreachable outcome-unknown cancelled
		response-forgotten key-too-old deadline-passed record-damaged internal unseen not-settled too-late too-many-keys cursor-expired
		range-not-satisfiable precondition-failed`) {
		a := g.Get(t, "/.well-known/idempotency/problems/"+slug)
		if a.Status != 200 || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") || !strings.Contains(a.Body, slug) || !strings.Contains(a.Body, "What to do") || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", slug, a.Status, a.Header.Get("Content-Type"))
		}
	}
	if a := g.Get(t, "/.well-known/idempotency/problems/nothing"); a.Status != 404 {
		t.Errorf("a page for nothing: %d", a.Status)
	}
}
