package participant

import (
	"context"
	"database/sql"
)

// SQL is for any driver of database/sql that speaks the dialect.
//
// SQLite has one writer for the whole file: whoever claims or fences waits for every other transaction
// that writes, as long as busy_timeout says. Open the file with synchronous FULL, or a crash of the
// machine may lose what was answered.
func SQL(db *sql.DB, dialect Dialect) *Table[*sql.Tx] {
	begin := func(options *sql.TxOptions) func(context.Context) (*sql.Tx, error) {
		return func(ctx context.Context) (*sql.Tx, error) { return db.BeginTx(ctx, options) }
	}
	d := driver[*sql.Tx]{
		begin:      begin(nil),
		beginFence: begin(nil),
		commit:     func(_ context.Context, tx *sql.Tx) error { return tx.Commit() },
		rollback:   func(_ context.Context, tx *sql.Tx) error { return tx.Rollback() },
		exec: func(ctx context.Context, tx *sql.Tx, sql string, args ...any) (int64, error) {
			result, err := tx.ExecContext(ctx, sql, args...)
			if err != nil {
				return 0, err
			}
			return result.RowsAffected()
		},
		row: func(ctx context.Context, tx *sql.Tx, sql string, args ...any) row {
			return tx.QueryRowContext(ctx, sql, args...)
		},
	}
	if dialect == Postgres {
		d.beginFence = begin(&sql.TxOptions{Isolation: sql.LevelReadCommitted})
	}
	return newTable(d, dialect)
}
