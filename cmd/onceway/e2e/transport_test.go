package e2e

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

// between puts a relay in front of an address.
func between(t *testing.T, address string, script nemesis.Script) *nemesis.Relay {
	t.Helper()
	r, err := nemesis.Listen(address, script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// sendBy writes a request to an address and gives up before there is an answer: it waits only until the
// relay has all of it.
func sendBy(t *testing.T, address string, r rig.Request) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, r.Raw()); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// T1: the sender's write succeeded, and the peer never got it, or not all of it. The client asks, or sends
// again with the same key: one execution. Towards the backend nobody can know: it stays unknown.
func TestT1WriteThatNeverArrives(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		t.Run("client", func(t *testing.T) {
			g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
			r := rig.Request{Key: newKey(), Body: "amount=1"}
			for _, after := range []int64{0, 1, int64(len(r.Raw())) - 1} {
				r := rig.Request{Key: newKey(), Body: "amount=1"}
				lost := between(t, g.Addr, nemesis.Always(nemesis.Plan{Up: nemesis.Flow{After: after, Fault: nemesis.Swallow}}))
				c := sendBy(t, lost.Addr(), r)
				lost.Conn(0).Up.Wait(int64(len(r.Raw())))
				wantUnseen(t, g, b, r.Key)
				c.Close()
				g.Do(t, r).Is(t, executed)
				wantEffects(t, b, r.Key, 1)
			}
		})
		t.Run("backend", func(t *testing.T) {
			for _, after := range []int64{0, 40} {
				lost := between(t, b.Address(), nemesis.Always(nemesis.Plan{Up: nemesis.Flow{After: after, Fault: nemesis.Swallow}}))
				g := rig.Serve(t, rig.Config{Store: newStoreLike(t, dsn), Targets: []string{"http://" + lost.Addr()}, Upstream: "timeout: 1s"})
				r, a := inTime(t, g, b, func() rig.Request { return rig.Request{Key: newKey(), Body: "amount=1"} })
				a.Is(t, timedOut)
				g.Do(t, r).Is(t, stillUnknown)
				if n := b.Effects(t, r.Key); n != 0 {
					t.Errorf("%d executions", n)
				}
			}
		})
	})
}

// T2: a request is delivered long after its sender gave up. On either hop it is executed once at most, and
// changes nothing that is known.
func TestT2LateDelivery(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		t.Run("client", func(t *testing.T) {
			g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
			r := rig.Request{Key: newKey(), Body: "amount=1"}
			deliver := make(chan struct{})
			late := between(t, g.Addr, nemesis.Always(nemesis.Plan{Up: nemesis.Flow{Fault: nemesis.Hold, Release: deliver}}))
			c := sendBy(t, late.Addr(), r)
			<-late.Conn(0).Up.Struck()
			c.CloseWrite()
			wantUnseen(t, g, b, r.Key)
			first := g.Do(t, r)
			first.Is(t, executed)
			close(deliver)
			again := rig.ReadAnswer(t, c, "POST")
			again.Is(t, replayed)
			if again.Bytes() != first.Bytes() {
				t.Errorf("the late original got %s, the retry %s", again.Bytes(), first.Bytes())
			}
			wantEffects(t, b, r.Key, 1)
		})
		t.Run("backend", func(t *testing.T) {
			deliver := make(chan struct{})
			late := between(t, b.Address(), nemesis.Always(nemesis.Plan{Up: nemesis.Flow{Fault: nemesis.Hold, Release: deliver}}))
			g := rig.Serve(t, rig.Config{Store: newStoreLike(t, dsn), Targets: []string{"http://" + late.Addr()}, Upstream: "timeout: 1s"})
			r, a := inTime(t, g, b, func() rig.Request { return rig.Request{Key: newKey(), Body: "amount=1"} })
			a.Is(t, timedOut)
			g.Do(t, r).Is(t, stillUnknown)
			if n := b.Effects(t, r.Key); n != 0 {
				t.Errorf("%d executions before the delivery", n)
			}
			close(deliver)
			g.Until(t, "the late request is executed", func() bool { return b.Effects(t, r.Key) == 1 })
			g.Do(t, r).Is(t, stillUnknown)
			wantEffects(t, b, r.Key, 1)
		})
	})
}

