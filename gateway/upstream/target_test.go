package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/nemesis"
	"golang.org/x/net/http2"
)

func TestWhatNeverHadAConnectionWasNotSent(t *testing.T) {
	plain := newBackend(t, "http", answering)
	tests := []struct {
		name, url string
		want      string
	}{
		{"refused", "http://" + refusing(t), "dial-failed"},
		{"refused h2c", "h2c://" + refusing(t), "dial-failed"},
		{"refused TLS", "https://" + refusing(t), "dial-failed"},
		{"unknown host", "http://nobody.invalid", "dial-failed"},
		{"no TLS there", strings.Replace(plain.URL(), "http", "https", 1), "tls-failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out := send(t, newUpstream(t, Options{}, tt.url), post("op", nil))
			if n, ok := out.(NotSent); !ok || string(n.Cause) != tt.want && tt.name != "unknown host" || n.Err == nil {
				t.Errorf("got %s", describe(out))
			}
		})
	}
	if plain.heads() != 0 {
		t.Error("a request arrived")
	}
}

func TestAnUntrustedCertificate(t *testing.T) {
	b := newBackend(t, "h2", answering)
	at := newUpstream(t, Options{}, b.URL()).o.Targets
	w := &watcher{}
	u := New(Options{Targets: at, Observer: w}) // the system's roots do not know it
	defer u.Close()
	wantNotSent(t, send(t, u, post("op", nil)), CauseTLSFailed)
	var certificate *tls.CertificateVerificationError
	if len(w.said) != 1 || !errors.As(w.said[0], &certificate) {
		t.Errorf("the observer was told %v", w.said)
	}
}

func TestADialThatTakesTooLong(t *testing.T) {
	u := newUpstream(t, Options{ConnectTimeout: time.Nanosecond}, "http://"+silent(t))
	wantNotSent(t, send(t, u, post("op", nil)), CauseDialTimeout)
	url := "https://" + silent(t)
	inTime(t, func(timeout time.Duration) bool {
		out := send(t, newUpstream(t, Options{ConnectTimeout: timeout}, url), post("op", nil))
		if n, ok := out.(NotSent); ok && n.Cause == CauseDialTimeout { // it did not come to the handshake
			return false
		}
		wantNotSent(t, out, CauseTLSFailed)
		return true
	})
}

// The attempt may end while it is dialling: no connection, no effect.
func TestTheDeadlineDuringTheDial(t *testing.T) {
	u := newUpstream(t, Options{}, "https://"+silent(t))
	inTime(t, func(deadline time.Duration) bool {
		out := sendWithin(t, u, post("op", nil), deadline)
		if n, ok := out.(NotSent); ok && n.Cause == CauseDialTimeout {
			return false
		}
		wantNotSent(t, out, CauseTLSFailed)
		return true
	})
	if !u.targets[0].health.alive(u.now()) {
		t.Error("the attempt's own deadline counted against the target")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &watcher{}
	u = newUpstream(t, Options{Observer: w}, "http://"+silent(t), "http://"+silent(t))
	wantNotSent(t, u.Send(ctx, post("op", nil)), CauseDialFailed)
	if len(w.dialed) != 1 {
		t.Errorf("an attempt that had ended went on to other targets: %v", w.dialed)
	}
}

// A listener that never accepts has a connection all the same, in the kernel: it may read later. Over HTTP/2 a server
// speaks first.
func TestAListenerThatNeverAccepts(t *testing.T) {
	u := newUpstream(t, Options{}, "http://"+silent(t))
	inTime(t, func(deadline time.Duration) bool {
		out := sendWithin(t, u, post("op", []byte("body")), deadline)
		if _, ok := out.(NotSent); ok {
			return false
		}
		wantUnknown(t, out, CauseTimeout)
		return true
	})
	u = newUpstream(t, Options{}, "h2c://"+silent(t))
	wantNotSent(t, sendWithin(t, u, post("op", []byte("body")), 50*time.Millisecond), CauseDialTimeout)
}

func TestNotSentGoesToTheOtherTargetsOnce(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			b := newBackend(t, protocol, answering)
			dead := b.url(refusing(t))
			w := &watcher{}
			u := newUpstream(t, Options{Observer: w}, dead, b.URL(), dead)
			for _, op := range []string{"a", "b", "c", "d"} {
				wantAnswer(t, send(t, u, post(op, []byte("body"))), "done "+op)
				if got := b.executed(op); got != 1 {
					t.Errorf("executed %d times", got)
				}
			}
			if got := w.dialed[u.targets[0].address+" dial-failed"]; got > 2 {
				t.Errorf("dead targets were dialled %d times while another was alive", got)
			}
		})
	}
	dead := refusing(t)
	w := &watcher{}
	u := newUpstream(t, Options{Observer: w}, "http://"+dead, "http://"+dead)
	for n := range 3 { // all are down, and are asked all the same
		wantNotSent(t, send(t, u, post("op", nil)), CauseDialFailed)
		if got := w.dialed[dead+" dial-failed"]; got != 2*(n+1) {
			t.Errorf("dialled %d times after %d requests", got, n+1)
		}
	}
}

