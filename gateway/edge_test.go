package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A body of undeclared length reserves the limit only while it is read.
func TestChunkedBodyReservesWhatItTakes(t *testing.T) {
	inside, leave := make(chan struct{}), make(chan struct{})
	r := start(t, func(w http.ResponseWriter, req *http.Request) {
		close(inside)
		<-leave
		created(w, req)
	}, "")
	answered := make(chan *answer, 1)
	go func() {
		answered <- r.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", time.Minute)
	}()
	<-inside
	var slots, bytes int
	if _, err := fmt.Sscanf(r.InUse(), "%d slots, %d bytes", &slots, &bytes); err != nil || slots != 1 || bytes > 4096 {
		t.Errorf("in use: %s", r.InUse())
	}
	close(leave)
	if a := <-answered; a == nil {
		t.Error("no answer")
	} else {
		a.is(t, 201, "executed", "done")
	}
	if r.InUse() != "0 slots, 0 bytes" {
		t.Errorf("still in use: %s", r.InUse())
	}
}

// What is matched is what is forwarded, to the last question mark.
func TestPassedTarget(t *testing.T) {
	r := startWith(t, func(w http.ResponseWriter, req *http.Request) { fmt.Fprint(w, req.RequestURI) }, "caller: {none: {}}\n"+
		"upstreams: {b: {targets: ['BACKEND']}}\nroutes:\n- {name: off, match: {path: /off/**}, upstream: b, idempotency: {mode: 'off'}}\n"+
		"- {name: optional, match: {path: /optional/**}, upstream: b, idempotency: {mode: optional}}\n- {name: all, match: {path: /**}, upstream: b}\n")
	for _, line := range []string{"PUT /a?b;c=100%", "DELETE /a?%zz", "POST /off/a?100%", "POST /optional/a?100%"} {
		method, target, _ := strings.Cut(line, " ")
		if a := r.send(t, method, target, ""); a.StatusCode != 200 || a.body != target {
			t.Errorf("%s arrived as %d %s", line, a.StatusCode, a.body)
		}
	}
	for _, target := range []string{"/a?100%", "/optional/a?%zz"} {
		a := r.send(t, "POST", target, "", "Idempotency-Key", "k")
		if a.is(t, 400, "rejected", "stop"); !strings.Contains(a.body, "request-malformed") {
			t.Errorf("%s: %s", target, a.body)
		}
	}
	for _, target := range []string{"/a?", "/a", "/a?b;c=%zz", "//a/../b%2Fc", "/a%2541"} {
		if a := r.raw(t, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n", time.Minute); a == nil || a.body != target {
			t.Errorf("%s arrived as %v", target, a)
		}
	}
}

// Our own addresses are ours in every spelling, and a key in a path is decoded once.
func TestOwnAddresses(t *testing.T) {
	r := start(t, created, "")
	r.send(t, "POST", "/", "x", "Idempotency-Key", `"a%41/b"`).is(t, 201, "executed", "done")
	for path, status := range map[string]int{
		"/_reconcile/v1/requests/a%2541%2Fb":                      200,
		"/%5freconcile/v1/%72equests/%61%2541%2fb":                200,
		"http://a/_reconcile/v1/requests/a%2541%2Fb":              200,
		"/_reconcile/v1/requests/a%2541%2Fb/response":             200,
		"/_reconcile/v1/requests/a%41%2Fb":                        404, // another key
		"/_reconcile/v1/requests/a%2541/b":                        404,
		"/_reconcile/v1/nothing":                                  404,
		"/_reconcile/v1/requests?state=unknown;limit=1":           400, // it would be answered without the filter,
		"/_reconcile/v1/requests?since=%":                         400, // and from the start
		"/.well-known/idempotency":                                200,
		"/.well-known/%69dempotency/problems/request%2Dtoo-large": 200,
	} {
		a := r.raw(t, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", time.Minute)
		if a == nil || a.StatusCode != status {
			t.Errorf("%s: %v, want %d", path, a, status)
		}
	}
}

// A gateway that leaves asks its clients to use another connection, and still answers.
func TestLeave(t *testing.T) {
	r := start(t, created, "")
	r.Leave()
	for _, request := range []string{
		"POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 1\r\n\r\nx",
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET /.well-known/idempotency HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		if a := r.raw(t, request, time.Minute); a == nil || !a.Close || a.StatusCode >= 300 {
			t.Errorf("%q: %v", request, a)
		}
	}
}
