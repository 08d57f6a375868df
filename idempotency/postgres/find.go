package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
)

// Find implements [idempotency.Store].
func (s *Store) Find(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	return s.findBy(ctx, s.claims, ids)
}

// Ask implements [idempotency.AskStore].
func (s *Store) Ask(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	return s.findBy(ctx, s.asks, ids)
}

func (s *Store) findBy(ctx context.Context, pool *pgxpool.Pool, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	read, err := s.find(ctx, pool, ids, nil)
	if err != nil {
		return nil, err
	}
	records := make([]idempotency.Record, len(ids))
	for i := range read {
		records[i] = read[i].Record
	}
	return records, nil
}

// likelyDays returns the days on which answers expire that have not done so yet, by this process's clock
// and retention, and whether they are few.
func (s *Store) likelyDays() (first, last time.Time, few bool) {
	now := time.Now().UTC()
	first, last = now.Truncate(day), now.Add(s.keep.Response).Truncate(day)
	return first, last, last.Sub(first) < mostDays*day
}

// mostDays is how many days' partitions a search opens on the off chance. Each costs it some microseconds.
const mostDays = 3

// find reads records with their answers, at one instant. What was read of them before, if anything, tells
// on which days the answers expire. Otherwise the retention does, or a look at the records alone. If an
// answer turns out to expire on another day it reads again.
func (s *Store) find(ctx context.Context, pool *pgxpool.Pool, ids []idempotency.OperationID, before []readRecord) ([]readRecord, error) {
	first, last := days(before)
	if len(before) == 0 {
		var few bool
		if first, last, few = s.likelyDays(); !few {
			var err error
			if before, err = s.read(ctx, pool, ids, readRecords, false, uuids(ids)); err != nil {
				return nil, err
			}
			first, last = days(before)
		}
	}
	for {
		records, err := s.read(ctx, pool, ids, readWithPayloads, true, uuids(ids), first, last)
		if err != nil {
			return nil, err
		}
		if f, l := days(records); f.Before(first) && !f.IsZero() || l.After(last) {
			before = append(before, records...)
			first, last = days(before)
			continue
		}
		for i := range records {
			records[i].unseal()
		}
		return records, nil
	}
}

const day = 24 * time.Hour

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

// daysOf returns the days on which the answers expire that operations have.
func (s *Store) daysOf(ctx context.Context, pool *pgxpool.Pool, ids []idempotency.OperationID) (array[pgtype.Date], error) {
	records, err := s.read(ctx, pool, ids, readRecords, false, uuids(ids))
	if err != nil {
		return nil, err
	}
	days := array[pgtype.Date]{}
	for i := range records {
		of := pgtype.Date{Time: records[i].payloadDay, Valid: true}
		if !of.Time.IsZero() && !slices.Contains(days, of) {
			days = append(days, of)
		}
	}
	return days, nil
}

// read runs a query for the records of ids, which returns one row for each. Where a connection turns out to
// be broken, as all are after a restart of the server, it reads once more, by a new one.
func (s *Store) read(ctx context.Context, pool *pgxpool.Pool, ids []idempotency.OperationID, query string, payloads bool, args ...any) ([]readRecord, error) {
	records, err := s.readOnce(ctx, pool, ids, query, payloads, args...)
	if broken := (*brokenError)(nil); errors.As(err, &broken) {
		pool.Reset()
		records, err = s.readOnce(ctx, pool, ids, query, payloads, args...)
	}
	return records, err
}

func (s *Store) readOnce(ctx context.Context, pool *pgxpool.Pool, ids []idempotency.OperationID, query string, payloads bool, args ...any) ([]readRecord, error) {
	records := make([]readRecord, 0, len(ids))
	var b pgx.Batch
	if payloads {
		b.Queue(settingsWithoutJoins)
		if s.namesDays() {
			b.Queue(planEachTime)
		}
	} else {
		b.Queue(settings)
	}
	b.Queue(query, args...).Query(func(rows pgx.Rows) error {
		row := newRow(payloads)
		for rows.Next() {
			r, err := row.scan(rows, s.lease)
			if err != nil {
				return err
			}
			if len(records) == len(ids) || r.ID != ids[len(records)] {
				return errors.New("the server returned another record than asked for")
			}
			records = append(records, r)
		}
		return nil
	})
	if err := s.run(ctx, pool, &b); err != nil {
		return nil, err
	}
	if len(records) != len(ids) {
		return nil, fmt.Errorf("the server returned %d records instead of %d", len(records), len(ids))
	}
	return records, nil
}