// T3: the connection dies while the answer is on its way, at any byte of it. The answer is recorded, and the
// retry gets it.
func TestT3ConnectionDiesDuringTheAnswer(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "log: {access: false}"})
		for i, fault := range []nemesis.Fault{nemesis.CutFIN, nemesis.CutRST, nemesis.Swallow} {
			for _, after := range []int64{0, 1, 20, 200, 400} {
				relay := between(t, g.Addr, nemesis.Always(nemesis.Plan{Down: nemesis.Flow{After: after, Fault: fault}}))
				r := rig.Request{Key: newKey(), Body: "amount=1", Script: ledger.Script{Status: 201, Header: map[string][]string{"X-Fault": {fault.String()}}}}
				c := sendBy(t, relay.Addr(), r)
				<-relay.Conn(0).Down.Struck()
				c.Close()
				rec := wantState(t, g, r.Key, "completed", 1)
				again := g.Do(t, r)
				again.Is(t, with(replayed, 201))
				if rec.Response == nil || rec.Response.Body == nil || *rec.Response.Body != again.Body {
					t.Errorf("%d %v after %d: the record has %+v, the retry got %q", i, fault, after, rec.Response, again.Body)
				}
				wantEffects(t, b, r.Key, 1)
			}
		}
	})
}

// T7: the client resets a kept connection between two requests, or right behind the second one. The answer of
// the first one is never given to the second, and neither is executed again.
func TestT7ResetBetweenTwoRequests(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		for range 10 {
			first, second := rig.Request{Key: newKey(), Body: "1"}, rig.Request{Key: newKey(), Body: "2", Script: ledger.Script{After: newKey()}}
			c := g.Dial(t)
			io.WriteString(c, first.Raw())
			one := rig.ReadAnswer(t, c, "POST")
			one.Is(t, executed)
			io.WriteString(c, second.Raw())
			b.Await(t, second.Script.After, 1)
			c.SetLinger(0)
			c.Close()
			b.Open(t, second.Script.After)
			wantState(t, g, second.Key, "completed", 1)
			two := g.Do(t, second)
			two.Is(t, replayed)
			if again := g.Do(t, first); again.Bytes() != one.Bytes() || two.Body == one.Body {
				t.Errorf("answers %q, again %q, and of the other request %q", one.Body, again.Body, two.Body)
			}
			wantEffects(t, b, first.Key, 1)
			wantEffects(t, b, second.Key, 1)
		}
	})
}

// T9: segments split anywhere change nothing: a request and an answer that come byte by byte are whole. What
// is cut short is not.
func TestT9ByteByByte(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		answer := strings.Split("an answer in pieces", "")
		r := rig.Request{Key: newKey(), Body: "amount=1", Script: ledger.Script{Pieces: answer}}
		c := g.Dial(t)
		for _, one := range []byte(r.Raw()) {
			if _, err := c.Write([]byte{one}); err != nil {
				t.Fatal(err)
			}
		}
		a := rig.ReadAnswer(t, c, "POST")
		a.Is(t, executed)
		whole := rig.Request{Key: r.Key, Body: "amount=1", Script: r.Script}
		again := g.Do(t, whole)
		again.Is(t, replayed)
		if a.Body != strings.Join(answer, "") || again.Body != a.Body {
			t.Errorf("answered %q, then %q", a.Body, again.Body)
		}
		if got := only(t, b, ledger.Effect, r.Key); string(got.Body) != "amount=1" {
			t.Errorf("the backend got %q", got.Body)
		}
		// Cut short at every byte: no trace.
		key := newKey()
		text := rig.Request{Key: key, Body: "amount=1"}.Raw()
		for n := range len(text) {
			cut := g.Dial(t)
			io.WriteString(cut, text[:n])
			cut.Close()
		}
		g.Until(t, "the gateway is done with them", func() bool { return inFlight(t, g) == 0 })
		wantUnseen(t, g, b, key)
		g.Do(t, rig.Request{Key: key, Body: "amount=1"}).Is(t, executed)
		wantEffects(t, b, key, 1)
	})
}

