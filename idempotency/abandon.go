package idempotency

import (
	"context"
	"time"
)

// abandonedClaim is a claim that was given up before anything was sent, and that the store may have
// committed, or may commit later.
type abandonedClaim struct {
	attempt   Attempt
	retention Retention
	since     time.Time
}

// abandonedFor is how long a claim that was given up is watched for. Statements do not linger longer
// in any network or server that still executes them.
const abandonedFor = time.Hour

func (e *Engine) abandon(a Attempt, keep Retention) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.abandoned[a.ID] = abandonedClaim{a, keep, time.Now()}
}

// lateClaim handles the result of a claim that nobody waits for any more.
func (e *Engine) lateClaim(a Attempt, keep Retention, late Result, err error) {
	if err == nil && late.Record.Attempt.ID == a.ID {
		go e.releaseAbandoned(abandonedClaim{attempt: a, retention: keep})
	}
}

// ReleaseAbandoned looks for claims that were given up and turned up all the same, and releases them:
// this process knows that it sent nothing. It is called with every renewal of the lease.
func (e *Engine) ReleaseAbandoned(ctx context.Context) {
	e.mu.Lock()
	var claims []abandonedClaim
	var ids []OperationID
	for id, c := range e.abandoned {
		if time.Since(c.since) > abandonedFor {
			delete(e.abandoned, id)
			continue
		}
		claims = append(claims, c)
		ids = append(ids, c.attempt.Operation)
	}
	e.mu.Unlock()
	const batch = 500
	for len(claims) > 0 {
		n := min(batch, len(claims))
		records, err := e.store.Find(ctx, ids[:n])
		if err != nil {
			return
		}
		for i, r := range records {
			if r.Attempt.ID == claims[i].attempt.ID && (r.State == Executing || r.State == Unknown) {
				e.releaseAbandoned(claims[i])
			}
		}
		claims, ids = claims[n:], ids[n:]
	}
}

func (e *Engine) releaseAbandoned(c abandonedClaim) {
	// Late or not, the committer goes on trying; a second release does nothing.
	res, err := e.committer.Submit(Release{Attempt: c.attempt, Cause: CauseAbandoned, Retention: c.retention}, nil)
	if err == nil && res.Applied {
		e.mu.Lock()
		delete(e.abandoned, c.attempt.ID)
		e.mu.Unlock()
	}
}
