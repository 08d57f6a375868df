package gateway_test

import (
	"bufio"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// Over HTTP/1.0 there is no Transfer-Encoding, and net/http does not say that there was one: what it takes for the next
// request may be the content of this one. So there is no next one (RFC 9112, section 6.1).
func TestNothingFollowsARequestOfHTTP10(t *testing.T) {
	var mu sync.Mutex
	var arrived []string
	r := startWith(t, func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		mu.Lock()
		defer mu.Unlock()
		arrived = append(arrived, req.Method+" "+req.RequestURI+" "+string(b))
		created(w, req)
	}, "caller: {none: {}}\nupstreams: {b: {targets: ['BACKEND']}}\nroutes:\n"+
		"- {name: off, match: {path: /off}, upstream: b, idempotency: {mode: 'off'}}\n- {name: all, match: {path: /**}, upstream: b}\n")
	const chunked = "Transfer-Encoding: chunked\r\n"
	for name, c := range map[string]struct {
		line, fields, body string
		status             int
		forwarded          []string
	}{
		"protected, chunked":    {"POST /a", chunked, "", 400, nil},
		"protected, no length":  {"POST /a", "", "", 400, nil},
		"protected, length":     {"POST /a", "Content-Length: 1\r\n", "x", 201, []string{"POST /a x"}},
		"protected, no content": {"POST /a", "Content-Length: 0\r\n", "", 201, []string{"POST /a "}},
		"protected, both":       {"POST /a", "Content-Length: 1\r\n" + chunked, "x", 201, []string{"POST /a x"}},
		"off":                   {"POST /off", chunked, "", 201, []string{"POST /off "}},
		"not protected":         {"PUT /a", chunked, "", 201, []string{"PUT /a "}},
		"safe":                  {"GET /a", chunked, "", 201, []string{"GET /a "}},
		"without content":       {"HEAD /a", chunked, "", 201, []string{"HEAD /a "}},
		"ours":                  {"PUT /_reconcile/v1/requests/other/cancellation", chunked, "", 201, nil},
		"server":                {"OPTIONS *", chunked, "", 200, nil},
		"server, by its URI":    {"OPTIONS http://a", chunked, "", 200, nil},
		"ours, facts":           {"GET /.well-known/idempotency", chunked, "", 200, nil},
	} {
		t.Run(name, func(t *testing.T) {
			mu.Lock()
			arrived = nil
			mu.Unlock()
			conn, err := net.Dial("tcp", r.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.WriteString(conn, c.line+" HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nIdempotency-Key: "+rand.Text()+"\r\n"+
				c.fields+"\r\n"+c.body+"GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			method := c.line[:4]
			from := bufio.NewReader(conn)
			resp, err := http.ReadResponse(from, &http.Request{Method: map[bool]string{true: "HEAD", false: "GET"}[method == "HEAD"]})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != c.status {
				t.Errorf("%d, %v", resp.StatusCode, err)
			}
			if rest, err := io.ReadAll(from); len(rest) > 0 {
				t.Errorf("then %q, %v", rest, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(arrived, c.forwarded) {
				t.Errorf("the backend got %q", arrived)
			}
		})
	}
}
