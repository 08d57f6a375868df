package postgres

import (
	"context"

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

// Purge implements [idempotency.RetentionStore]. It walks along the records that are old enough to
// have expired, a bounded way in each call, from where the last call, of whichever gateway, came to.
func (s *Store) Purge(ctx context.Context, limit int) (int, error) {
	if err := s.keepPartitions(ctx); err != nil {
		return 0, err
	}
	if err := s.transact(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, purgeInstances)
		return err
	}); err != nil {
		return 0, err
	}
	if err := s.purgeFeed(ctx); err != nil {
		return 0, err
	}
	total := 0
	for range walkWindows {
		if total >= limit {
			break
		}
		n, more, err := s.purgeSome(ctx, min(limit-total, sweepBatch))
		total += n
		if err != nil || !more {
			return total, err
		}
	}
	return total, nil
}

// purgeSome makes one step of the walk, unless another gateway is making one. At the end of the way
// the next step begins anew.
func (s *Store) purgeSome(ctx context.Context, limit int) (n int, more bool, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var from pgtype.Timestamptz
		err := tx.QueryRow(ctx, purgeWalk).Scan(&from)
		if err == pgx.ErrNoRows {
			return nil
		}
		if err != nil {
			return err
		}
		var seen, expired int
		var to pgtype.Timestamptz
		var ids []pgtype.UUID
		if err := tx.QueryRow(ctx, purgeWindow, from, micros(s.keep.Key), walkWindow, limit, micros(s.grace)).Scan(&seen, &to, &expired, &ids); err != nil {
			return err
		}
		if len(ids) > 0 {
			var gone int64
			var b pgx.Batch
			b.Queue(lockRows, ids, ids)
			b.Queue(purgePayloads, ids, micros(s.grace))
			b.Queue(purgeEvidence, ids, micros(s.grace))
			b.Queue(purgeRecords, ids, micros(s.grace)).Exec(countInto(&gone))
			if err := tx.SendBatch(ctx, &b).Close(); err != nil {
				return err
			}
			n = int(gone)
		}
		switch {
		case expired > len(ids): // there is more in this window
			more = true
			return nil
		case seen < walkWindow: // the end
			to = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
		default:
			more = true
		}
		_, err = tx.Exec(ctx, purgeAdvance, to)
		return err
	})
	return n, more, err
}

func countInto(n *int64) func(pgconn.CommandTag) error {
	return func(tag pgconn.CommandTag) error {
		*n = tag.RowsAffected()
		return nil
	}
}
