package idempotency

import (
	"errors"
	"sync"
)

// Execution is the right and the duty of one claimant: to send the request at most once, and then to
// call exactly one of Complete, Release and Doubt. Later calls do nothing and return the first
// outcome, so that a deferred Doubt is a safety net.
type Execution struct {
	engine    *Engine
	flight    *flight
	attempt   Attempt
	retention Retention
	once      sync.Once
}

// Attempt returns the attempt that was granted.
func (x *Execution) Attempt() Attempt { return x.attempt }

// Ready reports whether the attempt may still be sent. It is asked once more immediately before the
// first byte: the process may have slept since the claim.
func (x *Execution) Ready() error {
	if !x.engine.lease.Holds(x.attempt.Owner) {
		return ErrNoLease
	}
	return nil
}

// Complete commits the backend's whole answer. Without r.Replayable the body is not kept. When it
// returns with a nil Err, Record is durable, and its response is what everybody gets.
func (x *Execution) Complete(r *Response) Outcome {
	return x.settle(Complete{Attempt: x.attempt, Response: r, Retention: x.retention}, nil)
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
		e, f := x.engine, x.flight
		late := func(late Result, err error) {
			if err == nil {
				e.remember(late.Record)
			}
			e.flights.leave(x.attempt.Operation, f)
			e.ended()
		}
		res, err := e.committer.Submit(t, late)
		if _, isDoubt := t.(Doubt); isRolledBack(err) && !isDoubt {
			// The store will never take this: the doubt is what can still be recorded.
			res, err = e.committer.Submit(Doubt{x.attempt, CauseUnrecordable, x.retention}, late)
		}
		f.outcome = Outcome{Record: res.Record, Err: err}
		if err == nil {
			e.remember(res.Record)
			if res.Record.State == NotExecuted && res.Record.Attempt.ID == x.attempt.ID {
				f.outcome.Answer = answer
			}
		}
		if !errors.Is(err, ErrStoreTimeout) {
			// After a timeout the committer goes on trying, and the flight stays: late lands it.
			e.flights.leave(x.attempt.Operation, f)
			e.ended()
		}
		close(f.done)
	})
	<-x.flight.done
	return x.flight.outcome
}

// CauseUnrecordable says that the store refused the outcome itself.
const CauseUnrecordable Cause = "unrecordable"

func isRolledBack(err error) bool {
	var rolledBack *RolledBackError
	return errors.As(err, &rolledBack)
}
