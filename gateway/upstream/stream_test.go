package upstream

import (
	"fmt"
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
