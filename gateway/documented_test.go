package gateway_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/gateway/decorate"
	"github.com/onceway/onceway/internal/openapitest"
)

// Answers are held against the document in every test. Here the document is wrong, and that is noticed.
func TestWrongDocumentIsNoticed(t *testing.T) {
	r := start(t, created, "")
	r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 201, "executed", "done")
	found, unseen := r.send(t, "GET", "/_reconcile/v1/requests/k", ""), r.send(t, "GET", "/_reconcile/v1/requests/l", "")
	for name, change := range map[string]struct {
		from, to string
		answer   answer
	}{
		"another type":      {"revision: {type: integer,", "revision: {type: string,", found},
		"a member more":     {"next, revision, attempts,", "next, revision, attempts, owner,", found},
		"a member less":     {"        attempts: {type: integer, minimum: 0}\n", "", found},
		"a state less":      {"executing, completed,", "executing,", found},
		"another header":    {"Idempotency-Expires: {$ref:", "Idempotency-Ends: {$ref:", found},
		"another problem":   {"code, title, status,", "code, title, status, instance,", unseen},
		"no problem":        {"default: {$ref: '#/components/responses/Problem'}", "'400': {$ref: '#/components/responses/Problem'}", unseen},
		"another next":      {"enum: [done, wait, resend,", "enum: [done, wait, again,", unseen},
		"another delay":     {"schema: {type: integer, minimum: 0}\n    Status:", "schema: {type: integer, minimum: 1}\n    Status:", unseen},
		"another caching":   {"enum: [no-store]", "enum: [no-cache]", unseen},
		"another mediatype": {"application/problem+json:", "application/json:", unseen},
	} {
		doc, err := openapitest.LoadAltered("../openapi/reconciliation.yaml", change.from, change.to)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		a := openapitest.Answer{Method: "GET", Path: "/_reconcile/v1/requests/k", Status: change.answer.StatusCode, Header: change.answer.Header, Body: []byte(change.answer.body)}
		if doc.Check(a) == nil {
			t.Errorf("%s: nothing was noticed", name)
		}
	}
}

// What generated code refuses by itself is a problem, and it does not refuse what HTTP allows.
func TestGeneratedServerAnswersAsWeDo(t *testing.T) {
	r := start(t, created, "")
	r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 201, "executed", "done")
	const path = "/_reconcile/v1/requests/k"
	for _, wait := range []string{"soon", "-1", "1.5", "99999999999999999999", "3000000000"} {
		a := r.send(t, "GET", path+"?wait="+wait, "")
		a.is(t, 400, "rejected", "stop")
		if !strings.Contains(a.body, "The parameter wait is a whole number of seconds from 0 to 2147483647; what is above 30 counts as 30.") {
			t.Errorf("%s: %s", wait, a.body)
		}
	}
	found := r.send(t, "GET", path+"?wait=31", "") // more than there is, but nothing to wait for
	found.is(t, 200, "completed", "done")
	tag := found.Header.Get("ETag")
	r.send(t, "GET", path, "", "If-None-Match", `"other"`, "If-None-Match", `W/`+tag).is(t, 304, "completed", "done")
	r.send(t, "GET", path+"/response", "", "Range", "bytes=0-1", "Range", "bytes=0-0").is(t, 206, "completed", "done")
	head := r.send(t, "HEAD", path, "")
	head.is(t, 200, "completed", "done")
	if head.body != "" || head.ContentLength != int64(len(found.body)) {
		t.Errorf("HEAD: %d bytes of %d: %q", head.ContentLength, len(found.body), head.body)
	}
	for address, methods := range map[string][]string{
		path: {"GET", "HEAD"}, path + "/response": {"GET", "HEAD"}, path + "/cancellation": {"PUT"}, path + "/acknowledgement": {"PUT"},
		"/_reconcile/v1/query": {"POST"}, "/.well-known/idempotency": {"GET", "HEAD"},
	} {
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE"} {
			a := r.send(t, method, address, "")
			if known := slices.Contains(methods, method); known == (a.StatusCode == http.StatusMethodNotAllowed) ||
				!known && a.Header.Get("Allow") != strings.Join(methods, ", ") {
				t.Errorf("%s %s: %d, Allow: %s", method, address, a.StatusCode, a.Header.Get("Allow"))
			}
		}
	}
	for _, body := range []string{"", "{", `{"keys":["a"],"keys":["b"]}`, `{"KEYS":["a"]}`} {
		r.send(t, "POST", "/_reconcile/v1/query", body, "Content-Type", "application/json").is(t, 400, "rejected", "stop")
	}
	r.send(t, "GET", "/_reconcile/v1/requests", "").is(t, 200, "forgotten", "done")
}

