package participant

import (
	"context"
	"time"
)

// Table is the record of operations in one database. Tx is the kind of transaction that the backend uses:
// pgx.Tx ([Pgx]) or *sql.Tx ([SQL]). Set its fields before its first use; its methods may be called from
// any goroutine.
type Table[Tx any] struct {
	// Patience is how long a probe waits for a transaction that holds its operation before it answers that
	// it cannot decide. Postgres only: elsewhere the connection's own waiting time counts (for SQLite,
	// busy_timeout). Default 1s.
	Patience time.Duration

	// Report gets every error that a client sees as 503 and nothing else. It contains no key and no body.
	// Default: nobody.
	Report func(context.Context, error)

	driver driver[Tx]
	sql    statements
}

// driver is what a Table needs of a kind of transaction.
type driver[Tx any] struct {
	begin      func(context.Context) (Tx, error) // as the backend's transactions are by default
	beginFence func(context.Context) (Tx, error) // that sees what was committed before each statement
	commit     func(context.Context, Tx) error
	rollback   func(context.Context, Tx) error // of a transaction that has ended: no effect
	// exec runs a statement and returns how many rows it changed.
	exec func(ctx context.Context, tx Tx, sql string, args ...any) (changed int64, err error)
	// row runs a query. Its result's Scan returns an error that is sql.ErrNoRows if there is no row.
	row func(ctx context.Context, tx Tx, sql string, args ...any) row
}

type row interface{ Scan(into ...any) error }

func newTable[Tx any](d driver[Tx], dialect Dialect) *Table[Tx] {
	return &Table[Tx]{Patience: time.Second, driver: d, sql: dialect.statements()}
}

func (t *Table[Tx]) report(ctx context.Context, err error) {
	if t.Report != nil {
		t.Report(ctx, err)
	}
}

// rollback ends a transaction whose caller may have left.
func (t *Table[Tx]) rollback(ctx context.Context, tx Tx) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = t.driver.rollback(ctx, tx) // a transaction that cannot be rolled back ends with its connection
}