// What may have reached one target is never sent to another.
func TestDoubtStaysWithItsTarget(t *testing.T) {
	for _, protocol := range protocols {
		broken := newBackend(t, protocol, cutAt(executed, true, nil))
		sound := newBackend(t, protocol, answering)
		u := newUpstream(t, Options{}, broken.URL(), sound.URL())
		var unknown int
		for range 4 {
			if _, ok := send(t, u, post("op", nil)).(Unknown); ok {
				unknown++
			}
		}
		if unknown != broken.executed("op") || unknown+sound.executed("op") != 4 || unknown == 0 {
			t.Errorf("%s: %d unknown, executed %d and %d times", protocol, unknown, broken.executed("op"), sound.executed("op"))
		}
	}
}

func TestHealth(t *testing.T) {
	var h health
	now := time.Unix(1e9, 0)
	if !h.alive(now) {
		t.Error("a new target is not alive")
	}
	for _, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 10000, 10000} {
		want *= time.Millisecond
		h.failed(now)
		if h.alive(now.Add(want-1)) || !h.alive(now.Add(want)) {
			t.Errorf("back-off is not %v", want)
		}
	}
	h.succeeded()
	if !h.alive(now) {
		t.Error("not alive after success")
	}
	if h.failed(now); !h.alive(now.Add(firstBackoff)) {
		t.Error("success did not reset the back-off")
	}
}

func TestTargetsTakeTurns(t *testing.T) {
	u := newUpstream(t, Options{}, "http://a", "http://b", "http://c")
	u.targets[1].health.failed(u.now())
	turns := map[string]int{}
	for range 300 {
		turns[u.Target().Host]++
	}
	if turns["a"] == 0 || turns["b"] != 0 || turns["c"] == 0 {
		t.Errorf("turns: %v", turns)
	}
}

func TestAcquire(t *testing.T) {
	u := newUpstream(t, Options{MaxInFlight: 2}, "http://a")
	one, ok1 := u.Acquire()
	_, ok2 := u.Acquire()
	if none, ok := u.Acquire(); !ok1 || !ok2 || ok || none != nil {
		t.Fatal("slots are not counted")
	}
	if one(); u.InFlight() != 1 {
		t.Errorf("%d in flight", u.InFlight())
	}
	if allocs := testing.AllocsPerRun(100, func() { release, _ := u.Acquire(); release() }); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			b := newBackend(t, protocol, answering)
			u := newUpstream(t, Options{}, b.URL())
			for range 20 {
				wantAnswer(t, send(t, u, post("op", []byte("body"))), "done op")
				if !strings.HasPrefix(protocol, "h2") {
					settle(u)
				}
			}
			if got := b.connections(); got != 1 {
				t.Errorf("%d connections", got)
			}
		})
	}
}

// Requests that come at once to a cold HTTP/2 target share a connection.
func TestOneDialForMany(t *testing.T) {
	for _, protocol := range []string{"h2c", "h2"} {
		b := newBackend(t, protocol, answering)
		u := newUpstream(t, Options{}, b.URL())
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if out, ok := send(t, u, post("op", nil)).(Answered); !ok {
					t.Error(describe(out))
				}
			})
		}
		all.Wait()
		if got := b.connections(); got != 1 || b.executed("op") != 50 {
			t.Errorf("%s: %d connections, %d executions", protocol, got, b.executed("op"))
		}
	}
}

func TestIdleConnectionsExpire(t *testing.T) {
	b := newBackend(t, "http", answering)
	u := newUpstream(t, Options{}, b.URL())
	var mu sync.Mutex
	now := time.Now()
	u.now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	for n := range 3 {
		wantAnswer(t, send(t, u, post("op", nil)), "done op")
		settle(u)
		if got := b.connections(); got != n+1 {
			t.Fatalf("%d connections after %d requests", got, n+1)
		}
		mu.Lock()
		now = now.Add(u.o.IdleTimeout)
		mu.Unlock()
	}
	u.targets[0].reap()
	if n := len(u.targets[0].idle); n != 0 {
		t.Errorf("%d idle connections are left", n)
	}
}

