package participant

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceway/onceway/idempotency"
)

// Work has the effect of an operation, inside tx, and returns the answer. It must not end tx. With an
// error, or with a status that [Declines], everything that it did is rolled back.
type Work[Tx any] func(ctx context.Context, tx Tx) (*idempotency.Response, error)

// Do executes an attempt in a transaction of its own, unless the operation is executed or fenced already.
// The result is what to answer, and is committed.
//
// Before an attempt above the first, all lower ones are fenced: they were declared dead before this one
// was sent, and a copy of them that comes later must not overtake it. An answer that declines is sent
// only after its attempt was fenced, too: "not executed" has to stay true for copies of the request that
// are still on their way.
//
// An error means that nobody knows: the commit may have happened. Answer 503 (as [Table.Serve] does), and
// the gateway will probe.
func (t *Table[Tx]) Do(ctx context.Context, a Attempt, work Work[Tx]) (Result, error) {
	if err := a.check(); err != nil {
		return Result{}, err
	}
	if a.N > 1 {
		e, err := t.Fence(ctx, a.Operation, a.N-1)
		if err != nil {
			return Result{}, err
		}
		if e.State == idempotency.EnvelopeExecuted {
			return Result{Replay, e.Response}, nil
		}
	}
	result, err := t.execute(ctx, a, work)
	if err != nil || result.Decision != declined {
		return result, err
	}
	e, err := t.Fence(ctx, a.Operation, a.N)
	switch {
	case err != nil:
		return Result{}, err
	case e.State == idempotency.EnvelopeExecuted: // by a copy of this request
		return Result{Replay, e.Response}, nil
	}
	return Result{Refuse, result.Response}, nil
}

// declined is a decision between two transactions: the work was rolled back, the attempt is not fenced yet.
const declined Decision = 0

func (t *Table[Tx]) execute(ctx context.Context, a Attempt, work Work[Tx]) (Result, error) {
	tx, err := t.driver.begin(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("begin: %w", err)
	}
	defer t.rollback(ctx, tx)
	claim, err := t.Claim(ctx, tx, a)
	if err != nil {
		return Result{}, err
	}
	if claim.Decision != Execute {
		return Result{claim.Decision, claim.Response}, nil
	}
	response, err := work(ctx, tx)
	switch {
	case err != nil:
		return Result{}, fmt.Errorf("work: %w", err)
	case response == nil:
		return Result{}, errors.New("work: no answer")
	case Declines(response.Status):
		return Result{declined, response}, nil
	}
	if err := t.Record(ctx, tx, a, response); err != nil {
		return Result{}, err
	}
	if err := t.driver.commit(ctx, tx); err != nil {
		return Result{}, fmt.Errorf("commit: %w", err)
	}
	return Result{Execute, response}, nil
}
