package postgres

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

var transactionSettings = statement("transaction_settings")

// transact runs f in a transaction of its own, with a short lock_timeout and bounded like Apply, by the server too.
func (s *Store) transact(ctx context.Context, f func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return clean(pgx.BeginFunc(ctx, s.claims, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, transactionSettings, strconv.FormatInt(s.timeout.Milliseconds(), 10)); err != nil {
			return err
		}
		return f(tx)
	}))
}

// look runs f at one instant, on the connections of those who only ask.
func (s *Store) look(ctx context.Context, f func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	o := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	return clean(pgx.BeginTxFunc(ctx, s.asks, o, f))
}

// run sends a batch of statements: one round trip, one transaction.
func (s *Store) run(ctx context.Context, pool *pgxpool.Pool, b *pgx.Batch) error {
	if until, ok := ctx.Deadline(); !ok || time.Until(until) > s.timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connecting to Postgres: %w", clean(err))
	}
	defer conn.Release() // which closes it, unless it is idle and sound
	notes := conn.Conn().PgConn().CustomData()
	if notes[direct] != nil && b.QueuedQueries[0].SQL == settingsWithoutJoins {
		b.QueuedQueries = b.QueuedQueries[1:]
	}
	delete(notes, unreplicated)
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		err = classify(err)
		if conn.Conn().IsClosed() && ctx.Err() == nil {
			err = &brokenError{err}
		}
		return err
	}
	if notes[unreplicated] != nil {
		return errUnreplicated
	}
	return nil
}

// send runs a batch that reads no records: one round trip, one transaction, bounded like Apply.
func (s *Store) send(ctx context.Context, pool *pgxpool.Pool, b *pgx.Batch) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return clean(err)
	}
	defer conn.Release()
	return clean(conn.SendBatch(ctx, b).Close())
}

// countInto returns a callback that notes how many rows a statement of a batch wrote.
func countInto(n *int64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		*n = tag.RowsAffected()
		return nil
	}
}

// collect returns the rows of a query for ids.
func collect(rows pgx.Rows, err error) ([]pgtype.UUID, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[pgtype.UUID])
}
