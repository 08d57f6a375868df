package idempotency

import (
	"context"
	"time"
)

// Wait holds a Busy decision until the attempt has an outcome, at most d, and returns it: of that
// attempt, not of a later one. If there is none, the last look into the store decides what is said:
// settled is false only if the record was still executing after d had passed. Only the end of ctx cuts
// the wait short; it must not be a request's, since a half-closed client still reads.
func (e *Engine) Wait(ctx context.Context, d Decision, wait time.Duration) (o Outcome, settled bool, err error) {
	var unrecorded *Outcome
	if d.flight != nil && d.flight.granted && wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-d.flight.done:
			if d.flight.outcome.Err == nil {
				return d.flight.outcome, true, nil
			}
			// The store may have it by now, and others may have seen it there.
			unrecorded = &d.flight.outcome
		case <-timer.C:
		case <-ctx.Done():
		}
		wait = 0
	}
	n := d.Record.Attempt.N
	rec, err := e.Await(ctx, d.Record.ID, wait, func(r Record) bool { return r.State != Executing || r.Attempt.N != n })
	if unrecorded != nil && (err != nil || rec.State == Executing && rec.Attempt.N == n) {
		return *unrecorded, true, nil
	}
	if err != nil {
		return Outcome{}, false, err
	}
	if rec.Resend && (rec.State == Completed || rec.State == Forgotten) {
		return Outcome{Record: rec}, true, nil // the answer of one attempt is the answer of all
	}
	if rec.Attempt.N != n && n > 0 && rec.State != Unseen {
		// Another attempt could only be claimed because this one was settled without effect, or, on a
		// resend record, in doubt. Whoever waited gets this attempt's outcome.
		rec.State, rec.Response = NotExecuted, nil
		if rec.Doubted || rec.Resend {
			rec.State = Unknown
		}
		return Outcome{Record: rec}, true, nil
	}
	return Outcome{Record: rec}, rec.State != Executing, nil
}

// Poll intervals of a wait for another gateway's attempt.
const (
	firstPoll = 10 * time.Millisecond
	lastPoll  = 250 * time.Millisecond
)

// Await reads a record until enough says so, at most for wait; then it returns the last look. The store
// is the truth: what runs in this process may only wake it earlier.
func (e *Engine) Await(ctx context.Context, id OperationID, wait time.Duration, enough func(Record) bool) (Record, error) {
	end := time.Now().Add(wait)
	for poll := firstPoll; ; poll = min(poll*3/2, lastPoll) {
		rec, err := e.Find(context.WithoutCancel(ctx), id)
		if err != nil || enough(rec) {
			return rec, err
		}
		left := time.Until(end)
		if left <= 0 || ctx.Err() != nil {
			return rec, nil
		}
		var done <-chan struct{}
		if f := e.flights.find(id); f != nil && !f.over() {
			done = f.done
		}
		timer := time.NewTimer(min(left, poll/2+e.committer.o.Pacer.Spread(id, poll)))
		select {
		case <-done:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}
