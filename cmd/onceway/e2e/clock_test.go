package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// clock is the wall clock of gateways that are built for it.
type clock struct{ path string }

func newClock(t *testing.T) clock {
	c := clock{filepath.Join(t.TempDir(), "clock")}
	c.set(t, "0s")
	return c
}

// set makes the clock wrong by so much from now on.
func (c clock) set(t *testing.T, offset string) {
	t.Helper()
	if err := os.WriteFile(c.path+".new", []byte(offset), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(c.path+".new", c.path); err != nil {
		t.Fatal(err)
	}
}

// A wall clock that jumps by an hour, either way, while requests run, before a restart and after a crash:
// nothing is executed twice, no answer is lost, and no lease lapses.
func TestOurselvesWallClock(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		b, c := ledger.Start(t), newClock(t)
		g := rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{b.URL()}, Extra: "lease: 2s", Upstream: patient,
			Tags: "onceway_testclock", Env: []string{"ONCEWAY_TEST_CLOCK=" + c.path},
		})
		settled := rig.Request{Key: newKey(), Body: "a"}
		first := insist(t, g, settled)
		first.Is(t, executed)
		for _, to := range []string{"1h", "-1h", "1h", "0s"} {
			running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, After: newKey()}}
			answer := resent(t, g, running)
			b.Await(t, running.Script.After, 1)
			c.set(t, to)
			again := running
			again.Header = rig.Header("Prefer", "wait=0")
			if a := g.Do(t, again); a.Status != 409 {
				t.Errorf("while it runs, a duplicate gets %d", a.Status)
			}
			fresh := rig.Request{Key: newKey(), Body: "a"}
			insist(t, g, fresh).Is(t, executed)
			g.Do(t, fresh).Is(t, replayed)
			b.Open(t, running.Script.After)
			if a := <-answer; a == nil {
				t.Fatal("no answer")
			} else {
				a.Is(t, with(executed, 201))
			}
			g.Do(t, running).Is(t, with(replayed, 201))
			wantEffects(t, b, running.Key, 1)
			if a := g.AdminGet(t, "/readyz"); a.Status != 200 {
				t.Errorf("after a jump to %s: %s", to, a.Body)
			}
		}
		if !strings.HasPrefix(dsn, "sqlite:") {
			var leases int
			if err := connect(t, dsn).QueryRow(t.Context(), "SELECT count(*) FROM instances").Scan(&leases); err != nil || leases != 1 {
				t.Errorf("%d leases, error %v", leases, err)
			}
		}

		lost := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
		resent(t, g, lost)
		b.Await(t, lost.Script.After, 1)
		g.Kill(t)
		for _, to := range []string{"-1h", "1h"} {
			c.set(t, to)
			g.Start(t)
			wantState(t, g, lost.Key, "unknown", 1)
			g.Do(t, lost).Is(t, stillUnknown)
			if a := g.Do(t, settled); a.Bytes() != first.Bytes() {
				t.Errorf("the answer of before is now %s", a.Bytes())
			}
			g.Kill(t)
		}
		wantEffects(t, b, lost.Key, 1)
		wantEffects(t, b, settled.Key, 1)
	})
}