func TestCloseEndsIdleConnections(t *testing.T) {
	for _, protocol := range protocols {
		b := newBackend(t, protocol, answering)
		u := newUpstream(t, Options{}, b.URL())
		wantAnswer(t, send(t, u, post("op", nil)), "done op")
		u.Close()
		wantAnswer(t, send(t, u, post("late", nil)), "done late") // and what still comes is served
		u.Close()
		b.listener.Close()
		b.work.Wait() // every connection has ended
	}
}

// A warm h2c connection whose writes stall: RoundTrip reports the deadline while the bytes are still on
// our side, and they leave afterwards.
func TestASlowWriteOnAWarmSharedConnection(t *testing.T) {
	inTime(t, func(deadline time.Duration) bool {
		b := newBackend(t, "h2c", answering)
		release := make(chan struct{})
		r, err := nemesis.Listen(b.listener.Addr().String(), nemesis.First(nemesis.Plan{Up: nemesis.Flow{After: 300, Fault: nemesis.Hold, Release: release}}))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		u := newUpstream(t, Options{}, b.url(r.Addr()))
		wantAnswer(t, send(t, u, post("warm", nil)), "done warm")
		out := sendWithin(t, u, post("op", make([]byte, 60_000)), deadline)
		if _, ok := out.(NotSent); ok {
			return false
		}
		wantUnknown(t, out, CauseTimeout)
		close(release)
		wantAnswer(t, send(t, u, post("next", nil)), "done next") // not on the connection that stalled
		if r.Accepted() != 2 || b.executed("op") > 1 {
			t.Errorf("%d connections, executed %d times", r.Accepted(), b.executed("op"))
		}
		return true
	})
}

// The same over HTTP/1.1, where the kernel takes what it has room for.
func TestASlowWriteOnAKeptConnection(t *testing.T) {
	body := make([]byte, 32<<20)
	inTime(t, func(deadline time.Duration) bool {
		const head = 300
		b := newBackend(t, "http", answering)
		r, err := nemesis.Listen(b.listener.Addr().String(), nemesis.First(nemesis.Plan{Up: nemesis.Flow{After: head, Fault: nemesis.Freeze}}))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		u := newUpstream(t, Options{}, b.url(r.Addr()))
		wantAnswer(t, send(t, u, post("warm", nil)), "done warm")
		out := sendWithin(t, u, post("op", body), deadline)
		if _, ok := out.(NotSent); ok && !r.Conn(0).Up.Wait(head) {
			return false
		}
		wantUnknown(t, out, CauseTimeout)
		if p := out.(Unknown).Phase; p != Writing {
			t.Errorf("phase %v", p)
		}
		if b.executed("op") > 0 {
			t.Error("executed")
		}
		return true
	})
}

// settleStream waits until net/http has put the stream of an answered request away.
func settleStream(u *Upstream) {
	for t := u.targets[0]; ; runtime.Gosched() {
		t.mu.Lock()
		free := slices.ContainsFunc(t.shared, func(c *http.ClientConn) bool { return c.Available() > 0 })
		t.mu.Unlock()
		if free {
			return
		}
	}
}

// A peer that takes one stream at a time gets more connections, not an error.
func TestTheStreamLimitIsKept(t *testing.T) {
	arrived, open := make(chan *tcpEnd), make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	b := newBackend(t, "h2c", func(e *event) {
		switch {
		case e.moment != executed:
		case e.op == "warm":
			e.answer.(answer2).WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
			answering(e)
		default:
			arrived <- e.tcpEnd
			<-open
			answering(e)
		}
	})
	u := newUpstream(t, Options{}, b.URL())
	t.Cleanup(release) // a failure must not hold the backend
	var all sync.WaitGroup
	seen := map[*tcpEnd]bool{}
	for range 3 {
		wantAnswer(t, send(t, u, post("warm", nil)), "done warm")
		settleStream(u) // or the request would open a connection that has not heard of the limit
		all.Go(func() {
			if out, ok := send(t, u, post("op", nil)).(Answered); !ok {
				t.Error(describe(out))
			}
		})
		seen[<-arrived] = true
	}
	release()
	all.Wait()
	if len(seen) != 3 {
		t.Errorf("three requests at once used %d connections", len(seen))
	}
}

