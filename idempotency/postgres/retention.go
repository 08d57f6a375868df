package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

var (
	purgeWalk      = statement("purge_walk")
	purgeWindow    = statement("purge_window")
	purgeAdvance   = statement("purge_advance")
	purgePayloads  = statement("purge_payloads")
	purgeEvidence  = statement("purge_evidence")
	purgeRecords   = statement("purge_records")
	purgeInstances = statement("purge_instances")
)

// purgeSteps bounds the steps of one call, of each of its walks.
const purgeSteps = 200

// Purge implements [idempotency.RetentionStore]. It walks along the records that are old enough to
// have expired, a bounded way in each call, from where the last call, of whichever gateway, came to. At the
// end of the way it looks for what is no longer needed of the feed: earlier, most of that still is, for the sake of
// records that are about to go.
func (s *Store) Purge(ctx context.Context, limit int) (int, error) {
	if s.chores.due(time.Now()) {
		if err := s.keepPartitions(ctx); err != nil {
			return 0, err
		}
		if err := s.transact(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, purgeInstances)
			return err
		}); err != nil {
			return 0, err
		}
	}
	total, end := 0, false
	for range purgeSteps {
		if total >= limit || end {
			break
		}
		n, at, err := s.purgeSome(ctx, min(limit-total, sweepBatch))
		total += n
		if err != nil || at == elsewhere {
			return total, err
		}
		end = at == atEnd
	}
	if !end {
		return total, nil
	}
	return total, s.purgeFeed(ctx)
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
		var to pgtype.Timestamptz
		var ids, embodied []pgtype.UUID
		if err := tx.QueryRow(ctx, purgeWindow, from, micros(s.keep.Key), limit, micros(s.grace)).Scan(&seen, &to, &ids, &embodied); err != nil {
			return err
		}
		var b pgx.Batch
		var gone int64
		if len(ids) > 0 {
			b.Queue(lockRows, ids, ids)
			if len(embodied) > 0 {
				b.Queue(purgePayloads, embodied, micros(s.grace))
			}
			b.Queue(purgeEvidence, ids, micros(s.grace))
			b.Queue(purgeRecords, ids, micros(s.grace)).Exec(countInto(&gone))
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

func countInto(n *int64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		*n = tag.RowsAffected()
		return nil
	}
}
