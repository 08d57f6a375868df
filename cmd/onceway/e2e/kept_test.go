package e2e

import (
	"fmt"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

// wires are the protocols that a backend may speak.
var wires = []struct {
	name   string
	proto  string
	target func(*ledger.Backend) string
}{
	{"http1", "HTTP/1.1", (*ledger.Backend).URL},
	{"h2c", "HTTP/2.0", (*ledger.Backend).H2C},
	{"tls", "HTTP/2.0", (*ledger.Backend).TLS},
}

func eachWire(t *testing.T, test func(t *testing.T, b *ledger.Backend, g *rig.Gateway, proto string)) {
	for _, w := range wires {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			b := ledger.Start(t)
			g := rig.Serve(t, rig.Config{
				Targets: []string{w.target(b)}, Env: []string{"SSL_CERT_FILE=" + b.CA()},
				Routes:    "  - {name: slow, match: {path: /slow/**}, upstream: hasty}",
				Upstreams: fmt.Sprintf("  hasty: {targets: [%s], timeout: 700ms}", w.target(b)),
			})
			test(t, b, g, w.proto)
		})
	}
}

// A kept-alive connection that dies after the execution is where clients with a pool send again.
// With and without a body, over every protocol: one request, one execution, and nobody knows.
func TestKeptAliveConnectionDiesAfterExecution(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *ledger.Backend, g *rig.Gateway, proto string) {
		for _, body := range []string{"", "amount=1"} {
			for _, fate := range []ledger.Fate{ledger.Close, ledger.Reset, ledger.ResetStream} {
				t.Run(fmt.Sprintf("%s, %d bytes", fate, len(body)), func(t *testing.T) {
					reused := false
					for try := 0; try < 100 && !reused; try++ {
						warm := rig.Request{Key: newKey(), Body: body}
						g.Do(t, warm).Is(t, executed)
						r := rig.Request{Key: newKey(), Body: body, Script: ledger.Script{Then: fate}}
						g.Do(t, r).Is(t, doubted)
						wantState(t, g, r.Key, "unknown", 1)
						g.Do(t, r).Is(t, stillUnknown)
						wantEffects(t, b, r.Key, 1)
						last, victim := only(t, b, ledger.Begin, warm.Key), only(t, b, ledger.Begin, r.Key)
						if victim.Proto != proto {
							t.Fatalf("the backend was spoken to in %s", victim.Proto)
						}
						reused = last.Conn == victim.Conn
					}
					if !reused {
						t.Error("no connection was ever used twice, so that nothing was tested")
					}
				})
			}
		}
	})
}

// A backend that executes and never answers is cut off in time.
func TestBackendThatNeverAnswers(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *ledger.Backend, g *rig.Gateway, proto string) {
		var r rig.Request
		var a *rig.Answer
		g.Until(t, "the backend has read all of a request in time", func() bool {
			r, a = inTime(t, g, b, func() rig.Request {
				return rig.Request{Path: "/slow/", Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Hang}}
			})
			return b.Effects(t, r.Key) > 0
		})
		a.Is(t, timedOut)
		wantState(t, g, r.Key, "unknown", 1)
		g.Do(t, r).Is(t, stillUnknown)
		wantEffects(t, b, r.Key, 1)
		g.Until(t, "the backend sees the end", func() bool { return len(b.Of(t, ledger.Stopped, r.Key)) == 1 })
	})
}

func TestBackendDiesAfterTheEffect(t *testing.T) {
	t.Parallel()
	eachWire(t, func(t *testing.T, b *ledger.Backend, g *rig.Gateway, proto string) {
		g.Do(t, rig.Request{Key: newKey()}).Is(t, executed)
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Die}}
		g.Do(t, r).Is(t, doubted)
		g.Do(t, r).Is(t, stillUnknown)
		wantEffects(t, b, r.Key, 1)
		<-b.Exited() // its connections end before its listener
		g.Do(t, rig.Request{Key: newKey()}).Is(t, notReached)
	})
}

// A connection that died while it was idle costs nothing: the request moves to a fresh one.
func TestIdleConnectionDies(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	for _, scheme := range []string{"http", "h2c"} {
		t.Run(scheme, func(t *testing.T) {
			relay, err := nemesis.Listen(b.Address(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer relay.Close()
			g := rig.Serve(t, rig.Config{Targets: []string{scheme + "://" + relay.Addr()}})
			for i := range 8 {
				g.Do(t, rig.Request{Key: newKey(), Body: "a"}).Is(t, executed)
				for n := range relay.Accepted() {
					relay.Conn(n).Cut(i%2 == 0)
				}
				r := rig.Request{Key: newKey(), Body: "a"}
				a := g.Do(t, r)
				// Only HTTP/1.1 can prove that nothing was written to the dead connection.
				if scheme == "h2c" && a.Status == 502 {
					a.Is(t, doubted)
					if n := b.Effects(t, r.Key); n > 1 {
						t.Errorf("%d executions", n)
					}
					continue
				}
				a.Is(t, executed)
				wantEffects(t, b, r.Key, 1)
			}
		})
	}
}
