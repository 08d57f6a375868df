package sqlite

import (
	"context"
	"database/sql/driver"

	"github.com/onceway/onceway/idempotency"
)

// InDoubt implements [idempotency.CensusStore].
func (s *Store) InDoubt(ctx context.Context) (int64, error) { return s.count(ctx, "in_doubt") }

// InDoubtOf implements [idempotency.CensusStore].
func (s *Store) InDoubtOf(ctx context.Context, caller idempotency.Caller, most int) (int, error) {
	n, err := s.count(ctx, "in_doubt_of_caller", nonNil([]byte(caller)), int64(most))
	return int(n), err
}

// Contradicted implements [idempotency.CensusStore].
func (s *Store) Contradicted(ctx context.Context) (int64, error) { return s.count(ctx, "contradicted") }

func (s *Store) count(ctx context.Context, statement string, values ...driver.Value) (count int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(statement, func(v []driver.Value) error {
			d := decoder{values: v}
			count = d.integer()
			return d.err
		}, values...)
	})
	return count, err
}
