package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// A fault is what a backend does to a request at its worst moment.
type fault struct {
	name   string
	only2  bool // HTTP/2 has it
	strike func(e *event)
}

func cutAt(m moment, rst bool, before func(e *event)) func(e *event) {
	return func(e *event) {
		if e.moment != m {
			return
		}
		if before != nil {
			before(e)
		}
		e.cut(rst)
		e.stop = true
	}
}

func resetStream(code http2.ErrCode, before func(e *event)) func(e *event) {
	return func(e *event) {
		if e.moment != executed {
			return
		}
		if before != nil {
			before(e)
		}
		a := e.answer.(answer2)
		a.WriteRSTStream(a.stream, code)
	}
}

func partial(e *event) { e.answer.partial("", "half") }

// faults: after each of them the backend may have executed the request.
func faults() []fault {
	var all []fault
	for _, end := range []string{"fin", "rst"} {
		rst := end == "rst"
		all = append(all,
			fault{"after the head, " + end, false, cutAt(headRead, rst, nil)},
			fault{"after execution, " + end, false, cutAt(executed, rst, nil)},
			fault{"mid-answer, " + end, false, cutAt(executed, rst, partial)},
		)
	}
	for _, code := range []http2.ErrCode{http2.ErrCodeRefusedStream, http2.ErrCodeCancel, http2.ErrCodeNo, http2.ErrCodeInternal, http2.ErrCodeEnhanceYourCalm} {
		all = append(all, fault{"RST_STREAM " + code.String(), true, resetStream(code, nil)})
	}
	goAway := func(last uint32, code http2.ErrCode) func(e *event) {
		return cutAt(executed, false, func(e *event) { e.answer.(answer2).WriteGoAway(last, code, nil) })
	}
	return append(all,
		fault{"mid-answer, RST_STREAM", true, resetStream(http2.ErrCodeCancel, partial)},
		fault{"GOAWAY that disowns it", true, goAway(0, http2.ErrCodeNo)},
		fault{"GOAWAY with an error", true, goAway(0, http2.ErrCodeProtocol)},
	)
}

// striking returns a backend that strikes request number n and answers all others.
func striking(t *testing.T, protocol string, n int, f fault) *backend {
	return newBackend(t, protocol, func(e *event) {
		if e.n == n {
			f.strike(e)
		} else {
			answering(e)
		}
	})
}

func eachFault(t *testing.T, run func(t *testing.T, protocol string, reused bool, body []byte, f fault)) {
	for _, protocol := range protocols {
		for _, reused := range []bool{false, true} {
			for _, size := range []int{0, 3, 100_000} {
				for _, f := range faults() {
					if f.only2 && !strings.HasPrefix(protocol, "h2") {
						continue
					}
					name := fmt.Sprintf("%s/reused=%v/body=%d/%s", protocol, reused, size, f.name)
					t.Run(name, func(t *testing.T) { run(t, protocol, reused, make([]byte, size), f) })
				}
			}
		}
	}
}

// A request whose connection dies once the backend may have seen a byte is in doubt, and is never sent
// again, over each protocol.
func TestARequestIsExecutedOnce(t *testing.T) {
	eachFault(t, func(t *testing.T, protocol string, reused bool, body []byte, f fault) {
		n := 0
		if reused {
			n = 1
		}
		b := striking(t, protocol, n, f)
		u := newUpstream(t, Options{}, b.URL())
		if reused {
			wantAnswer(t, send(t, u, post("first", body)), "done first")
		}
		wantUnknown(t, send(t, u, post("op", body)))
		wantAnswer(t, send(t, u, post("next", body)), "done next")
		if got := b.executed("op"); got > 1 {
			t.Errorf("executed %d times", got)
		}
		if got := b.executed("next"); got != 1 {
			t.Errorf("the next request was executed %d times", got)
		}
		if got := b.heads(); got != n+2 {
			t.Errorf("%d requests arrived, want %d", got, n+2)
		}
	})
}

