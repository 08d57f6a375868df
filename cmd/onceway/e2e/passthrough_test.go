package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

func TestPassThrough(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	for name, test := range map[string]func(*testing.T, *rig.Gateway, *ledger.Backend){
		"events": eventsAreFlushed, "upgrade": upgradedConnection, "interim": interimAnswers, "both ways": streamsBothWays,
		"trailers": trailers, "head": headAnswers, "redirect": redirectsAreNotFollowed,
		"options": optionsOfTheServer,
	} {
		t.Run(name, func(t *testing.T) { test(t, g, b) })
	}
}

// Each event is readable before the backend has made the next.
func eventsAreFlushed(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	gates := []string{newKey(), newKey()}
	resp := open(t, g, rig.Request{Method: "GET", Path: "/events", Header: rig.Header("Accept", "text/event-stream"), Script: ledger.Script{
		Header: map[string][]string{"Content-Type": {"text/event-stream"}}, Pieces: []string{"data: 1\n\n", "data: 2\n\n", "data: 3\n\n"}, Gates: gates}})
	for i := range 3 {
		got := make([]byte, len("data: 1\n\n"))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != fmt.Sprintf("data: %d\n\n", i+1) {
			t.Fatalf("%q %v", got, err)
		}
		if i < 2 {
			b.Await(t, gates[i], 1)
			b.Open(t, gates[i])
		}
	}
}

// open sends a request and leaves the answer's content to the test.
func open(t *testing.T, g *rig.Gateway, r rig.Request) *http.Response {
	t.Helper()
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(r.HTTP(t, g.Addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func upgradedConnection(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	c := g.Dial(t)
	io.WriteString(c, rig.Request{Method: "GET", Path: "/socket", Header: rig.Header("Connection", "Upgrade", "Upgrade", "websocket"), Script: ledger.Script{Then: ledger.Upgrade}}.Raw())
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%v %v", resp, err)
	}
	for _, text := range []string{"ping", "\x00\xff\x81"} {
		io.WriteString(c, text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != text {
			t.Fatalf("%q %v", got, err)
		}
	}
}

func interimAnswers(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	gate := newKey()
	c := g.Dial(t)
	io.WriteString(c, rig.Request{Method: "GET", Script: ledger.Script{Informational: []int{103}, Pieces: []string{"", "done"}, Gates: []string{gate}}}.Raw())
	r := bufio.NewReader(c)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 103 {
		t.Fatalf("%v %v", resp, err)
	}
	b.Open(t, gate)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	// To a protected request they are no answer.
	g.Do(t, rig.Request{Key: newKey(), Script: ledger.Script{Informational: []int{103, 103}}}).Is(t, executed)
}

// The client's second piece is sent only after the first has come back.
func streamsBothWays(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	c := g.Dial(t)
	fmt.Fprintf(c, "PUT /stream HTTP/1.1\r\nHost: %s\r\n%s: %s\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n", rig.Host, ledger.Field, ledger.Script{Then: ledger.Echo})
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v %v", resp, err)
	}
	for _, text := range []string{"one", "two", "three"} {
		fmt.Fprintf(c, "%x\r\n%s\r\n", len(text), text)
		got := make([]byte, len(text))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != text {
			t.Fatalf("%q %v", got, err)
		}
	}
	io.WriteString(c, "0\r\nX-Sum: 6\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q %v", rest, err)
	}
	if got := resp.Trailer.Get("X-Sum"); got != "6" {
		t.Errorf("the trailer went there and came back as %q", got)
	}
}

func trailers(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	a := g.Do(t, rig.Request{Method: "GET", Script: ledger.Script{Body: ledger.Text("some"), Chunked: true, Trailer: map[string][]string{"X-Sum": {"4"}}}})
	if a.Body != "some" || a.Trailer.Get("X-Sum") != "4" {
		t.Errorf("%q, trailers %v", a.Body, a.Trailer)
	}
}

func headAnswers(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	a := g.Do(t, rig.Request{Method: "HEAD", Script: ledger.Script{Body: ledger.Text("12345")}})
	if a.Status != 200 || a.Body != "" || a.Header.Get("Content-Length") != "5" {
		t.Errorf("%+v", a)
	}
}

// OPTIONS for the server as a whole is answered by the gateway, and is a request like any other: what comes behind one
// over HTTP/1.0 is no further request.
func optionsOfTheServer(t *testing.T, g *rig.Gateway, _ *ledger.Backend) {
	for _, target := range []string{"*", "http://a"} {
		c := g.Dial(t)
		fmt.Fprintf(c, "OPTIONS %s HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n", target)
		in := bufio.NewReader(c)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 200 || resp.ContentLength != 0 || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %+v", target, resp)
		}
		if more, err := io.ReadAll(in); len(more) > 0 {
			t.Errorf("%s: then %q, %v", target, more, err)
		}
	}
}