func TestPassThrough(t *testing.T) {
	for _, protocol := range protocols {
		b := newBackend(t, protocol, answering)
		u := newUpstream(t, Options{}, b.URL())
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://elsewhere.invalid/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Op", "op")
		resp, err := u.RoundTripper().RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		resp.Body.Close()
		if r.URL.Host != "elsewhere.invalid" {
			t.Error("the caller's request was changed")
		}
		if b.executed("op") != 1 {
			t.Errorf("%s: executed %d times", protocol, b.executed("op"))
		}
	}
	dead := newUpstream(t, Options{}, "http://"+refusing(t), "http://live")
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x/", nil)
	for dead.choose() != dead.targets[1] { // so that the dead one is next
	}
	if _, err := dead.RoundTripper().RoundTrip(r); err == nil || errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if dead.targets[0].health.alive(dead.now()) {
		t.Error("a refused dial did not count")
	}
}

// What is passed through and had no connection can be told from what had one, however that ended.
func TestPassThroughWithoutAConnection(t *testing.T) {
	closing := func(protocol string) string {
		return newBackend(t, protocol, cutAt(headRead, false, nil)).URL()
	}
	for name, c := range map[string]struct {
		url       string
		unreached bool
	}{
		"refused":               {"http://" + refusing(t), true},
		"refused, TLS":          {"https://" + refusing(t), true},
		"no TLS there":          {strings.Replace(newBackend(t, "http", answering).URL(), "http", "https", 1), true},
		"handshake without end": {"https://" + silent(t), true},
		"certificate":           {"", true},
		"closed":                {closing("http"), false},
		"closed, TLS":           {closing("https1"), false},
		"closed, h2c":           {closing("h2c"), false},
		"closed, HTTP/2":        {closing("h2"), false},
	} {
		for _, method := range []string{"GET", "PUT"} {
			t.Run(name+" "+method, func(t *testing.T) {
				var u *Upstream
				if c.url == "" { // the system's roots do not know it
					u = New(Options{Targets: newUpstream(t, Options{}, newBackend(t, "h2", answering).URL()).o.Targets})
					defer u.Close()
				} else {
					var o Options
					if name == "handshake without end" {
						o.ConnectTimeout = 100 * time.Millisecond
					}
					u = newUpstream(t, o, c.url)
				}
				var body io.Reader
				if method == "PUT" {
					body = strings.NewReader("x")
				}
				r, err := http.NewRequestWithContext(t.Context(), method, "http://x/", body)
				if err != nil {
					t.Fatal(err)
				}
				r.GetBody = nil
				resp, err := u.RoundTripper().RoundTrip(r)
				if err == nil {
					resp.Body.Close()
					t.Fatal("answered")
				}
				var unreached *Unreached
				if errors.As(err, &unreached) != c.unreached {
					t.Errorf("%v", err)
				}
				if alive := u.targets[0].health.alive(u.now()); alive == c.unreached {
					t.Errorf("alive: %v", alive)
				}
			})
		}
	}
}

// Content that ends with its connection is whole over TLS if its sender says so. Anybody on the way can end a TCP
// connection, and what has a length or is chunked ends before it does.
func TestPassThroughOfContentThatEndsWithTLS(t *testing.T) {
	const length, chunked, neither = "Content-Length: 4\r\n", "Transfer-Encoding: chunked\r\n", ""
	for _, c := range []struct {
		method           string
		framing, content string
		tls, notified    bool
		whole            bool
	}{
		{"GET", neither, "gone", true, true, true},
		{"GET", neither, "gone", true, false, false},
		{"GET", neither, "", true, false, false},
		{"GET", neither, "gone", false, false, true},
		{"GET", length, "gone", true, false, true},
		{"GET", chunked, "4\r\ngone\r\n0\r\n\r\n", true, false, true},
		{"HEAD", neither, "", true, false, true},
	} {
		t.Run(fmt.Sprintf("%s %q %q %v %v", c.method, c.framing, c.content, c.tls, c.notified), func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				tcp, err := l.Accept()
				if err != nil {
					return
				}
				defer tcp.Close()
				conn := tcp
				if c.tls {
					secured := tls.Server(tcp, &tls.Config{Certificates: []tls.Certificate{certificate().cert}})
					if c.notified {
						defer secured.Close()
					}
					conn = secured
				}
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+c.framing+"\r\n"+c.content)
				}
			}()
			scheme := "http"
			if c.tls {
				scheme = "https"
			}
			u := newUpstream(t, Options{}, scheme+"://"+l.Addr().String())
			var on *watched
			r, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				GotConn: func(got httptrace.GotConnInfo) { on = below(got.Conn) },
			}), c.method, "http://x/", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := u.RoundTripper().RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			for c.method == "HEAD" && !on.ended.Load() { // net/http reads on
				runtime.Gosched()
			}
			content, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			<-answered
			if (err == nil) != c.whole || err == nil && c.content != "" && string(content) != "gone" {
				t.Errorf("%q, %v", content, err)
			}
		})
	}
}
