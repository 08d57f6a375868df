package idempotency

import (
	"context"
	"errors"
)

// ErrAnswerInSpool says that an answer is still on its way from this process's spool to the store, so that
// nothing could be erased. It will get there; the call may be repeated.
var ErrAnswerInSpool = errors.New("the answer is still on its way from the spool to the store")

// Acknowledge erases a stored answer's content and returns the record. Forgotten means that it is gone: from
// the store, and from this process's cache; other gateways forget it within a minute. Status, length and
// digest stay. A record in any other state is not changed; neither is a damaged one, which people have to
// look at.
//
// The errors are ErrAnswerInSpool, and those of [Engine.Find] and [Committer.Submit]; after one of the
// latter nobody knows whether it was written, and repeating it is safe.
func (e *Engine) Acknowledge(ctx context.Context, id OperationID) (Record, error) {
	if _, ok := e.spooled(id); ok {
		return Record{}, ErrAnswerInSpool
	}
	before, err := e.asked(ctx, id)
	if err != nil {
		return Record{}, err
	}
	if before.State != Completed && before.State != Forgotten || before.Damaged {
		return before, nil
	}
	res, err := e.committer.Submit(Acknowledge{id}, nil)
	if err != nil {
		e.erased.note(id, e.cache.Drop) // it was perhaps erased
	}
	return res.Record, err
}
