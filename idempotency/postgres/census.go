package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

var countInDoubt = statement("count_in_doubt")

// InDoubt implements [idempotency.CensusStore].
func (s *Store) InDoubt(ctx context.Context) (n int64, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, countInDoubt).Scan(&n)
	})
	return n, err
}