// The check above can fail: net/http's pooled transport, which this package must never be replaced by,
// sends such requests again.
func TestAPooledTransportExecutesTwice(t *testing.T) {
	var tried, twice int
	eachFault(t, func(t *testing.T, protocol string, reused bool, body []byte, f fault) {
		if !reused || len(body) > 0 {
			return
		}
		// Whether it takes the connection that the first request was on, or a fresh one, is a matter of who comes first.
		trapped, sure := false, f.name == "after execution, fin" && !strings.HasPrefix(protocol, "h2") || f.name == "RST_STREAM REFUSED_STREAM" || f.name == "GOAWAY that disowns it"
		for try := 0; !trapped && (try == 0 || sure && try < 100); try++ {
			b := striking(t, protocol, 1, f)
			pooled := newUpstream(t, Options{}, b.URL()).targets[0].pass
			for _, op := range []string{"first", "op"} {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, strings.Replace(b.URL(), "h2c:", "http:", 1), nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Op", op)
				r.Header.Set("Idempotency-Key", op)
				if resp, err := pooled.RoundTrip(r); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			}
			trapped = b.executed("op") > 1
		}
		tried++
		if trapped {
			twice++
		} else if sure {
			t.Error("this fault no longer shows the trap")
		}
	})
	t.Logf("the pooled transport executed twice in %d of %d cases", twice, tried)
	if twice == 0 {
		t.Error("the check cannot fail")
	}
}

// A kept-alive connection that was closed while it was idle costs nothing: the request finds out before
// its first byte, and moves.
func TestADeadIdleConnectionIsReplaced(t *testing.T) {
	for _, protocol := range protocols {
		for _, rst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/rst=%v", protocol, rst), func(t *testing.T) {
				b := newBackend(t, protocol, answering)
				u := newUpstream(t, Options{}, b.URL())
				wantAnswer(t, send(t, u, post("first", nil)), "done first")
				if !strings.HasPrefix(protocol, "h2") {
					settle(u)
				}
				b.last().cut(rst)
				out := send(t, u, post("op", nil))
				if _, unknown := out.(Unknown); unknown && strings.HasPrefix(protocol, "h2") {
					// net/http had not heard of it yet, and a stream may have been created.
					wantAnswer(t, send(t, u, post("op", nil)), "done op")
				} else {
					wantAnswer(t, out, "done op")
				}
				if got := b.executed("op"); got != 1 {
					t.Errorf("executed %d times", got)
				}
			})
		}
	}
}

// The connection dies after it was checked and before the first byte.
func TestAConnectionThatDiesBeforeTheFirstByte(t *testing.T) {
	for _, protocol := range []string{"http", "https1"} {
		for _, rst := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/rst=%v", protocol, rst), func(t *testing.T) {
				b := newBackend(t, protocol, answering)
				w := &watcher{}
				for i := range 20 {
					u := newUpstream(t, Options{Observer: w}, b.URL())
					op := fmt.Sprint("op", i)
					wantAnswer(t, send(t, u, post("first", nil)), "done first")
					settle(u)
					r := post(op, []byte("body"))
					asked := 0
					r.Ready = func() error {
						if asked++; asked == 1 {
							b.last().cut(rst)
						}
						return nil
					}
					moves := w.moves()
					switch out := send(t, u, r).(type) {
					case Answered:
						if b.executed(op) != 1 || w.moves() != moves+1 || asked != 2 {
							t.Fatalf("answered: executed %d times, moved %d times, asked %d times", b.executed(op), w.moves()-moves, asked)
						}
					case Unknown: // the kernel took the bytes before it knew
						if b.executed(op) != 0 || rst {
							t.Fatalf("%s, executed %d times", describe(out), b.executed(op))
						}
					case NotSent:
						t.Fatal(describe(out))
					}
				}
			})
		}
	}
}

func TestReadyIsAskedBeforeEachFirstByte(t *testing.T) {
	refusal := fmt.Errorf("the lease is gone")
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			b := newBackend(t, protocol, answering)
			u := newUpstream(t, Options{}, b.URL())
			for range 3 {
				r := post("op", []byte("body"))
				r.Ready = func() error { return refusal }
				out := send(t, u, r)
				wantNotSent(t, out, CauseNotReady)
				if out.(NotSent).Err != refusal {
					t.Error("the reason is lost")
				}
			}
			wantAnswer(t, send(t, u, post("next", nil)), "done next")
			if got := b.executed("op"); got != 0 || b.heads() != 1 {
				t.Errorf("executed %d times, %d requests arrived", got, b.arrived)
			}
		})
	}
}

// A request that is refused after its connection died, and before it got another, was not sent.
func TestNotReadyAfterAMove(t *testing.T) {
	b := newBackend(t, "http", answering)
	u := newUpstream(t, Options{}, b.URL())
	wantAnswer(t, send(t, u, post("first", nil)), "done first")
	settle(u)
	r := post("op", nil)
	asked := 0
	r.Ready = func() error {
		if asked++; asked == 1 {
			b.last().cut(true)
			return nil
		}
		return fmt.Errorf("no longer")
	}
	wantNotSent(t, send(t, u, r), CauseNotReady)
	if got := b.executed("op"); got != 0 {
		t.Errorf("executed %d times", got)
	}
}

