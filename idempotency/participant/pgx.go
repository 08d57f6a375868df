package participant

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// PgxBeginner is a *pgxpool.Pool or a *pgx.Conn.
type PgxBeginner interface {
	BeginTx(context.Context, pgx.TxOptions) (pgx.Tx, error)
}

// Pgx is for Postgres through pgx.
func Pgx(db PgxBeginner) *Table[pgx.Tx] {
	begin := func(options pgx.TxOptions) func(context.Context) (pgx.Tx, error) {
		return func(ctx context.Context) (pgx.Tx, error) { return db.BeginTx(ctx, options) }
	}
	return newTable(driver[pgx.Tx]{
		begin:      begin(pgx.TxOptions{}),
		beginFence: begin(pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite}),
		commit:     func(ctx context.Context, tx pgx.Tx) error { return tx.Commit(ctx) },
		rollback:   func(ctx context.Context, tx pgx.Tx) error { return tx.Rollback(ctx) },
		exec: func(ctx context.Context, tx pgx.Tx, sql string, args ...any) (int64, error) {
			tag, err := tx.Exec(ctx, sql, args...)
			return tag.RowsAffected(), err
		},
		row: func(ctx context.Context, tx pgx.Tx, sql string, args ...any) row {
			return tx.QueryRow(ctx, sql, args...)
		},
	}, Postgres)
}
