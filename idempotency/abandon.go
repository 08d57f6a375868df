package idempotency

import (
	"bytes"
	"context"
	"slices"
	"time"
)

// abandonedClaim is a claim that was given up before anything was sent, and that the store may have
// committed, or may commit later: more than once, even, because its batch may have been sent again.
type abandonedClaim struct {
	attempt   Attempt
	retention Retention
	dated     bool   // its key has a date of its own
	changes   uint64 // of the store, when it was submitted
	since     time.Time
	next      time.Time // when it is looked for
	pause     time.Duration
}

// abandonedFor is how long a claim that was given up is watched for. Statements do not linger longer
// in any network or server that still executes them. It is looked for in the next round, and then
// ever less often, so that many of them, as after an outage, are no load.
const (
	abandonedFor      = time.Hour
	firstAbandonPause = time.Second
	lastAbandonPause  = 5 * time.Minute
)

func (e *Engine) abandon(c *abandonedClaim) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	c.since, c.next, c.pause = now, now, firstAbandonPause
	e.abandoned[c.attempt.ID] = c
}

// disclaim is what becomes of the record of a claim that was given up. The attempt had no effect. But one
// that crossed a change of the store may stand where the store has lost another attempt's record, and not
// even the key's date spoke against it: then nobody knows, and any attempt's answer is the operation's.
func (e *Engine) disclaim(c *abandonedClaim) Transition {
	if !c.dated && c.changes != e.journal.changes.Load() {
		return Doubt{Attempt: c.attempt, Cause: CauseLost, Retention: c.retention}
	}
	return Release{Attempt: c.attempt, Cause: CauseAbandoned, Retention: c.retention}
}

// lateClaim handles the result of a claim that nobody waits for any more.
func (e *Engine) lateClaim(c *abandonedClaim, late Result, err error) {
	if err == nil {
		e.releaseAbandoned(c, late.Record)
	}
}

// ReleaseAbandoned looks for claims that were given up and turned up all the same, and has them
// released: this process knows that it sent nothing. It is called in every round of the lease.
// It waits for no release; one that fails is made again when the claim is looked for the next time.
func (e *Engine) ReleaseAbandoned(ctx context.Context) {
	const batch = 500
	claims := e.dueAbandoned(time.Now())
	ids := make([]OperationID, 0, batch)
	for len(claims) > 0 {
		n := min(batch, len(claims))
		ids = ids[:0]
		for _, c := range claims[:n] {
			ids = append(ids, c.attempt.Operation)
		}
		records, err := e.store.Find(ctx, ids)
		if err != nil || len(records) != n {
			return
		}
		e.looked(claims[:n], time.Now())
		for i, r := range records {
			e.releaseAbandoned(claims[i], r)
		}
		claims = claims[n:]
	}
}

// dueAbandoned returns the claims to look for now, and forgets those that were watched for long enough.
func (e *Engine) dueAbandoned(now time.Time) []*abandonedClaim {
	e.mu.Lock()
	defer e.mu.Unlock()
	var due []*abandonedClaim
	for id, c := range e.abandoned {
		if now.Sub(c.since) > abandonedFor {
			delete(e.abandoned, id)
		} else if !c.next.After(now) {
			due = append(due, c)
		}
	}
	slices.SortFunc(due, func(a, b *abandonedClaim) int { return bytes.Compare(a.attempt.Operation[:], b.attempt.Operation[:]) })
	return due
}

func (e *Engine) looked(claims []*abandonedClaim, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range claims {
		c.next, c.pause = now.Add(c.pause), min(2*c.pause, lastAbandonPause)
	}
}

func (e *Engine) releaseAbandoned(c *abandonedClaim, seen Record) {
	if seen.Attempt.ID != c.attempt.ID || seen.State != Executing && seen.State != Unknown {
		return
	}
	// The error says that the committer stops; then the lease is given back, and the record is in doubt.
	_ = e.committer.post(e.disclaim(c), nil)
}
