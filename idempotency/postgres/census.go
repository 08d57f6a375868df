package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
)

var (
	countInDoubt      = statement("count_in_doubt")
	countInDoubtOf    = statement("count_in_doubt_of_caller")
	countContradicted = statement("count_contradicted")
)

// InDoubt implements [idempotency.CensusStore].
func (s *Store) InDoubt(ctx context.Context) (int64, error) { return s.count(ctx, countInDoubt) }

// InDoubtOf implements [idempotency.CensusStore].
func (s *Store) InDoubtOf(ctx context.Context, caller idempotency.Caller, most int) (int, error) {
	n, err := s.count(ctx, countInDoubtOf, string(caller), most)
	return int(n), err
}

// Contradicted implements [idempotency.CensusStore].
func (s *Store) Contradicted(ctx context.Context) (int64, error) {
	return s.count(ctx, countContradicted)
}

func (s *Store) count(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		return tx.QueryRow(ctx, query, args...).Scan(&n)
	})
	return n, err
}
