package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
)

// Apply implements [idempotency.Store]: one round trip, one transaction. Its statements lock the rows
// that exist, in order of id; try each kind of move on its own condition; and read all records back.
// What became of a move is told by the record, not by counting rows.
func (s *Store) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	if len(ts) == 0 {
		return nil, nil
	}
	m, ok := sorted(ts)
	if !ok {
		return nil, &idempotency.RolledBackError{Err: errors.New("two transitions of one batch are about one operation")}
	}
	pool := s.claims
	if m.outcomesOnly() {
		pool = s.outcomes
	}
	var b pgx.Batch
	b.Queue(settings)
	m.queue(&b, s.lease)
	records, err := s.run(ctx, pool, &b, m.ids, m.inHand())
	if err != nil {
		return nil, err
	}
	results := make([]idempotency.Result, len(ts))
	for i, t := range ts {
		r := &records[i]
		r.complete(m.hand[m.ids[i]])
		results[i] = idempotency.ResultOf(t, r.Record)
	}
	s.noteLateClaims(ctx, m.claims, results)
	return results, nil
}

// Find implements [idempotency.Store].
func (s *Store) Find(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var b pgx.Batch
	b.Queue(settings)
	read, err := s.run(ctx, s.claims, &b, ids, nil)
	if err != nil {
		return nil, err
	}
	records := make([]idempotency.Record, len(ids))
	for i := range read {
		read[i].complete(nil)
		records[i] = read[i].Record
	}
	return records, nil
}

// run sends a batch and, as its last statement, reads the records of ids, whose answers the caller has
// in hand where inHand says so.
func (s *Store) run(ctx context.Context, pool *pgxpool.Pool, b *pgx.Batch, ids, inHand []idempotency.OperationID) ([]readRecord, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to Postgres: %w", clean(err))
	}
	defer conn.Release() // which closes it, unless it is idle and sound
	notes := conn.Conn().PgConn().CustomData()
	delete(notes, unreplicated)

	records := make([]readRecord, 0, len(ids))
	b.Queue(readRecords, uuids(ids), uuids(inHand)).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			r, err := scan(rows, ids[len(records)], s.lease)
			if err != nil {
				return err
			}
			if records = append(records, r); len(records) == len(ids) {
				break
			}
		}
		return nil
	})
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return nil, classify(err)
	}
	if notes[unreplicated] != nil {
		return nil, errUnreplicated
	}
	if len(records) != len(ids) {
		return nil, fmt.Errorf("the server returned %d records instead of %d", len(records), len(ids))
	}
	return records, nil
}
