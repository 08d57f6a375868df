package idempotency

import (
	"errors"
	"sync"
	"time"
)

// Execution is the right and the duty of one claimant: to send the request at most once, and then to
// call exactly one of Complete, Release and Doubt. Later calls do nothing and return the first
// outcome, so that a deferred Doubt is a safety net.
type Execution struct {
	engine    *Engine
	flight    *flight
	attempt   Attempt
	retention Retention
	changes   uint64 // of the store, when it was claimed
	once      sync.Once
	wanted    Transition // what the caller asked for
	landed    sync.Once
	keeping   keeping
}

// Attempt returns the attempt that was granted.
func (x *Execution) Attempt() Attempt { return x.attempt }

// Ready reports whether the attempt may still be sent. It is asked once more immediately before the
// first byte: the process may have slept since the claim.
func (x *Execution) Ready() error {
	if !x.engine.lease.Holds(x.attempt.Owner) {
		return ErrNoLease
	}
	if x.changes != x.engine.journal.changes.Load() {
		return ErrStoreChanged // the claim may be lost
	}
	return nil
}

// Complete commits the backend's whole answer. Without r.Replayable the body is not kept. When it
// returns with a nil Err, Record is durable, and its response is what everybody gets.
func (x *Execution) Complete(r *Response) Outcome {
	return x.settle(Complete{Attempt: x.attempt, Response: r, Retention: x.retention, Claimed: &x.flight.record}, nil)
}

// Release commits the proof that the attempt had no effect. Answer may be what the backend said.
func (x *Execution) Release(cause Cause, answer *Response) Outcome {
	return x.settle(Release{Attempt: x.attempt, Cause: cause, Retention: x.retention}, answer)
}

// Doubt commits that nobody knows what became of the attempt.
func (x *Execution) Doubt(cause Cause) Outcome {
	return x.settle(Doubt{Attempt: x.attempt, Cause: cause, Retention: x.retention}, nil)
}

func (x *Execution) settle(t Transition, answer *Response) Outcome {
	x.once.Do(func() {
		x.wanted = t
		asOf := time.Now()
		res, err := x.submit(t, asOf)
		if _, isDoubt := t.(Doubt); isRolledBack(err) && !isDoubt {
			// The store will never take this: the doubt is what can still be recorded.
			if res, err = x.submit(x.unrecordable(), time.Now()); err == nil {
				x.lastTry()
			}
		}
		if err == nil && res.Record.State == Unseen {
			res, err = x.restoreLost(t)
		}
		x.flight.outcome = Outcome{Record: res.Record, Err: err}
		switch {
		case err == nil:
			if res.Record.State == NotExecuted && res.Record.Attempt.ID == x.attempt.ID {
				x.flight.outcome.Answer = answer
			}
			x.land(res.Record, asOf)
		case x.keep(err):
			// It is in the spool, which counts as recorded, or the store took it meanwhile.
		case errors.Is(err, ErrStoreTimeout):
			// The committer goes on trying, and the flight stays: late lands it.
		case isRolledBack(err):
			x.again()
		default:
			x.land(Record{}, asOf)
		}
		x.flight.done.open()
	})
	if !x.flight.done.passable() {
		<-x.flight.done.wait() // for ever, if a try to settle it panicked
	}
	return x.flight.outcome
}

func (x *Execution) submit(t Transition, asOf time.Time) (Result, error) {
	return x.engine.committer.Submit(t, func(res Result, err error) { x.late(t, asOf, res, err) })
}

// late hears what became of an outcome after nobody could wait for it any longer.
func (x *Execution) late(t Transition, asOf time.Time, res Result, err error) {
	if x.keptFrom(said{t, asOf, res, err}) {
		return
	}
	_, isDoubt := t.(Doubt)
	_, isImport := t.(Import)
	switch {
	case err == nil && res.Record.State == Unseen && !isImport:
		x.post(x.lost(t))
	case !isRolledBack(err): // written, or given up with the committer
		x.land(res.Record, asOf)
		if isDoubt && err == nil {
			x.lastTry()
		}
	case isDoubt:
		x.again()
	default:
		x.post(x.unrecordable())
	}
}

// lastTry offers an outcome once more that was refused while its doubt was taken: what stood against it,
// such as a full disk, may be over, and a late answer still completes the record.
func (x *Execution) lastTry() {
	if _, isDoubt := x.wanted.(Doubt); isDoubt {
		return
	}
	time.AfterFunc(refusedPause, func() {
		asOf := time.Now()
		_ = x.engine.committer.post(x.wanted, func(res Result, err error) {
			if err == nil {
				x.engine.remember(res.Record, asOf)
			}
		})
	})
}

// again tries the outcome itself once more after a while. A store that refuses even the doubt has
// nothing against this one; it takes nothing at all, as when its disk is full.
func (x *Execution) again() {
	time.AfterFunc(refusedPause, func() { x.post(x.wanted) })
}

const refusedPause = time.Second

func (x *Execution) post(t Transition) {
	asOf := time.Now()
	if err := x.engine.committer.post(t, func(res Result, err error) { x.late(t, asOf, res, err) }); err != nil {
		x.land(Record{}, asOf)
	}
}

// land ends the flight: whoever comes now asks the spool, and then the store.
func (x *Execution) land(r Record, asOf time.Time) {
	x.engine.remember(r, asOf)
	x.landed.Do(func() {
		x.engine.flights.leave(x.attempt.Operation, x.flight)
		x.engine.ended()
	})
}

func (x *Execution) unrecordable() Doubt { return Doubt{x.attempt, CauseUnrecordable, x.retention} }

func isRolledBack(err error) bool {
	if err == nil {
		return false // without what errors.As allocates
	}
	var rolledBack *RolledBackError
	return errors.As(err, &rolledBack)
}
