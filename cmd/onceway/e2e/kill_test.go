package e2e

import (
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// intent is what one client wants done once, over all its retries.
type intent struct {
	request rig.Request
	answer  *rig.Answer // the final one, as first seen
	unknown bool        // somebody was told so
}

// pursue sends a request until its outcome is final or unknown. It returns false when the gateway is gone.
func (i *intent) pursue(t *testing.T, at *rig.Gateway) bool {
	for {
		a, err := at.Try(t, i.request)
		if err != nil {
			return false
		}
		switch next := a.Header.Get("Idempotency-Next"); next {
		case "done":
			if i.answer != nil && i.answer.Bytes() != a.Bytes() {
				t.Errorf("the answer was\n%s\nand is\n%s", i.answer.Bytes(), a.Bytes())
			}
			i.answer = a
			return true
		case "reconcile":
			i.unknown = true
			return true
		case "wait", "resend":
		default:
			t.Errorf("%d, next %q: %s", a.Status, next, a.Body)
			return true
		}
	}
}

// load lets clients pursue old and new intents until the gateway at addr is gone. It returns all intents.
func load(t *testing.T, addr string, old []*intent, clients int, answered chan<- struct{}) []*intent {
	var mu sync.Mutex
	all, next := slices.Clone(old), 0
	take := func() *intent {
		mu.Lock()
		defer mu.Unlock()
		if next == len(all) {
			all = append(all, &intent{request: rig.Request{Key: newKey(), Body: "a"}})
		}
		next++
		return all[next-1]
	}
	at := &rig.Gateway{Addr: addr}
	var working sync.WaitGroup
	for range clients {
		working.Go(func() {
			for take().pursue(t, at) {
				answered <- struct{}{}
			}
		})
	}
	working.Wait()
	return all
}

// settledAs checks at the end what every intent came to against the ledger.
func settledAs(t *testing.T, g *rig.Gateway, b *ledger.Backend, all []*intent) {
	t.Helper()
	final, unknown := 0, 0
	for _, i := range all {
		key, seen := i.request.Key, i.answer
		if !i.pursue(t, g) {
			t.Fatal("the gateway is gone")
		}
		r := g.Get(t, recordPath(key)).Record(t)
		switch {
		case i.answer != nil && r.State == "completed":
			final++
		case r.State == "unknown" && seen == nil && i.unknown:
			unknown++
		default:
			t.Errorf("%s: the record is %s, answered before: %v", key, r.State, seen != nil)
		}
	}
	effects := map[string]int{}
	for _, e := range b.Of(t, ledger.Effect, "") {
		effects[e.Key]++
	}
	for _, i := range all {
		n := effects[i.request.Key]
		if n > 1 || n == 0 && i.answer != nil {
			t.Errorf("%s was executed %d times, answered: %v", i.request.Key, n, i.answer != nil)
		}
	}
	t.Logf("%d operations, %d final, %d unknown", len(all), final, unknown)
	if final == 0 {
		t.Error("nothing was answered")
	}
}

// Killed again and again under load, a gateway executes nothing twice and loses no answer that it gave.
func TestOurselvesKill9UnderLoad(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		b := ledger.Start(t)
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "lease: 1s\nlog: {access: false}"})
		var all []*intent
		for range 8 {
			answered, done := make(chan struct{}, 1<<20), make(chan []*intent, 1)
			go func(old []*intent) { done <- load(t, g.Addr, old, 6, answered) }(all)
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
				answer := g.Go(t, r)
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
