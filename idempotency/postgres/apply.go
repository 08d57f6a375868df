package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
)

// Apply implements [idempotency.Store]: one round trip, one transaction. Its statements lock the rows
// that exist, in order of id; try each kind of move on its own condition; and read all records back.
// What became of a move is told by the record, not by counting rows.
//
// A record that shows an answer which somebody else stored is as of a second round trip.
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
	records, err := s.read(ctx, pool, &b, m.ids)
	if err != nil {
		return nil, err
	}
	if err := s.fetchAnswers(ctx, records, m.hand); err != nil {
		return nil, err
	}
	results := make([]idempotency.Result, len(ts))
	for i, t := range ts {
		results[i] = idempotency.ResultOf(t, records[i].Record)
	}
	s.noteLateClaims(ctx, m.claims, results)
	return results, nil
}

// fetchAnswers completes what a batch found completed. Most often it has just stored the answer itself.
// What somebody else stored costs a second round trip, and is as of then.
func (s *Store) fetchAnswers(ctx context.Context, records []readRecord, inHand map[idempotency.OperationID]*idempotency.Response) error {
	var lacking []idempotency.OperationID
	for i := range records {
		r := &records[i]
		if r.lacksAnswer(inHand[r.ID]) {
			lacking = append(lacking, r.ID)
		} else if r.State == idempotency.Completed {
			r.Response = inHand[r.ID]
		}
	}
	if len(lacking) == 0 {
		return nil
	}
	fetched, err := s.find(ctx, lacking, records)
	if err != nil {
		return err
	}
	for i := range records {
		if len(fetched) > 0 && records[i].ID == fetched[0].ID {
			records[i], fetched = fetched[0], fetched[1:]
		}
	}
	return nil
}

// Find implements [idempotency.Store].
func (s *Store) Find(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var b pgx.Batch
	b.Queue(settings)
	read, err := s.read(ctx, s.claims, &b, ids)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(read, func(r readRecord) bool { return r.lacksAnswer(nil) }) {
		if read, err = s.find(ctx, ids, read); err != nil {
			return nil, err
		}
	}
	records := make([]idempotency.Record, len(ids))
	for i := range read {
		records[i] = read[i].Record
	}
	return records, nil
}

// find reads records with their answers, at one instant. What was read of them before tells on which
// days the answers expire; if another one has been completed meanwhile it reads again.
func (s *Store) find(ctx context.Context, ids []idempotency.OperationID, before []readRecord) ([]readRecord, error) {
	for {
		first, last := days(before)
		var b pgx.Batch
		b.Queue(settings)
		records, err := s.run(ctx, s.claims, &b, ids, readWithPayloads, true, uuids(ids), first, last)
		if err != nil {
			return nil, err
		}
		if f, l := days(records); f.Before(first) && !f.IsZero() || l.After(last) {
			before = append(before, records...)
			continue
		}
		for i := range records {
			records[i].unseal()
		}
		return records, nil
	}
}

// days returns the first and the last day on which an answer expires; zero if there is none.
func days(records []readRecord) (first, last time.Time) {
	for i := range records {
		day := records[i].payloadDay
		if day.IsZero() {
			continue
		}
		if first.IsZero() || day.Before(first) {
			first = day
		}
		if day.After(last) {
			last = day
		}
	}
	return first, last
}

// read sends a batch and, as its last statement, reads the records of ids without their answers.
func (s *Store) read(ctx context.Context, pool *pgxpool.Pool, b *pgx.Batch, ids []idempotency.OperationID) ([]readRecord, error) {
	return s.run(ctx, pool, b, ids, readRecords, false, uuids(ids))
}

// run sends a batch with a query for the records of ids as its last statement.
func (s *Store) run(ctx context.Context, pool *pgxpool.Pool, b *pgx.Batch, ids []idempotency.OperationID,
	query string, payloads bool, args ...any) ([]readRecord, error) {
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
	b.Queue(query, args...).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			r, err := scan(rows, ids[len(records)], s.lease, payloads)
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
