package gateway_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
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

// A request over HTTP/2 whose Content-Length is not that of its content is not executed without it.
func TestLengthsOfHTTP2(t *testing.T) {
	for name, c := range map[string]struct {
		lengths []string
		end     bool   // with the head
		content string // ends what did not end
		sent    string // to the backend
		more    string // ends it instead; "-" is no end
	}{
		"right":           {[]string{"5"}, false, "hello", "5 hello", ""},
		"nothing":         {[]string{"0"}, true, "", "0 ", ""},
		"none":            {nil, true, "", "0 ", ""},
		"no number":       {[]string{"five"}, false, "hello", "", ""},
		"empty":           {[]string{""}, false, "hello", "", ""},
		"signed":          {[]string{"+5"}, false, "hello", "", ""},
		"several":         {[]string{"5", "7"}, false, "hello", "", ""},
		"without content": {[]string{"5"}, true, "", "", ""},
		"with content":    {[]string{"0"}, false, "hello", "", ""},
		"without an end":  {[]string{"0"}, false, "", "", ""},
		"more":            {[]string{"5"}, false, "hello", "", "world"},
		"whole, no end":   {[]string{"5"}, false, "hello", "", "-"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := make(chan string, 1)
			f := startWith(t, func(w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				sent <- fmt.Sprint(r.ContentLength, " ", string(b))
				created(w, r)
			}, strings.Replace(allRequired, "targets:", "timeout: 1s, targets:", 1)).dialHTTP2(t)
			fields := []hpack.HeaderField{{Name: "idempotency-key", Value: rand.Text()}}
			for _, length := range c.lengths {
				fields = append(fields, hpack.HeaderField{Name: "content-length", Value: length})
			}
			f.ask(1, c.end, "POST", fields...)
			if c.content != "" {
				f.WriteData(1, c.more == "", []byte(c.content))
			}
			if c.more != "" && c.more != "-" {
				f.WriteData(1, true, []byte(c.more))
			}
			f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
			var status string
			for over := false; !over; {
				got, err := f.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				switch got := got.(type) {
				case *http2.MetaHeadersFrame:
					status, over = got.PseudoValue("status"), true
				case *http2.RSTStreamFrame:
					over = true
				}
			}
			if (status == "201") != (c.sent != "") || status == "" && (c.content == "" || c.more == "-") { // net/http may have reset the stream
				t.Errorf("answered %q", status)
			}
			select {
			case got := <-sent:
				if got != c.sent {
					t.Errorf("executed with %q", got)
				}
			default:
				if c.sent != "" {
					t.Error("not executed")
				}
			}
		})
	}
}
