package e2e

import (
	"slices"
	"sync"
	"testing"
	"time"

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
	for ; ; time.Sleep(10 * time.Millisecond) { // as a client does that is refused
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

// load lets clients pursue old and new intents, at one of several gateways each, until that is gone or stop
// is closed. It returns all intents.
func load(t *testing.T, addresses []string, old []*intent, clients int, answered chan<- struct{}, stop <-chan struct{}) []*intent {
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
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var working sync.WaitGroup
	for i := range clients {
		at := &rig.Gateway{Addr: addresses[i%len(addresses)]}
		working.Go(func() {
			for !stopped() && take().pursue(t, at) {
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
		var r rig.Record
		// On a busy machine the owner's proof that it sent nothing may come after somebody was told of doubt:
		// then a retry executes it.
		for range 3 {
			if !i.pursue(t, g) {
				t.Fatal("the gateway is gone")
			}
			if r = g.Get(t, recordPath(key)).Record(t); r.State != "not_executed" {
				break
			}
		}
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

// under runs a load on gateways while disturb does its worst, and checks all that came of it. Progress
// returns when n more intents have had an answer.
func under(t *testing.T, b *ledger.Backend, gateways []*rig.Gateway, disturb func(progress func(n int))) {
	t.Helper()
	answered, stop, done := make(chan struct{}, 1<<20), make(chan struct{}), make(chan []*intent, 1)
	var addresses []string
	for _, g := range gateways {
		addresses = append(addresses, g.Addr)
	}
	go func() { done <- load(t, addresses, nil, 8, answered, stop) }()
	progress := func(n int) {
		for range n {
			select {
			case <-answered:
			case <-time.After(time.Minute):
				t.Error("nothing is answered for a minute")
				return
			}
		}
	}
	progress(20)
	disturb(progress)
	progress(20)
	close(stop)
	all := <-done
	for _, g := range gateways {
		g.AwaitReady(t)
	}
	settledAs(t, gateways[0], b, all)
	// Whatever is told by one is told by all.
	for _, i := range all[:min(20, len(all))] {
		for _, g := range gateways[1:] {
			if !i.pursue(t, g) {
				t.Error("the gateway is gone")
			}
		}
	}
}
