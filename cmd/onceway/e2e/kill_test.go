package e2e

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// Killed again and again under load, a gateway executes nothing twice and loses no answer that it gave.
func TestOurselvesKill9UnderLoad(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		b := ledger.Start(t)
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "lease: 1s\nlog: {access: false}"})
		var all []*intent
		for range 8 {
			answered, done := make(chan struct{}, 1<<20), make(chan []*intent, 1)
			go func(old []*intent) { done <- load(t, []string{g.Addr}, old, 6, answered, nil) }(all)
			for range len(all) + rand.N(80) { // old intents are pursued first
				<-answered
			}
			g.Kill(t)
			all = <-done
			g.Start(t)
		}
		settledAs(t, g, b, all)
	})
}

// Killed with requests at each step of their way, a gateway comes back to records that say what the
// ledger says, or that nobody knows.
func TestOurselvesKill9AtEachStep(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		for step, c := range map[string]struct {
			script       ledger.Script
			stall        bool
			state        string
			effects, end int // now; once the gateway is back and has been asked again
		}{
			"claimed, nothing sent":    {stall: true, state: "unknown"},
			"sent, not executed":       {script: ledger.Script{Before: newKey()}, state: "unknown", end: 1},
			"executed, not answered":   {script: ledger.Script{After: newKey()}, state: "unknown", effects: 1, end: 1},
			"half of the answer there": {script: ledger.Script{Pieces: []string{"a", "b"}, Gates: []string{newKey()}}, state: "unknown", effects: 1, end: 1},
		} {
			t.Run(step, func(t *testing.T) {
				t.Parallel()
				b := ledger.Start(t)
				config := rig.Config{Targets: []string{b.URL()}, Extra: "lease: 1s", Upstream: patient}
				if !strings.HasPrefix(dsn, "sqlite:") {
					config.Store = dsn
				}
				reached := func() {
					for _, gate := range append(c.script.Gates, c.script.Before, c.script.After) {
						if gate != "" {
							b.Await(t, gate, 1)
						}
					}
				}
				if c.stall {
					target, relay, _ := stalled(t, b)
					config.Targets = []string{target}
					reached = func() { relay.Conn(0).Up.Wait(1) }
				}
				g := rig.Serve(t, config)
				r := rig.Request{Key: newKey(), Body: "a", Script: c.script}
				answer := resent(t, g, r)
				reached()
				g.Kill(t)
				if a := <-answer; a != nil {
					t.Errorf("answered %d", a.Status)
				}
				if n := b.Effects(t, r.Key); n != c.effects {
					t.Errorf("%d effects", n)
				}
				g.Start(t)
				wantState(t, g, r.Key, c.state, 1)
				g.Do(t, r).Is(t, stillUnknown)
				for _, gate := range append(c.script.Gates, c.script.Before, c.script.After) {
					if gate != "" {
						b.Open(t, gate)
					}
				}
				g.Until(t, "the backend has done what it was going to do", func() bool { return b.Effects(t, r.Key) == c.end })
				g.Do(t, r).Is(t, stillUnknown)
				wantEffects(t, b, r.Key, c.end)
			})
		}
	})
}
