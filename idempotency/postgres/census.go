package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

var (
	countInDoubt      = statement("count_in_doubt")
	countContradicted = statement("count_contradicted")
)

// InDoubt implements [idempotency.CensusStore].
func (s *Store) InDoubt(ctx context.Context) (int64, error) { return s.count(ctx, countInDoubt) }

// Contradicted implements [idempotency.CensusStore].
func (s *Store) Contradicted(ctx context.Context) (int64, error) {
	return s.count(ctx, countContradicted)
}

func (s *Store) count(ctx context.Context, query string) (n int64, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, query).Scan(&n)
	})
	return n, err
}