// The deadline passes while the backend works: doubt, and one execution.
func TestDeadline(t *testing.T) {
	for _, protocol := range protocols {
		for _, size := range []int{0, 3} {
			t.Run(fmt.Sprintf("%s/body=%d", protocol, size), func(t *testing.T) {
				b := newBackend(t, protocol, func(e *event) {
					if !strings.HasPrefix(e.op, "op") {
						answering(e)
					}
				})
				u := newUpstream(t, Options{}, b.URL())
				inTime(t, func(deadline time.Duration) bool {
					op := "op within " + deadline.String()
					wantAnswer(t, send(t, u, post("first", nil)), "done first")
					out := sendWithin(t, u, post(op, make([]byte, size)), deadline)
					if b.executed(op) == 0 {
						return false
					}
					wantUnknown(t, out, CauseTimeout)
					if o := out.(Unknown); !o.Timeout || o.Phase != Waiting {
						t.Errorf("timeout %v, phase %v", o.Timeout, o.Phase)
					}
					wantAnswer(t, send(t, u, post("next", nil)), "done next")
					if got := b.executed(op); got != 1 {
						t.Errorf("executed %d times", got)
					}
					return true
				})
			})
		}
	}
}

func TestCancelledIsNoTimeout(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			b := newBackend(t, protocol, func(e *event) {
				if e.op == "op" && e.moment == executed {
					cancel()
				} else {
					answering(e)
				}
			})
			u := newUpstream(t, Options{}, b.URL())
			first, end := context.WithCancel(t.Context())
			wantAnswer(t, u.Send(first, post("first", nil)), "done first")
			end() // this is not the end of what comes later on the same connection
			wantAnswer(t, u.Send(ctx, post("second", nil)), "done second")
			out := u.Send(ctx, post("op", nil))
			wantUnknown(t, out, CauseCancelled)
			if out.(Unknown).Timeout {
				t.Error("reported as a timeout")
			}
		})
	}
}

// ticketed is the server's end of a TLS connection that holds the last record of the server's first flight back, its
// ticket, until it is told.
type ticketed struct {
	net.Conn
	send, sent chan struct{} // nil: nothing is held back
}

func (c *ticketed) Write(flight []byte) (int, error) {
	if c.send == nil {
		return c.Conn.Write(flight)
	}
	last := 0
	for next := 0; next < len(flight); next += 5 + int(binary.BigEndian.Uint16(flight[next+3:])) {
		last = next
	}
	n, err := c.Conn.Write(flight[:last])
	if err != nil {
		return n, err
	}
	<-c.send
	n, err = c.Conn.Write(flight[last:])
	close(c.sent)
	c.send = nil
	return last + n, err
}

// A ticket that comes between the last look at a fresh connection and the first byte costs a connection, and not the
// attempt. (Go's servers send theirs with the handshake, and only to clients that keep them; others' come just behind it.)
func TestATicketThatCrossesARequest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var crossing []*ticketed
	var executed atomic.Int32
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			end := &ticketed{Conn: c}
			mu.Lock()
			if len(crossing) < mostCrossed {
				end.send, end.sent = make(chan struct{}), make(chan struct{})
				crossing = append(crossing, &ticketed{send: end.send, sent: end.sent})
			}
			mu.Unlock()
			work.Go(func() {
				defer c.Close()
				top := tls.Server(end, &tls.Config{Certificates: []tls.Certificate{certificate().cert}, NextProtos: []string{"http/1.1"}})
				if _, err := http.ReadRequest(bufio.NewReader(top)); err == nil {
					executed.Add(1)
					io.WriteString(top, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ndone")
				}
			})
		}
	})
	defer work.Wait()
	defer l.Close()
	u := newUpstream(t, Options{TLS: &tls.Config{RootCAs: certificate().pool, ClientSessionCache: tls.NewLRUClientSessionCache(1)}}, "https://"+l.Addr().String())
	r, looked := post("op", nil), 0
	r.Ready = func() error {
		mu.Lock()
		defer mu.Unlock()
		if looked < len(crossing) {
			close(crossing[looked].send)
			<-crossing[looked].sent
			looked++
		}
		return nil
	}
	wantAnswer(t, sendWithin(t, u, r, 10*time.Second), "done")
	if n := executed.Load(); n != 1 || looked != mostCrossed {
		t.Errorf("executed %d times, after %d tickets", n, looked)
	}
}