func TestBasePathIsNotThatOfTheDocument(t *testing.T) {
	r := startWith(t, created, "caller: {none: {}}\nreconcile: {base_path: /mine}\nupstreams: {b: {targets: ['BACKEND']}}\nroutes: [{name: all, match: {path: '/**'}, upstream: b}]\n")
	r.send(t, "GET", "/mine/requests/k", "").is(t, 404, "unseen", "resend")
	r.send(t, "POST", "/mine/query", `{"keys":["k"]}`, "Content-Type", "application/json").is(t, 200, "unseen", "resend")
	if a := r.raw(t, "GET /_reconcile/v1/requests/k HTTP/1.1\r\nHost: a\r\n\r\n", time.Minute); a == nil || a.StatusCode != http.StatusCreated {
		t.Errorf("%v: the backend did not get it", a)
	}
}

// What decorate adds to a backend's document is what protected requests are answered with.
func TestAnswersAreAsADecoratedDocumentSays(t *testing.T) {
	release := make(chan struct{})
	r := start(t, func(w http.ResponseWriter, req *http.Request) {
		switch req.Header.Get("Then") {
		case "wait":
			<-release
		case "refuse":
			http.Error(w, "later", http.StatusTooManyRequests)
			return
		case "close":
			panic(http.ErrAbortHandler)
		}
		created(w, req)
	}, ", max_request_body: 4KiB")
	const backend = "openapi: 3.1.0\ninfo: {title: B, version: '1'}\npaths:\n  /:\n    post: {responses: {'201': {description: Made., content: {'*/*': {}}}, '429': {description: Throttled., content: {'text/plain': {}}}}}\n"
	decorated, err := decorate.Decorate([]byte(backend), r.config)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapitest.Parse(decorated.Document)
	if err != nil {
		t.Fatal(err)
	}
	send := func(body string, header ...string) answer {
		t.Helper()
		a := r.send(t, "POST", "/", body, header...)
		if err := doc.Check(openapitest.Answer{Method: "POST", Path: "/", Status: a.StatusCode, Header: a.Header, Body: []byte(a.body)}); err != nil {
			t.Errorf("%v: not as documented: %v", header, err)
		}
		return a
	}
	key := func(k string) []string { return []string{"Idempotency-Key", k} }
	send("x", key("a")...).is(t, 201, "executed", "done")
	send("x", key("a")...).is(t, 201, "replayed", "done")
	send("y", key("a")...).is(t, 422, "rejected", "stop")
	send("x").is(t, 400, "rejected", "stop")
	send("x", key("a b")...).is(t, 400, "rejected", "stop")
	send(strings.Repeat("x", 5000), key("b")...).is(t, 413, "rejected", "stop")
	send("x", append(key("b"), "Idempotency-Deadline", "2001-01-01T00:00:00Z")...).is(t, 412, "rejected", "stop")
	send("x", append(key("b"), "Then", "refuse")...).is(t, 429, "not_executed", "resend")
	send("x", append(key("c"), "Then", "close")...).is(t, 502, "unknown", "reconcile")
	send("x", key("c")...).is(t, 409, "unknown", "reconcile")
	r.send(t, "PUT", "/_reconcile/v1/requests/d/cancellation", "").is(t, 201, "cancelled", "stop")
	send("x", key("d")...).is(t, 409, "cancelled", "stop")
	r.send(t, "PUT", "/_reconcile/v1/requests/a/acknowledgement", "").is(t, 204, "forgotten", "done")
	send("x", key("a")...).is(t, 410, "forgotten", "done")
	send("x", append(key("e"), "Then", "wait", "Prefer", "respond-async")...).is(t, 202, "executing", "wait")
	send("x", append(key("e"), "Then", "wait", "Prefer", "wait=0")...).is(t, 409, "executing", "wait")
	close(release)
	r.store.down.Store(true)
	send("x", key("f")...).is(t, 503, "rejected", "resend")
}