// A backend that drips is recorded when it is done in time, and in doubt when it is not.
func TestSlowDrip(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Upstream: "timeout: 1s"})
		never := ledger.Script{Pieces: []string{"a", "b"}, Gates: []string{newKey()}}
		r, a := inTime(t, g, b, func() rig.Request { return rig.Request{Key: newKey(), Body: "a", Script: never} })
		a.Is(t, timedOut)
		g.Do(t, r).Is(t, stillUnknown)
		g.Until(t, "it is executed", func() bool { return b.Effects(t, r.Key) > 0 })
		wantEffects(t, b, r.Key, 1)
		b.Open(t, never.Gates[0])
	})
}

// listenRaw gives each connection to serve, and closes it then.
func listenRaw(t *testing.T, serve func(*net.TCPConn)) (address string) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

// An answer before the backend has read the request is its answer; and one that comes with a hundred thousand
// interim ones before it is none.
func TestAnswersAtOddMoments(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		early := listenRaw(t, func(c *net.TCPConn) {
			if _, err := http.ReadRequest(bufio.NewReaderSize(c, 16)); err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
			c.CloseWrite()
			io.Copy(io.Discard, c)
		})
		flood := listenRaw(t, func(c *net.TCPConn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
				return
			}
			for {
				if _, err := io.WriteString(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n", 100)); err != nil {
					return
				}
			}
		})
		g := rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{"http://" + early}, Policy: "max_request_body: 8MiB",
			Routes:    "  - {name: flood, match: {path: /flood}, upstream: flood}",
			Upstreams: "  flood: {targets: [http://" + flood + "]}",
		})
		r := rig.Request{Key: newKey(), Body: strings.Repeat("x", 4<<20)}
		first := g.Do(t, r)
		first.Is(t, with(executed, 413))
		if again := g.Do(t, r); again.Bytes() != first.Bytes() || again.Header.Get("Idempotency-State") != "replayed" {
			t.Errorf("then %s", again.Bytes())
		}
		f := rig.Request{Path: "/flood", Key: newKey(), Body: "a"}
		g.Do(t, f).Is(t, doubted)
		g.Do(t, f).Is(t, stillUnknown)
	})
}

// What cannot be connected to was not sent: refused, no such name, no TLS there, and no trust in it.
func TestBackendsThatCannotBeReached(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		refusing, _ := b.Late(t)
		g := rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{"http://" + refusing}, Upstream: "timeout: 5s",
			Routes: "  - {name: name, match: {path: /name}, upstream: name}\n  - {name: tls, match: {path: /tls}, upstream: tls}\n" +
				"  - {name: trust, match: {path: /trust}, upstream: trust}\n",
			Upstreams: "  name: {targets: ['http://no-such-host.invalid'], timeout: 5s}\n  tls: {targets: ['https://" + b.Address() + "'], timeout: 5s}\n" +
				"  trust: {targets: ['" + b.TLS() + "'], timeout: 5s}",
		})
		for _, path := range []string{"/orders", "/name", "/tls", "/trust"} {
			r := rig.Request{Path: path, Key: newKey(), Body: "a"}
			g.Do(t, r).Is(t, notReached)
			wantState(t, g, r.Key, "not_executed", 1)
			g.Do(t, r).Is(t, notReached)
			wantState(t, g, r.Key, "not_executed", 2)
			if n := len(b.Of(t, ledger.Begin, r.Key)); n != 0 {
				t.Errorf("%s: the backend got %d requests", path, n)
			}
		}
		// Each time the log says why once, though two requests failed.
		for _, reason := range []string{"connection refused", "lookup no-such-host.invalid", "does not look like a TLS handshake", "unknown authority"} {
			g.AwaitOutput(t, reason)
			if n := strings.Count(g.Output(), reason); n != 1 {
				t.Errorf("the log says %q %d times", reason, n)
			}
		}
	})
}

