package participant

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceway/onceway/idempotency"
)

// Fence finds out, for good, whether an operation is executed: if it is not, then from now on every
// attempt up to n is refused (n = 0: every attempt, for ever), and the answer is [idempotency.EnvelopeAbsent].
// It commits a transaction of its own before it returns.
//
// A transaction that has claimed the operation is waited for, up to Patience. An error means that nothing
// is known; fencing may still have happened, which does no harm, because nobody was told.
func (t *Table[Tx]) Fence(ctx context.Context, operation idempotency.OperationID, n int) (idempotency.Envelope, error) {
	limit := n
	if n == 0 {
		limit = every
	}
	if err := (Attempt{operation, max(n, 1)}).check(); err != nil || n < 0 {
		return idempotency.Envelope{}, fmt.Errorf("fence: attempt %d of that operation is not possible", n)
	}
	tx, err := t.driver.beginFence(ctx)
	if err != nil {
		return idempotency.Envelope{}, fmt.Errorf("fence: %w", err)
	}
	defer t.rollback(ctx, tx)
	e, err := t.fence(ctx, tx, operation, limit)
	if err != nil {
		return idempotency.Envelope{}, fmt.Errorf("fence: %w", err)
	}
	if err := t.driver.commit(ctx, tx); err != nil {
		return idempotency.Envelope{}, fmt.Errorf("fence: commit: %w", err)
	}
	if e.State == idempotency.EnvelopeAbsent {
		e.Attempt = n
	}
	return e, nil
}

func (t *Table[Tx]) fence(ctx context.Context, tx Tx, operation idempotency.OperationID, limit int) (idempotency.Envelope, error) {
	if t.sql.prepareFence != "" {
		var patience, durability string
		wait := fmt.Sprintf("%dms", max(t.Patience.Milliseconds(), 1))
		if err := t.driver.row(ctx, tx, t.sql.prepareFence, wait).Scan(&patience, &durability); err != nil {
			return idempotency.Envelope{}, err
		}
	}
	changed, err := t.driver.exec(ctx, tx, t.sql.fence, operation.String(), limit)
	if err != nil {
		return idempotency.Envelope{}, err
	}
	e := idempotency.Envelope{Operation: operation}
	if changed == 1 {
		e.State = idempotency.EnvelopeAbsent
		return e, nil
	}
	found, err := t.find(ctx, tx, operation)
	if err != nil {
		return idempotency.Envelope{}, err
	}
	if found.executed == 0 {
		return idempotency.Envelope{}, errors.New("the operation is neither executed nor fenced")
	}
	e.State, e.Attempt, e.Response = idempotency.EnvelopeExecuted, found.executed, found.response
	return e, nil
}
