package upstream

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
)

// A request that got no stream was not sent, whatever it was that took the connection away between its
// reservation and its head, and moves to a fresh connection.
func TestARequestWithoutAStreamMoves(t *testing.T) {
	gone := map[string]func(e *event){
		"GOAWAY": func(e *event) { e.answer.(answer2).WriteGoAway(1<<31-1, http2.ErrCodeNo, nil) },
		"fin":    func(e *event) { e.cut(false) },
		"rst":    func(e *event) { e.cut(true) },
	}
	for _, protocol := range []string{"h2c", "h2"} {
		for name, strike := range gone {
			for _, size := range []int{0, 3, 100_000} {
				t.Run(fmt.Sprintf("%s/%s/body=%d", protocol, name, size), func(t *testing.T) {
					first := make(chan *event, 1)
					b := newBackend(t, protocol, func(e *event) {
						answering(e)
						if e.n == 0 && e.moment == executed {
							first <- e // and nothing else is written on this connection
						}
					})
					w := &watcher{}
					u := newUpstream(t, Options{Observer: w}, b.URL())
					wantAnswer(t, send(t, u, post("first", nil)), "done first")
					settleStream(u)
					r := post("op", make([]byte, size))
					asked := 0
					r.Ready = func() error {
						if asked++; asked == 1 {
							strike(<-first)
							shared := u.targets[0].shared[0]
							for shared.Available() > 0 { // until net/http has heard of it
								runtime.Gosched()
							}
						}
						return nil
					}
					wantAnswer(t, send(t, u, r), "done op")
					if b.executed("op") != 1 || b.heads() != 2 || w.moves() != 1 || asked != 2 {
						t.Errorf("executed %d times, %d heads arrived, moved %d times, asked %d times", b.executed("op"), b.heads(), w.moves(), asked)
					}
				})
			}
		}
	}
}

// A backend that takes its connections out of service, and serves what has arrived on them, leaves nobody in doubt:
// each head that arrives is an answer, and who got no stream knows it.
func TestGracefulGoAwayUnderLoad(t *testing.T) {
	const workers, each = 16, 40
	for _, protocol := range []string{"h2c", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			b := newBackend(t, protocol, func(e *event) {
				answering(e)
				if a := e.answer.(answer2); e.moment == executed && a.stream == 21 {
					a.WriteGoAway(a.stream+1000, http2.ErrCodeNo, nil)
				}
			})
			u := newUpstream(t, Options{}, b.URL())
			var all sync.WaitGroup
			var answered atomic.Int64
			for w := range workers {
				all.Go(func() {
					for i := range each {
						op := fmt.Sprintf("op %d of %d", i, w)
						switch out := send(t, u, post(op, []byte("body"))).(type) {
						case Answered:
							answered.Add(1)
							if got := b.executed(op); got != 1 {
								t.Errorf("%s is answered and was executed %d times", op, got)
							}
						case NotSent:
							if got := b.executed(op); got != 0 {
								t.Errorf("%s is %s and was executed %d times", op, describe(out), got)
							}
						case Unknown:
							t.Errorf("%s is %s and was executed %d times", op, describe(out), b.executed(op))
						}
					}
				})
			}
			all.Wait()
			if got := b.heads(); int64(got) != answered.Load() {
				t.Errorf("%d answers to %d heads", answered.Load(), got)
			}
			t.Logf("%d answers over %d connections", answered.Load(), b.connections())
		})
	}
}

// Requests that come at once to a cold target keep to the streams that it admits, from the first one on.
func TestTheFirstSettingsCount(t *testing.T) {
	const limit, requests = 2, 20
	for _, protocol := range []string{"h2c", "h2"} {
		var mu sync.Mutex
		open, most := map[*tcpEnd]int{}, 0
		b := newBackend(t, protocol, func(e *event) {
			mu.Lock()
			if e.moment == headRead {
				open[e.tcpEnd]++
			} else {
				open[e.tcpEnd]--
			}
			most = max(most, open[e.tcpEnd])
			mu.Unlock()
			answering(e)
		})
		b.settings = []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: limit}}
		u := newUpstream(t, Options{}, b.URL())
		var all sync.WaitGroup
		for range requests {
			all.Go(func() {
				// Longer than what may be sent before the backend has read of it: the stream stays open for a while.
				if out, ok := send(t, u, post("op", make([]byte, 100_000))).(Answered); !ok {
					t.Error(describe(out))
				}
			})
		}
		all.Wait()
		if most > limit || b.executed("op") != requests {
			t.Errorf("%s: %d streams at once, executed %d times", protocol, most, b.executed("op"))
		}
	}
}

// A connection that ends, or says GOAWAY, before it has carried anything was none.
func TestAConnectionThatNeverBegins(t *testing.T) {
	greetings := map[string]func(f *http2.Framer){
		"nothing":               func(*http2.Framer) {},
		"GOAWAY":                func(f *http2.Framer) { f.WriteSettings(); f.WriteGoAway(0, http2.ErrCodeNo, []byte("of a request")) },
		"GOAWAY alone":          func(f *http2.Framer) { f.WriteGoAway(0, http2.ErrCodeNo, []byte("of a request")) },
		"SETTINGS of no stream": func(f *http2.Framer) { f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams}) },
	}
	for name, greet := range greetings {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			var heads atomic.Int64
			serving.Go(func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
				f := http2.NewFramer(c, c)
				greet(f)
				for name != "nothing" {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					if _, ok := frame.(*http2.HeadersFrame); ok {
						heads.Add(1)
					}
				}
			})
			t.Cleanup(serving.Wait)
			t.Cleanup(func() { l.Close() })
			w := &watcher{}
			u := newUpstream(t, Options{Observer: w}, "h2c://"+l.Addr().String())
			out := send(t, u, post("op", []byte("body")))
			for _, err := range w.said {
				if err != nil && err != errNoHTTP2 && !isNetError(err) {
					t.Errorf("the observer was told %v", err)
				}
			}
			if name == "GOAWAY" {
				// It may come behind the reservation, and the next connection is not taken.
				if n, ok := out.(NotSent); !ok || n.Cause != CauseDialFailed && n.Cause != CauseZeroBytes {
					// Or behind the head: no proof.
					if _, ok := out.(Unknown); !ok || heads.Load() == 0 {
						t.Error(describe(out))
					}
				}
				return
			}
			wantNotSent(t, out, CauseDialFailed)
			if heads.Load() > 0 {
				t.Error("a request arrived")
			}
		})
	}
}
