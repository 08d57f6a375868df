package rig

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
)

// Host is the authority of every request that names no other: the fingerprint covers it, and ports change
// from start to start.
const Host = "shop.test"

// Request is one request of a client. Zero fields are POST, /orders, Host, no key and no body.
type Request struct {
	Method string
	Path   string // and query, as it goes on the wire
	Host   string
	Key    string // as it goes on the wire
	Header http.Header
	Body   string
	Script ledger.Script
}

// Answer is a whole answer.
type Answer struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    string
	Proto   string
}

// clients never send again by themselves: each request has a connection of its own.
var clients = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true, Proxy: nil},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       patience,
}

// HTTP makes the request for a gateway, for clients of one's own.
func (r Request) HTTP(t testing.TB, addr string) *http.Request {
	req, err := http.NewRequest(or(r.Method, http.MethodPost), "http://"+addr, nil)
	if err != nil {
		panic(err)
	}
	req = req.WithContext(t.Context())
	req.Host = or(r.Host, Host)
	req.URL.Opaque = or(r.Path, "/orders")
	if r.Body != "" {
		req.Body, req.ContentLength = io.NopCloser(strings.NewReader(r.Body)), int64(len(r.Body))
	}
	for name, values := range r.Header {
		req.Header[name] = values // in the spelling of the test
	}
	if r.Key != "" {
		req.Header["Idempotency-Key"] = []string{r.Key}
	}
	if s := r.Script.String(); s != "{}" {
		req.Header[ledger.Field] = []string{s}
	}
	return req
}

// Raw is the request as HTTP/1.1 bytes.
func (r Request) Raw() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", or(r.Method, http.MethodPost), or(r.Path, "/orders"), or(r.Host, Host))
	if r.Key != "" {
		fmt.Fprintf(&b, "Idempotency-Key: %s\r\n", r.Key)
	}
	if s := r.Script.String(); s != "{}" {
		fmt.Fprintf(&b, "%s: %s\r\n", ledger.Field, s)
	}
	for name, values := range r.Header {
		for _, v := range values {
			fmt.Fprintf(&b, "%s: %s\r\n", name, v)
		}
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
	return b.String()
}

// Try sends a request and reads the whole answer.
func (g *Gateway) Try(t testing.TB, r Request) (*Answer, error) {
	resp, err := clients.Do(r.HTTP(t, g.Addr))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	a := &Answer{resp.StatusCode, resp.Header, resp.Trailer, string(body), resp.Proto}
	a.documented(t, reconciliation, or(r.Method, http.MethodPost), r.Path)
	return a, nil
}

// Do is Try where everything else is a failure. It may be called from any goroutine, and then returns
// an empty answer after a failure.
func (g *Gateway) Do(t testing.TB, r Request) *Answer {
	t.Helper()
	a, err := g.Try(t, r)
	if err != nil {
		t.Errorf("%s %s: %v", or(r.Method, "POST"), or(r.Path, "/orders"), err)
		return &Answer{Header: http.Header{}}
	}
	return a
}

// Go sends a request in the background. The answer is nil if there was none.
func (g *Gateway) Go(t testing.TB, r Request) <-chan *Answer {
	done := make(chan *Answer, 1)
	go func() {
		a, _ := g.Try(t, r)
		done <- a
	}()
	return done
}

// Get reads one of the gateway's own addresses.
func (g *Gateway) Get(t testing.TB, path string, header ...string) *Answer {
	t.Helper()
	return g.Do(t, Request{Method: http.MethodGet, Path: path, Header: Header(header...)})
}

// AdminGet reads an address of the admin listener.
func (g *Gateway) AdminGet(t testing.TB, path string) *Answer {
	t.Helper()
	resp, err := operators.Get("http://" + g.Admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return &Answer{resp.StatusCode, resp.Header, nil, string(body), resp.Proto}
}

// Header makes a header of pairs of name and value.
func Header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i+1 < len(pairs); i += 2 {
		h[pairs[i]] = append(h[pairs[i]], pairs[i+1])
	}
	return h
}

// Dial connects to the gateway. The connection ends with the test.
func (g *Gateway) Dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", g.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// Send writes bytes to a new connection, and reads the one answer to a request of that method. With
// half, the client's side is closed after the bytes.
func (g *Gateway) Send(t testing.TB, method, bytes string, half bool) *Answer {
	t.Helper()
	c := g.Dial(t)
	defer c.Close()
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Error(err)
	}
	if half {
		c.CloseWrite()
	}
	a := ReadAnswer(t, c, method)
	if line, _, _ := strings.Cut(bytes, "\r\n"); strings.Count(line, " ") == 2 {
		a.documented(t, reconciliation, method, strings.Fields(line)[1])
	}
	return a
}

// ReadAnswer reads a whole answer off a connection, past interim ones.
func ReadAnswer(t testing.TB, c io.Reader, method string) *Answer {
	t.Helper()
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
		resp, err = http.ReadResponse(r, &http.Request{Method: method})
	}
	if err != nil {
		t.Errorf("no answer: %v", err)
		return &Answer{Header: http.Header{}}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("the answer is not whole: %v", err)
	}
	return &Answer{resp.StatusCode, resp.Header, resp.Trailer, string(body), resp.Proto}
}

// Bytes is an answer as far as every copy of it must be the same: its status, body and the fields that
// are the backend's.
func (a *Answer) Bytes() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d\n", a.Status)
	h := a.Header.Clone()
	for _, name := range []string{"Date", "Idempotency-State", "Idempotency-Next", "Idempotent-Replayed", "Idempotency-Expires", "Retry-After"} {
		delete(h, textproto.CanonicalMIMEHeaderKey(name))
	}
	h.Write(&b)
	b.WriteString(a.Body)
	return b.String()
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
