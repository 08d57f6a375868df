package idempotency

import (
	"context"
	"time"
)

// OwnStore tells a gateway which attempts the store takes for its own.
type OwnStore interface {
	// Executing returns attempts of o, the oldest first and at most limit, that are stored as executing
	// and were claimed at least age ago. It may leave out those whose time is over: they are in doubt
	// already.
	Executing(ctx context.Context, o Owner, age time.Duration, limit int) ([]Attempt, error)
}

// reconcileAtMost is how many attempts one reconciliation looks at. They are the oldest; those behind
// them become so when these are settled.
const reconcileAtMost = 10_000

// ReconcileOwn compares what the store takes for this gateway's running attempts with those it really
// has. What it does not know, a claim that turned up after everybody had stopped looking for it, say, is
// doubted; what it gave up before anything was sent is released. Attempts claimed less than age ago are
// left alone.
//
// It is a net below the others: without it such a record would be in doubt only after its deadline and a
// lease more. So it may run seldom.
func (e *Engine) ReconcileOwn(ctx context.Context, store OwnStore, age time.Duration) error {
	owner, ok := e.lease.Owner()
	if !ok {
		return nil
	}
	// Whatever has no flight now, and is still executing when its doubt is written, is nobody's: a claim
	// has a flight before it is submitted, and keeps it until its outcome is stored, or in the spool.
	attempts, err := store.Executing(ctx, owner, age, reconcileAtMost)
	if err != nil {
		return err
	}
	for _, a := range attempts {
		if e.flights.find(a.Operation) != nil || e.keeper.holds(a.Operation) {
			continue
		}
		if c := e.gaveUp(a.ID); c != nil {
			_ = e.committer.post(e.disclaim(c), nil)
			continue
		}
		// No retention: the claim's own stands.
		_ = e.committer.post(Doubt{Attempt: a, Cause: CauseUntracked}, nil)
	}
	return nil
}

func (e *Engine) gaveUp(id AttemptID) *abandonedClaim {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.abandoned[id]
}
