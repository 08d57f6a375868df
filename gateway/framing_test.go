package gateway_test

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
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
			status := f.answered(t)
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

// A request over HTTP/2 says what one over HTTP/1.1 can say, or is refused: nobody could send it to a backend, and who
// is told to send it again would do so for ever.
func TestHeadsOfHTTP2(t *testing.T) {
	for name, c := range map[string]struct {
		method, authority, path string
		sent                    string // to the backend
	}{
		"right":             {"POST", "a", "/", "POST a /"},
		"no authority":      {"POST", "", "/", "POST BACKEND /"},
		"method of its own": {"search", "[::1]:80", "/?q", "search [::1]:80 /?q"},
		"absolute URI":      {"POST", "a", "http://b/", ""},
		"query alone":       {"POST", "a", "?q", ""},
		"ours, by its URI":  {"GET", "a", "http://b/.well-known/idempotency", ""},
		"all, by its URI":   {"OPTIONS", "a", "http://b", ""},
		"space in the host": {"POST", "a b", "/", ""},
		"path in the host":  {"POST", "a/b", "/", ""},
		"not protected":     {"GET", "a b", "/", ""},
		"no method":         {"PO ST", "a", "/", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := make(chan string, 1)
			backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				sent <- r.Method + " " + r.Host + " " + r.RequestURI
				created(w, r)
			}))
			defer backend.Close()
			f := startAt(t, backend.URL, allRequired).dialHTTP2(t)
			f.say(1, true, hpack.HeaderField{Name: ":method", Value: c.method}, hpack.HeaderField{Name: ":scheme", Value: "http"},
				hpack.HeaderField{Name: ":path", Value: c.path}, hpack.HeaderField{Name: ":authority", Value: c.authority},
				hpack.HeaderField{Name: "idempotency-key", Value: rand.Text()})
			status := f.answered(t)
			want := strings.Replace(c.sent, "BACKEND", backend.Listener.Addr().String(), 1)
			if want == "" && status != "400" && status != "" || want != "" && status != "201" { // net/http may have reset the stream
				t.Errorf("answered %q", status)
			}
			select {
			case got := <-sent:
				if got != want {
					t.Errorf("the backend got %q", got)
				}
			default:
				if want != "" {
					t.Error("the backend got nothing")
				}
			}
		})
	}
}

// Nor is an unprotected one passed on without what it says that it has not.
func TestNothingThatIsSomething(t *testing.T) {
	for name, c := range map[string]struct {
		end     bool // by an empty frame
		content string
		sent    bool
	}{
		"nothing": {true, "", true},
		"content": {true, "hello", false},
		"no end":  {false, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sent := make(chan struct{}, 1)
			f := startWith(t, func(w http.ResponseWriter, r *http.Request) {
				sent <- struct{}{}
				created(w, r)
			}, strings.Replace(allRequired, "targets:", "timeout: 1s, targets:", 1)).dialHTTP2(t)
			f.ask(1, false, "PUT", hpack.HeaderField{Name: "content-length", Value: "0"})
			if c.end {
				f.WriteData(1, true, []byte(c.content))
			}
			status := f.answered(t)
			if c.sent && status != "201" || !c.sent && status != "400" && (status != "" || c.content == "") { // or net/http has reset the stream
				t.Errorf("answered %q", status)
			}
			if n := len(sent); c.sent != (n > 0) {
				t.Errorf("passed on %d times", n)
			}
		})
	}
}

// A request without content that announces trailers ends, also where it goes on over HTTP/2.
func TestTrailersAnnouncedForNothing(t *testing.T) {
	for name, ask := range map[string]func(*framed, hpack.HeaderField){
		"no content": func(f *framed, trailer hpack.HeaderField) { f.ask(1, true, "GET", trailer) },
		"no length": func(f *framed, trailer hpack.HeaderField) {
			f.ask(1, false, "PUT", trailer, hpack.HeaderField{Name: "content-length", Value: "0"})
			f.say(1, true, hpack.HeaderField{Name: "x-sum", Value: "1"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			backend := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body) // to its end
				created(w, r)
			}))
			backend.Config.Protocols = new(http.Protocols)
			backend.Config.Protocols.SetUnencryptedHTTP2(true)
			backend.Start()
			defer backend.Close()
			f := startAt(t, "h2c://"+backend.Listener.Addr().String(), strings.Replace(allRequired, "targets:", "timeout: 1s, targets:", 1)).dialHTTP2(t)
			ask(f, hpack.HeaderField{Name: "trailer", Value: "x-sum"})
			if status := f.answered(t); status != "201" {
				t.Errorf("answered %q", status)
			}
		})
	}
}
