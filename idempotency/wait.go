package idempotency

import (
	"context"
	"time"
)

// Wait holds a Busy decision until the attempt has an outcome, at most wait, and returns it: of that attempt, not
// of a later one, unless that one has settled the operation for ever or left it in doubt. If there is no outcome, the
// last look into the store decides what is said: settled is false only if the record was still executing after wait had
// passed. A store that fails for a while does not end the wait, see await; the error is its own. Only the end of ctx cuts
// the wait short; it must not be a request's, since a half-closed client still reads.
func (e *Engine) Wait(ctx context.Context, d Decision, wait time.Duration) (o Outcome, settled bool, err error) {
	var unrecorded *Outcome
	if d.flight != nil && d.flight.granted && wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-d.flight.done.wait():
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
	var known Record
	if d.flight == nil {
		known = d.Record // as the store told this very request
	}
	rec, err := e.await(ctx, e.Find, d.Record.ID, known, wait, func(r Record) bool { return r.State != Executing || r.Attempt.N != n })
	if unrecorded != nil && (err != nil || rec.State == Executing && rec.Attempt.N == n) {
		return *unrecorded, true, nil
	}
	if err != nil {
		return Outcome{}, false, err
	}
	if rec.Attempt.N == n || n == 0 || rec.State == Unseen {
		return Outcome{Record: rec}, rec.State != Executing, nil
	}
	switch rec.State {
	case Completed, Forgotten, Cancelled, Unknown:
		// What holds for the operation by now is what every copy of the request gets, whichever attempt brought it.
		// To call the operation not executed, after others were told this, would be wrong.
	case Executing, NotExecuted, Unseen:
		// Another attempt could only be claimed because this one was settled without effect, or, on a
		// resend record, in doubt. Whoever waited gets this attempt's outcome. Of why it had no effect nothing is left.
		rec.State, rec.Cause, rec.Response = NotExecuted, "", nil
		if rec.Doubted || rec.Resend {
			rec.State = Unknown
		}
	}
	return Outcome{Record: rec}, true, nil
}

// Await reads a record until enough says so, at most for wait; then it returns the last look. The store is
// the truth: what runs in this process may only wake it earlier. But what is completed, and was read or written
// here within the last minute, is answered from memory if it is enough. When ctx ends first it returns what it saw
// last, without another look.
func (e *Engine) Await(ctx context.Context, id OperationID, wait time.Duration, enough func(Record) bool) (Record, error) {
	if rec, ok := e.Recall(id); ok && (wait <= 0 || enough(rec)) {
		return rec, nil
	}
	return e.AwaitStored(ctx, id, wait, enough)
}

// AwaitStored is Await without what is in memory, apart from answers in the spool.
func (e *Engine) AwaitStored(ctx context.Context, id OperationID, wait time.Duration, enough func(Record) bool) (Record, error) {
	return e.await(ctx, e.asked, id, Record{}, wait, enough)
}

// await looks by itself when it begins and when its time is over. What lies in between comes from the watch,
// which has one connection, and only while it looks, whatever the number of those who wait.
//
// A store that restarts throws nobody out: until looks have failed for as long as a store may take to answer, what
// was seen last stands. That is known, if it has an id, or what was seen during this call, so it was true since the
// caller asked. Only who knows nothing yet is told of the first failure.
func (e *Engine) await(ctx context.Context, find func(context.Context, OperationID) (Record, error), id OperationID, known Record,
	wait time.Duration, enough func(Record) bool) (Record, error) {
	look := func(known Record) (Record, error) {
		begun := time.Now()
		rec, err := find(context.WithoutCancel(ctx), id)
		if known.ID == id && e.hiccup(err, begun) {
			return known, nil
		}
		return rec, err
	}
	if wait <= 0 {
		return look(known)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	s := e.watches.sit(id) // before the first look, so that no change falls between the two
	defer s.leave()
	rec, err := look(known)
	if err != nil || enough(rec) {
		return rec, err
	}
	seen, found, err := s.wait(ctx, timer.C, enough)
	if err != nil || found {
		return seen, err
	}
	if seen.ID == id {
		rec = seen
	}
	if ctx.Err() != nil {
		return rec, nil
	}
	return look(rec)
}

// hiccup reports whether a look that began at begun has failed sooner than a store may take to answer.
func (e *Engine) hiccup(err error, begun time.Time) bool {
	return err != nil && time.Since(begun) < e.committer.o.Timeout
}

// bodiesAtOnce is how many records that may have bodies one query of the store reads.
const bodiesAtOnce = 16

// outline is Find for several operations, for those who only ask, without the bodies of answers. They are read, since
// only so damage is seen, but a few at a time, and let go at once: so the memory it takes does not grow with what it is
// asked about.
func (e *Engine) outline(ctx context.Context, ids []OperationID) ([]Record, error) {
	records := make([]Record, 0, len(ids))
	for len(ids) > 0 {
		n := min(bodiesAtOnce, len(ids))
		found, err := e.findBy(ctx, e.ask, ids[:n])
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			records = append(records, light(r))
		}
		ids = ids[n:]
	}
	return records, nil
}

// light returns r without the body of its answer.
func light(r Record) Record {
	if r.Response != nil {
		without := *r.Response // the cache may hold the one with the body
		without.Body = nil
		r.Response = &without
	}
	return r
}

// AwaitAll is Await for several operations at once: until enough has said so of each of them. It returns
// looks made one after the other, some records at one instant, in the order of ids, of which none may be
// there twice. Responses come without their bodies, whatever Replayable says: many of them are too much for
// the memory of one call. Await has them, one at a time.
func (e *Engine) AwaitAll(ctx context.Context, ids []OperationID, wait time.Duration, enough func(Record) bool) ([]Record, error) {
	look := context.WithoutCancel(ctx)
	if wait <= 0 {
		return e.outline(look, ids)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	seats := make([]*seat, len(ids))
	for i, id := range ids {
		seats[i] = e.watches.sit(id)
		defer seats[i].leave()
	}
	records, err := e.outline(look, ids)
	if err != nil {
		return nil, err
	}
	waited := false
	for i, s := range seats {
		if enough(records[i]) {
			continue
		}
		waited = true
		seen, found, err := s.wait(ctx, timer.C, enough)
		if err != nil {
			return nil, err
		}
		if seen.ID == ids[i] {
			records[i] = light(seen)
		}
		if !found {
			break
		}
	}
	if !waited || ctx.Err() != nil {
		return records, nil
	}
	begun := time.Now()
	last, err := e.outline(look, ids)
	if e.hiccup(err, begun) {
		return records, nil
	}
	return last, err
}

// CloseWatches returns when nothing of the engine looks at the store for those who wait any more. It is
// called when all waits have ended.
func (e *Engine) CloseWatches() { e.watches.close() }
