package idempotency_test

import (
	"context"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// askable is a store with another way to read.
type askable struct {
	*faulty
	asked int
}

func (s *askable) Ask(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	s.asked++
	return s.Model.Find(ctx, ids)
}

// Whoever only asks is served by Ask, and never by what requests need; and these never by Ask.
func TestWhoAsks(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		store := &askable{faulty: g.store}
		e := idempotency.NewEngine(store, g.committer, g.lease, g.cache)
		made, never := request("made"), request("never")
		d, err := e.Begin(t.Context(), made)
		if err != nil {
			t.Fatal(err)
		}
		d.Execution.Complete(answer("made"))
		all := func(idempotency.Record) bool { return true }
		for _, c := range []struct {
			name string
			asks bool
			call func() error
		}{
			{"record", true, func() error { _, err := e.Await(t.Context(), made.ID, 0, all); return err }},
			{"record with a wait", true, func() error { _, err := e.Await(t.Context(), made.ID, time.Second, all); return err }},
			{"records", true, func() error {
				_, err := e.AwaitAll(t.Context(), []idempotency.OperationID{made.ID, never.ID}, time.Second, all)
				return err
			}},
			{"cancellation", true, func() error {
				_, err := e.Cancel(t.Context(), idempotency.Cancel{Operation: made.Operation, Retention: retain}, false)
				return err
			}},
			{"acknowledgement", true, func() error { _, err := e.Acknowledge(t.Context(), made.ID); return err }},
			{"request that may not start", false, func() error {
				r := never
				r.Refusal = errBroken
				if _, err := e.Begin(t.Context(), r); err != errBroken {
					return err
				}
				return nil
			}},
			{"duplicate", false, func() error {
				d := idempotency.Decision{Ruling: idempotency.Busy, Record: idempotency.Record{ID: never.ID}}
				_, _, err := e.Wait(t.Context(), d, time.Second)
				return err
			}},
		} {
			g.cache.Drop(made.ID)
			asked, looked := store.asked, store.looks()
			if err := c.call(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			asked, looked = store.asked-asked, store.looks()-looked
			if c.asks != (asked > 0) || c.asks == (looked > 0) {
				t.Errorf("%s: asked %d times, looked %d times", c.name, asked, looked)
			}
		}
		e.CloseWatches()
	})
}

// Only a request that nothing in memory can answer is asked whether it may start, and only once.
func TestAdmit(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		r, asked := request("order"), 0
		refuse := error(nil)
		r.Admit = func() error { asked++; return refuse }
		refuse = errBroken
		if d, err := g.engine.Begin(t.Context(), r); err != errBroken || d.Ruling != idempotency.Claimable || asked != 1 {
			t.Errorf("%v, %v, asked %d times", d.Ruling, err, asked)
		}
		if n := len(g.store.batches); n != 0 {
			t.Errorf("%d batches for what was refused", n)
		}
		refuse = nil
		x := g.begin(t, r, idempotency.Granted).Execution
		refuse = errBroken
		g.begin(t, r, idempotency.Busy)
		x.Complete(answer("made"))
		asked = 0
		g.begin(t, r, idempotency.Replay)
		if asked != 0 {
			t.Error("a replay out of memory was asked about")
		}
		g.cache.Drop(r.ID)
		g.begin(t, r, idempotency.Replay)
		if asked != 1 {
			t.Errorf("asked %d times about a replay out of the store", asked)
		}
		r.Refusal, asked = errBroken, 0
		g.cache.Drop(r.ID)
		g.begin(t, r, idempotency.Replay)
		if asked != 0 {
			t.Error("what is refused anyway was asked about")
		}
	})
}