// A redirect is an answer: whoever follows it does so with a request of its own.
func TestRedirectToItselfIsNotFollowed(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		for _, status := range []int{301, 302, 303, 307, 308} {
			r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: status, Header: map[string][]string{"Location": {"/orders"}}}}
			g.Do(t, r).Is(t, with(executed, status))
			g.Do(t, r).Is(t, with(replayed, status))
			wantEffects(t, b, r.Key, 1)
		}
	})
}

// Requests in a pipeline are answered in their order, each with its own answer, and each is executed once;
// also when the connection is reset behind them.
func TestPipelining(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		var text strings.Builder
		requests := make([]rig.Request, 8)
		for i := range requests {
			requests[i] = rig.Request{Key: newKey(), Body: strings.Repeat("x", i)}
			text.WriteString(requests[i].Raw())
		}
		c := g.Dial(t)
		io.WriteString(c, text.String()+requests[0].Raw())
		in := bufio.NewReader(c)
		for i, r := range append(requests, requests[0]) {
			resp, err := http.ReadResponse(in, &http.Request{Method: "POST"})
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			a := &rig.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
			if i < len(requests) {
				a.Is(t, executed)
			} else {
				a.Is(t, replayed)
			}
			if again := g.Do(t, r); again.Bytes() != a.Bytes() {
				t.Errorf("request %d got %s, and again %s", i, a.Bytes(), again.Bytes())
			}
			wantEffects(t, b, r.Key, 1)
		}
		rest := make([]rig.Request, 4)
		text.Reset()
		for i := range rest {
			rest[i] = rig.Request{Key: newKey(), Body: "a"}
			text.WriteString(rest[i].Raw())
		}
		reset := g.Dial(t)
		io.WriteString(reset, text.String())
		g.Until(t, "the first one arrives", func() bool { return b.Effects(t, rest[0].Key) == 1 })
		reset.SetLinger(0)
		reset.Close()
		for _, r := range rest {
			a := g.Do(t, r)
			a.Is(t, rig.Want{Status: 200, State: a.Header.Get("Idempotency-State"), Next: "done"})
			wantEffects(t, b, r.Key, 1)
		}
	})
}

// A retry may come to another gateway: while the attempt runs it waits for it, then it gets its answer.
func TestRetryOnAnotherGateway(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g, other := pair(t, rig.Config{Targets: []string{b.URL()}})
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	first := g.Go(t, r)
	b.Await(t, r.Script.After, 1)
	hasty := r
	hasty.Header = rig.Header("Prefer", "wait=0")
	other.Do(t, hasty).Is(t, inProgress)
	patient := r
	patient.Header = rig.Header("Prefer", "wait=30")
	second := other.Go(t, patient)
	other.Until(t, "the retry waits", func() bool { return inFlight(t, other) == 1 })
	b.Open(t, r.Script.After)
	one, two := <-first, <-second
	if one == nil || two == nil {
		t.Fatal("no answer")
	}
	one.Is(t, executed)
	two.Is(t, rig.Want{Status: 200, State: "attached", Next: "done"})
	third := other.Do(t, r)
	third.Is(t, replayed)
	if one.Bytes() != two.Bytes() || one.Bytes() != third.Bytes() {
		t.Errorf("three answers: %s\n%s\n%s", one.Bytes(), two.Bytes(), third.Bytes())
	}
	wantEffects(t, b, r.Key, 1)
}

// newStoreLike returns a fresh store of the kind of dsn.
func newStoreLike(t *testing.T, dsn string) string {
	for _, s := range rig.Stores {
		if strings.HasPrefix(dsn, s.Name) {
			return s.New(t)
		}
	}
	return dsn
}
