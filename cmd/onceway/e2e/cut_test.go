package e2e

import (
	"strings"
	"sync"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

var wholeReplies = map[string]struct{ reply, body string }{
	"length":   {"HTTP/1.1 201 Created\r\nContent-Length: 13\r\nLocation: /o/1\r\n\r\n{\"order\": 17}", `{"order": 17}`},
	"chunked":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
	"trailers": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "hello"},
	"empty":    {"HTTP/1.1 204 No Content\r\nX-Order: 17\r\n\r\n", ""},
}

// A reply that is cut anywhere is never taken for an answer, and the operation is never executed again.
func TestBackendCutAtEveryByteOfItsReply(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "log: {access: false}"})
	for name, whole := range wholeReplies {
		for how, fate := range map[string]ledger.Fate{"fin": ledger.Close, "rst": ledger.Reset} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				keys := make([]string, len(whole.reply)+1)
				workers(4, len(keys), func(n int) {
					keys[n] = newKey()
					r := rig.Request{Key: keys[n], Body: "a", Script: ledger.Script{Raw: whole.reply[:n], Then: fate}}
					first := g.Do(t, r)
					if n < len(whole.reply) {
						first.Is(t, doubted)
						g.Do(t, r).Is(t, stillUnknown)
						wantState(t, g, r.Key, "unknown", 1)
						return
					}
					// The reset overtook the reply; or it was written to the connection of a whole reply, see below.
					if first.Status == 502 && (fate == ledger.Reset || b.Effects(t, r.Key) == 0) {
						first.Is(t, doubted)
						return
					}
					first.Is(t, rig.Want{Status: first.Status, State: "executed", Next: "done"})
					again := g.Do(t, r)
					if first.Body != whole.body || again.Bytes() != first.Bytes() {
						t.Errorf("answered %q, then %q", first.Body, again.Body)
					}
				})
				counts := map[string]int{}
				for _, e := range b.Of(t, ledger.Effect, "") {
					counts[e.Key]++
				}
				lost := 0
				for n, key := range keys {
					switch counts[key] {
					case 1:
					case 0:
						lost++
					default:
						t.Errorf("cut after %d bytes: %d executions", n, counts[key])
					}
				}
				// The connection of a whole reply is closed as well, and the next request may be written to
				// it before that is known here: nobody can say then that it was not executed.
				if lost > len(keys)/10 {
					t.Errorf("%d of %d requests never arrived", lost, len(keys))
				}
			})
		}
	}
}

// The same over HTTP/2, where the cut falls into frames.
func TestBackendCutAtEveryByteOverHTTP2(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	for how, fault := range map[string]nemesis.Fault{"fin": nemesis.CutFIN, "rst": nemesis.CutRST} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			relay, err := nemesis.Listen(b.Address(), func(i int) nemesis.Plan {
				return nemesis.Plan{Down: nemesis.Flow{After: int64(i), Fault: fault}}
			})
			if err != nil {
				t.Fatal(err)
			}
			defer relay.Close()
			g := rig.Serve(t, rig.Config{Targets: []string{"h2c://" + relay.Addr()}, Extra: "log: {access: false}"})
			s := ledger.Script{Status: 201, Body: ledger.Text("created"), Chunked: true, Header: map[string][]string{"Date": nil}}
			cut, final := 0, false
			for cut < 2000 && !final {
				r := rig.Request{Key: newKey(), Body: "a", Script: s}
				a := g.Do(t, r)
				if n := b.Effects(t, r.Key); n > 1 {
					t.Fatalf("%d executions", n)
				}
				switch a.Status {
				case 201:
					a.Is(t, with(executed, 201))
					if a.Body != "created" {
						t.Errorf("cut after %d bytes: %q is final", cut, a.Body)
					}
					g.Do(t, r).Is(t, with(replayed, 201))
					final = true
				case 503:
					// The connection died before a stream was made on it.
					a.Is(t, notReached)
					if b.Effects(t, r.Key) != 0 {
						t.Error("executed, and the gateway says it was not")
					}
				default:
					a.Is(t, doubted)
					g.Do(t, r).Is(t, stillUnknown)
				}
				cut = relay.Accepted()
			}
			if !final || cut < len("created") {
				t.Errorf("after %d cuts: whole answer %v", cut, final)
			}
		})
	}
}

// Replies whose end nobody can prove, or that are no replies.
func TestRepliesThatProveNothing(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	for name, raw := range map[string]string{
		"close-delimited":     "HTTP/1.1 200 OK\r\n\r\nsome",
		"HTTP/1.0":            "HTTP/1.0 200 OK\r\n\r\nsome",
		"two lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nsome",
		"no number":           "HTTP/1.1 200 OK\r\nContent-Length: four\r\n\r\nsome",
		"garbage":             "hello\r\n\r\n",
		"nothing but 1xx":     strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 3),
		"101 unasked":         "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
		"bad chunk":           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nsome\r\n0\r\n\r\n",
		"head without an end": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20000),
	} {
		t.Run(name, func(t *testing.T) {
			key := newKey()
			r := rig.Request{Key: key, Body: "a", Script: ledger.Script{Raw: raw}}
			g.Do(t, r).Is(t, doubted)
			g.Do(t, r).Is(t, stillUnknown)
			wantEffects(t, b, key, 1)
		})
	}
	t.Run("two replies", func(t *testing.T) {
		// The second one must never become the answer of the next request.
		one := "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
		r := rig.Request{Key: newKey(), Script: ledger.Script{Raw: one + "one" + one + "two"}}
		a := g.Do(t, r)
		a.Is(t, executed)
		next := g.Do(t, rig.Request{Key: newKey(), Script: ledger.Script{Body: ledger.Text("three")}})
		next.Is(t, executed)
		if a.Body != "one" || next.Body != "three" {
			t.Errorf("answers %q and %q", a.Body, next.Body)
		}
	})
}

// workers calls do with 0 to n-1, a few at a time.
func workers(many, n int, do func(i int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range many {
		all.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}
