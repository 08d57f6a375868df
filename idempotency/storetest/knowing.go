package storetest

import (
	"context"
	"sync"

	"github.com/onceway/onceway/idempotency"
)

// knowing is a store whose callers have at hand what their claims left, as an engine has: it puts that into
// every answer which says nothing of it. An answer that says the wrong thing stays as it is.
type knowing struct {
	Store
	claims *claimedRecords
}

// claimedRecords are records as claims left them, by attempt. Handles on one store share them.
type claimedRecords struct {
	mu sync.Mutex
	of map[idempotency.AttemptID]idempotency.Record
}

// forget is for when the test has bent the past, which no caller of a store can.
func (c *claimedRecords) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of = make(map[idempotency.AttemptID]idempotency.Record)
}

func (c *claimedRecords) informed(ts []idempotency.Transition) []idempotency.Transition {
	c.mu.Lock()
	defer c.mu.Unlock()
	informed := make([]idempotency.Transition, len(ts))
	for i, t := range ts {
		if complete, ok := t.(idempotency.Complete); ok && complete.Claimed == nil {
			if r, ok := c.of[complete.Attempt.ID]; ok {
				complete.Claimed = &r
				t = complete
			}
		}
		informed[i] = t
	}
	return informed
}

func (c *claimedRecords) note(ts []idempotency.Transition, results []idempotency.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range results {
		if _, ok := ts[i].(idempotency.Claim); ok && r.Applied {
			c.of[r.Record.Attempt.ID] = r.Record
		}
	}
}

func (k knowing) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	results, err := k.Store.Apply(ctx, k.claims.informed(ts))
	if err == nil && len(results) == len(ts) {
		k.claims.note(ts, results)
	}
	return results, err
}

// unknowing returns an answer whose claim nobody has at hand.
func unknowing(t idempotency.Complete) idempotency.Complete {
	t.Claimed = new(idempotency.Record)
	return t
}