func redirectsAreNotFollowed(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	for _, status := range []int{302, 307, 308} {
		key := newKey()
		r := rig.Request{Key: key, Body: "a", Script: ledger.Script{Status: status, Header: map[string][]string{"Location": {b.URL() + "/again"}}}}
		g.Do(t, r).Is(t, with(executed, status))
		wantEffects(t, b, key, 1)
	}
}

const large = 100 << 20

// Large bodies pass in both directions, and the process does not grow with them.
func TestLargeBodiesAtConstantMemory(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("memory is read from /proc, which this system does not have")
	}
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	g.Do(t, rig.Request{Method: "GET"})
	before := peakMemory(t, g)

	resp := open(t, g, rig.Request{Method: "GET", Path: "/big", Script: ledger.Script{Big: large}})
	n, err := io.Copy(&patternChecker{t: t}, resp.Body)
	if err != nil || n != large || resp.ContentLength != large {
		t.Fatalf("%d of %d bytes: %v", n, large, err)
	}
	req := rig.Request{Method: "PUT", Path: "/big", Key: newKey()}.HTTP(t, g.Addr)
	req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeroes{}, large)), large
	up, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || up.StatusCode != 200 {
		t.Fatalf("%v %v", up, err)
	}
	up.Body.Close()
	if e := only(t, b, ledger.Effect, req.Header.Get("Idempotency-Key")); e.Length != large {
		t.Errorf("%d bytes arrived", e.Length)
	}
	if grown := peakMemory(t, g) - before; grown > 48<<20 {
		t.Errorf("the gateway grew by %d MiB", grown>>20)
	}
}

var peak = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

func peakMemory(t *testing.T, g *rig.Gateway) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	kb, err := strconv.ParseInt(peak.FindStringSubmatch(string(status))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// patternChecker fails at the first byte that is not the pattern's.
type patternChecker struct {
	t  *testing.T
	at int64
}

func (c *patternChecker) Write(p []byte) (int, error) {
	for i, got := range p {
		if got != ledger.Pattern(c.at+int64(i)) {
			return i, fmt.Errorf("byte %d is wrong", c.at+int64(i))
		}
	}
	c.at += int64(len(p))
	return len(p), nil
}

// A backend that is not there, or breaks off, while a request streams through.
func TestPassThroughFailures(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	late, _ := b.Late(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Upstreams: "  gone: {targets: [http://" + late + "]}", Routes: "  - {name: gone, match: {path: /gone}, upstream: gone}"})
	a := g.Do(t, rig.Request{Method: "GET", Path: "/gone"})
	if a.Status != 503 || a.Problem(t).Code != "backend-unreachable" {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	key := newKey()
	if a := g.Do(t, rig.Request{Method: "PUT", Key: key, Body: "a", Script: ledger.Script{Then: ledger.Close}}); a.Status != 502 {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	// An answer that breaks off must not look whole.
	if a, err := g.Try(t, rig.Request{Method: "GET", Script: ledger.Script{Raw: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"}}); err == nil {
		t.Errorf("%d %q", a.Status, a.Body)
	}
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
	if a, err := g.Try(t, rig.Request{Method: "GET", Script: ledger.Script{Raw: chunked}}); err == nil {
		t.Errorf("%d %q", a.Status, a.Body)
	}
}

// An Idempotency-Key on a request that streams through does not make any pool send it twice.
func TestPassThroughIsNotSentTwice(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	for _, w := range wires[:2] {
		g := rig.Serve(t, rig.Config{Targets: []string{w.target(b)}, Policy: `mode: "off"`})
		for _, body := range []string{"", "a"} {
			for _, fate := range []ledger.Fate{ledger.Close, ledger.Reset, ledger.ResetStream} {
				for range 3 {
					g.Do(t, rig.Request{Key: newKey(), Body: body})
					r := rig.Request{Key: newKey(), Body: body, Header: rig.Header("X-Idempotency-Key", "x"), Script: ledger.Script{Then: fate}}
					if a := g.Do(t, r); a.Status != 502 {
						t.Errorf("%s: %d", fate, a.Status)
					}
					wantEffects(t, b, r.Key, 1)
				}
			}
		}
	}
}
