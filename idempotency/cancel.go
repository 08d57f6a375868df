package idempotency

import "context"

// Cancellation is what became of the wish to cancel an operation.
type Cancellation struct {
	Record Record // as it is now
	// Holds says that the operation is cancelled: it was never executed, and never will be under its key.
	Holds bool
	// New says that there was no record before: a tombstone now stands in the way of the late original.
	New bool
}

// Cancel forbids an operation for ever, unless it has been executed, may have been, or is being executed
// right now. The move and a claim are made in the store on conditions of which exactly one can hold, so of
// a cancellation and a racing original exactly one wins.
//
// TooOld says that the key's own date is further back than records are kept. Such a key without a record
// may have been executed and forgotten: nobody may be told that it never was. It is left as it is, and the
// record comes back Unseen; a late original is refused for the same reason. Where the store may have lost a
// record that stood against it, nothing is written either, and what comes back is Unknown and of revision 0:
// there is no such record.
//
// The errors are ErrStoreChanged, and those of [Engine.Find] and [Committer.Submit]. After one nobody knows
// whether the cancellation was written; repeating it is safe.
func (e *Engine) Cancel(ctx context.Context, t Cancel, tooOld bool) (Cancellation, error) {
	id := t.Operation.ID()
	if rec, ok := e.sentFromHere(id); ok {
		return Cancellation{Record: rec}, nil
	}
	changes := e.journal.changes.Load()
	before, err := e.asked(ctx, id)
	if err != nil {
		return Cancellation{}, err
	}
	switch before.State {
	case Executing, Completed, Unknown, Forgotten:
		return Cancellation{Record: before}, nil
	case Unseen:
		if tooOld {
			return Cancellation{Record: before}, nil
		}
		if err := e.trusts(Request{}); err != nil {
			return Cancellation{}, err // the store may have lost what would stand against it
		}
	case NotExecuted, Cancelled:
		// One that is cancelled is written again: what was read may not have reached a standby yet.
	}
	res, err := e.committer.Submit(t, nil)
	if err != nil {
		return Cancellation{}, err
	}
	if changes != e.journal.changes.Load() {
		return Cancellation{}, ErrStoreChanged // it may have been written where the store has lost what stood against it
	}
	if res.Record.State == Unseen && !t.KeyDate.IsZero() {
		// Refused although there is no record: the store may have lost it (see Env.Changed). Nobody may be told
		// that it was never executed. The original, if it comes again, is recorded as in doubt.
		res.Record.State, res.Record.Cause = Unknown, CauseLost
	}
	holds := res.Record.Believed() == Cancelled
	return Cancellation{Record: res.Record, Holds: holds, New: holds && before.State == Unseen && res.Record.Attempt.N == 0}, nil
}

// sentFromHere returns the record of an operation whose attempt this process is making, or whose answer is
// in its spool. A store that lost the claim in a failover would let itself be told that it was cancelled.
// A claim that is not confirmed yet is no matter: the store decides between it and the cancellation.
func (e *Engine) sentFromHere(id OperationID) (Record, bool) {
	if rec, ok := e.spooled(id); ok {
		return rec, true
	}
	f := e.flights.find(id)
	if f == nil {
		return Record{}, false
	}
	if !f.claimed.passable() {
		return Record{}, false
	}
	return f.record, f.granted
}
