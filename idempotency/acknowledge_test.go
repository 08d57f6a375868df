package idempotency_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func (g *gateway) acknowledge(t *testing.T, r idempotency.Request, want idempotency.State) {
	t.Helper()
	rec, err := g.engine.Acknowledge(t.Context(), r.ID)
	if err != nil || rec.State != want {
		t.Errorf("%v, %v; want %v", rec.State, err, want)
	}
	if want == idempotency.Forgotten && (rec.Response == nil || rec.Response.Replayable || rec.Response.Digest != answer("made").Digest) {
		t.Errorf("what is left of the answer: %+v", rec.Response)
	}
}

func TestAcknowledge(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.acknowledge(t, request("unseen"), idempotency.Unseen)
		g.cancel(t, request("cancelled"), false)
		g.acknowledge(t, request("cancelled"), idempotency.Cancelled)
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.acknowledge(t, request("order"), idempotency.Executing)
		x.Complete(answer("made"))
		g.begin(t, request("order"), idempotency.Replay)
		for range 2 {
			g.acknowledge(t, request("order"), idempotency.Forgotten)
			g.begin(t, request("order"), idempotency.NoBody)
		}
		if _, ok := g.cache.Get(request("order").ID); ok {
			t.Error("the content is still in the cache")
		}
	})
}

// The other gateway forgets within a minute, whatever it has in its cache.
func TestAcknowledgedElsewhere(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		a.begin(t, request("order"), idempotency.Granted).Execution.Complete(answer("made"))
		b.begin(t, request("order"), idempotency.Replay)
		a.acknowledge(t, request("order"), idempotency.Forgotten)
		time.Sleep(time.Minute)
		b.begin(t, request("order"), idempotency.NoBody)
	})
}

// Somebody has read the record before it was acknowledged, and caches it only afterwards.
func TestAcknowledgedContentDoesNotComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		g.begin(t, request("order"), idempotency.Granted).Execution.Complete(answer("made"))
		release := make(chan struct{})
		g.store.set(func(s *faulty) { s.found = func() { <-release } })
		late := make(chan idempotency.Record)
		go func() {
			rec, _ := g.engine.Find(t.Context(), request("order").ID)
			late <- rec
		}()
		synctest.Wait()
		g.store.set(func(s *faulty) { s.found = nil })
		g.acknowledge(t, request("order"), idempotency.Forgotten)
		close(release)
		if rec := <-late; rec.State != idempotency.Completed {
			t.Fatalf("read %v", rec.State)
		}
		g.begin(t, request("order"), idempotency.NoBody)
		if _, ok := g.cache.Get(request("order").ID); ok {
			t.Error("the content is in the cache again")
		}
	})
}
