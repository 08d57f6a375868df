package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

var (
	purgeWalk      = statement("purge_walk")
	purgeWindow    = statement("purge_window")
	purgeAdvance   = statement("purge_advance")
	purgePayloads  = statement("purge_payloads")
	purgeEvidence  = statement("purge_evidence")
	purgeRecords   = statement("purge_records")
	purgeNote      = statement("purge_note")
	purged         = statement("purged")
	purgeInstances = statement("purge_instances")
)

// purgeSteps bounds the steps of one call.
const purgeSteps = 200

// Purge implements [idempotency.RetentionStore]. It walks along the records that are old enough to
// have expired, a bounded way in each call, from where the last call, of whichever gateway, came to. At the
// end of the way it looks for what is no longer needed of the feed: earlier, most of that still is, for the sake of
// records that are about to go.
func (s *Store) Purge(ctx context.Context, limit int) (removed int, more bool, err error) {
	if s.chores.due(time.Now()) {
		if err := s.keepPartitions(ctx); err != nil {
			return 0, false, err
		}
		if err := s.transact(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, purgeInstances)
			return err
		}); err != nil {
			return 0, false, err
		}
	}
	end := false
	for range purgeSteps {
		if removed >= limit || end {
			break
		}
		n, at, err := s.purgeSome(ctx, min(limit-removed, sweepBatch))
		removed += n
		if err != nil || at == elsewhere {
			return removed, false, err
		}
		end = at == atEnd
	}
	if !end {
		return removed, true, nil
	}
	more, err = s.purgeFeed(ctx)
	return removed, more, err
}

// whereabouts is where a step of the purge's walk left it.
type whereabouts uint8

const (
	onTheWay  whereabouts = iota
	atEnd                 // of what is old enough; the next step begins anew
	elsewhere             // another gateway is making a step
)

// purgeSome makes one step of the walk, past at most limit expired records, which it removes.
func (s *Store) purgeSome(ctx context.Context, limit int) (n int, at whereabouts, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var from pgtype.Timestamptz
		err := tx.QueryRow(ctx, purgeWalk).Scan(&from)
		if err == pgx.ErrNoRows {
			at = elsewhere
			return nil
		}
		if err != nil {
			return err
		}
		var seen int
		var to, last pgtype.Timestamptz
		var ids, embodied []pgtype.UUID
		var places []string
		if err := tx.QueryRow(ctx, purgeWindow, from, micros(s.keep.Key), limit, micros(s.grace)).Scan(&seen, &to, &ids, &places, &embodied, &last); err != nil {
			return err
		}
		var b pgx.Batch
		var gone int64
		if len(ids) > 0 {
			b.Queue(purgeNote, last)
			b.Queue(purgeRecords, ids, places, micros(s.grace)).Exec(countInto(&gone))
			b.Queue(purgeEvidence, ids)
			if len(embodied) > 0 {
				b.Queue(purgePayloads, embodied)
			}
		}
		if seen < limit {
			at = atEnd
			to = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
		}
		b.Queue(purgeAdvance, to)
		err = tx.SendBatch(ctx, &b).Close()
		n = int(gone)
		return err
	})
	return n, at, err
}

// Purged implements [idempotency.RetentionStore].
func (s *Store) Purged(ctx context.Context) (last time.Time, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		err := tx.QueryRow(ctx, purged).Scan(&last)
		if err == pgx.ErrNoRows {
			return nil
		}
		return err
	})
	return last.UTC(), err
}
