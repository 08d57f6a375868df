package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
)

var (
	takeProbes  = statement("probe_take")
	putOffProbe = statement("probe_put_off")
)

// TakeProbes implements [idempotency.ProbeStore].
func (s *Store) TakeProbes(ctx context.Context, routes []string, limit int, hold time.Duration) (due []idempotency.OperationID, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		ids, err := collect(tx.Query(ctx, takeProbes, routes, limit, micros(hold)))
		due = make([]idempotency.OperationID, len(ids))
		for i, id := range ids {
			due[i] = id.Bytes
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return due, nil
}

// PutOffProbe implements [idempotency.ProbeStore].
func (s *Store) PutOffProbe(ctx context.Context, a idempotency.Attempt, d time.Duration) error {
	return s.transact(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, putOffProbe, uuid(a.Operation), uuid(a.ID), micros(d))
		return err
	})
}
