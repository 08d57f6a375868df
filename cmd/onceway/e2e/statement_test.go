package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// breakage is what happens to one statement between the gateway and Postgres.
type breakage struct {
	name     string
	up, down nemesis.Flow
	late     bool // up is held until the gateway has given up
	healed   bool // the server gets rid of the connection when the gateway has given up
}

// breakages returns the faults of a message of a size: cut at many points of the way there, also just
// before its last message, which commits; processed, and cut on the way back; swallowed there or back;
// delivered after its sender gave up.
func breakages(size int) []breakage {
	all := []breakage{
		{name: "reset after processing", down: nemesis.Flow{Fault: nemesis.CutRST}},
		{name: "closed after processing", down: nemesis.Flow{Fault: nemesis.CutFIN}},
		{name: "reset in the answer", down: nemesis.Flow{After: 40, Fault: nemesis.CutRST}},
		{name: "answer swallowed", down: nemesis.Flow{Fault: nemesis.Swallow}},
		{name: "answer frozen", down: nemesis.Flow{After: 10, Fault: nemesis.Freeze}},
		{name: "statement swallowed", up: nemesis.Flow{Fault: nemesis.Swallow}},
		{name: "statement late", up: nemesis.Flow{Fault: nemesis.Hold}, late: true},
	}
	const sync = 5 // bytes of the message that ends the transaction
	for _, after := range []int{0, 1, size / 4, size / 2, size * 3 / 4, size - sync} {
		all = append(all, breakage{name: fmt.Sprintf("reset after %d of %d bytes", after, size), up: nemesis.Flow{After: int64(after), Fault: nemesis.CutRST}})
	}
	// The server has the row locked, and waits for the end of the transaction.
	before := int64(size - sync)
	return append(all, breakage{name: "commit late", up: nemesis.Flow{After: before, Fault: nemesis.Hold}, late: true},
		breakage{name: "frozen before the commit", up: nemesis.Flow{After: before, Fault: nemesis.Freeze}, healed: true})
}

// relayed is a gateway whose store is behind a relay, and another one that has a straight way to it.
func relayed(t *testing.T, b *ledger.Backend, extra string) (g, other *rig.Gateway, _ *nemesis.Relay) {
	t.Helper()
	cluster := pgtest.NewCluster(t, pgtest.Config{TCP: true})
	direct, err := url.Parse(cluster.NewDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	relay, err := nemesis.Listen(fmt.Sprintf("127.0.0.1:%d", cluster.Port), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	c := rig.Config{Store: cluster.TCPDSN(direct.Path[1:]), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nlease: 60s"}
	other = rig.New(t, c)
	other.Revive(t) // a second may be too short to find the store
	c.Store = strings.Replace(c.Store, fmt.Sprintf("127.0.0.1:%d", cluster.Port), relay.Addr(), 1)
	c.Extra += "\n" + extra
	g = rig.New(t, c)
	g.Revive(t)
	return g, other, relay
}

// A statement whose outcome nobody knows: nothing executes twice, nothing hangs, nothing that was told is
// taken back, and every record ends with its answer.
func TestStatementOutcomeUnknown(t *testing.T) {
	t.Parallel()
	for _, spool := range []bool{false, true} {
		extra := ""
		if spool {
			extra = "spool: spool"
		}
		t.Run(fmt.Sprintf("spool %v", spool), func(t *testing.T) {
			t.Parallel()
			b := ledger.Start(t)
			g, other, relay := relayed(t, b, extra)
			for _, window := range []string{"claim", "completion"} {
				t.Run(window, func(t *testing.T) {
					run := func(f breakage) (trap *nemesis.Trap) {
						release := make(chan struct{})
						f.up.Release = release
						var r rig.Request
						var first *rig.Answer
						g.Until(t, f.name+": the fault strikes", func() bool {
							r = rig.Request{Key: newKey(), Body: "a"}
							r.Script.Body = ledger.Text("made by " + r.Key)
							trap = &nemesis.Trap{Mark: []byte(r.Key), Up: f.up, Down: f.down}
							if window == "completion" {
								trap.Mark = []byte(*r.Script.Body)
							}
							sprung := relay.Set(trap)
							first = g.Do(t, r)
							return isClosed(sprung) // or the second was over before, as it may be on a busy machine
						})
						switch {
						case f.late:
							close(release)
						case f.healed:
							for range 2 { // until then others wait no longer than they should, and execute nothing
								if a := g.Do(t, r); a.Status == 200 && first.Status != 200 {
									t.Errorf("%s: the answer is %d %s", f.name, a.Status, a.Body)
								}
							}
							trap.Cut()
						}
						afterBrokenStatement(t, g, other, b, r, first, f, window, spool)
						return trap
					}
					size := run(breakage{name: "none"}).Size()
					for _, f := range breakages(size) {
						run(f)
					}
				})
			}
			if spool {
				g.Until(t, "the spool is empty", func() bool { return spoolOf(t, g).Depth == 0 })
			}
		})
	}
}

// afterBrokenStatement checks what the first caller was told, and what becomes of its operation.
func afterBrokenStatement(t *testing.T, g, other *rig.Gateway, b *ledger.Backend, r rig.Request, first *rig.Answer, f breakage, window string, spool bool) {
	t.Helper()
	told := first.Status == 200
	switch {
	case told:
		first.Is(t, executed)
	case window == "claim":
		first.Is(t, noStore)
		if n := len(b.Of(t, ledger.Begin, r.Key)); n != 0 {
			t.Errorf("%s: %d requests were sent without a claim", f.name, n)
		}
	case spool:
		t.Errorf("%s: with a spool the answer is %d %s", f.name, first.Status, first.Body)
	default:
		first.Is(t, doubted)
	}
	var again *rig.Answer
	g.Until(t, f.name+": the operation is executed", func() bool {
		again = other.Do(t, r)
		return again.Status == 200
	})
	if told {
		want := replayed
		if again.Header.Get("Idempotency-State") == "attached" {
			want.State = "attached" // the other gateway has seen it executing
		}
		again.Is(t, want)
		if again.Bytes() != first.Bytes() {
			t.Errorf("%s: told\n%s\nand then\n%s", f.name, first.Bytes(), again.Bytes())
		}
	}
	for _, gateway := range []*rig.Gateway{g, other} {
		wantState(t, gateway, r.Key, "completed", record(t, gateway, r.Key).Attempts)
		if now := gateway.Do(t, r); now.Bytes() != again.Bytes() {
			t.Errorf("%s: told\n%s\nand then\n%s", f.name, again.Bytes(), now.Bytes())
		}
	}
	wantEffects(t, b, r.Key, 1)
}
