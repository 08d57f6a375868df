package e2e

import (
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// What was answered is answered again after the gateway was killed.
func TestRestartThenReplay(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, Header: map[string][]string{"Location": {"/orders/1"}, "X-Many": {"a", "b"}}}}
		first := g.Do(t, r)
		first.Is(t, with(executed, 201))
		for range 2 {
			g.Kill(t)
			g.Start(t)
			again := g.Do(t, r)
			again.Is(t, with(replayed, 201))
			if again.Bytes() != first.Bytes() {
				t.Errorf("after a restart:\n%s\nbefore:\n%s", again.Bytes(), first.Bytes())
			}
		}
		wantEffects(t, b, r.Key, 1)
	})
}

// A gateway that is killed while the backend works leaves an operation that nobody knows the outcome
// of, and that nobody executes again.
func TestKilledWhileTheBackendWorks(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "lease: 2s"})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
		answer := resent(t, g, r)
		b.Await(t, r.Script.After, 1)
		g.Kill(t)
		if a := <-answer; a != nil {
			t.Errorf("a killed gateway answered %d", a.Status)
		}
		g.Start(t)
		wantState(t, g, r.Key, "unknown", 1)
		for range 2 {
			g.Do(t, r).Is(t, stillUnknown)
		}
		b.Open(t, r.Script.After)
		g.Do(t, r).Is(t, stillUnknown)
		wantEffects(t, b, r.Key, 1)
	})
}
