package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

var (
	sweepSettings  = statement("sweep_settings")
	lapsedOwner    = statement("sweep_lapsed_owner")
	orphansOf      = statement("sweep_orphans")
	ownerSwept     = statement("sweep_owner_done")
	overdueWalk    = statement("sweep_overdue_walk")
	overdueWindow  = statement("sweep_overdue_window")
	overdueAdvance = statement("sweep_overdue_advance")
	doubtIfOrphan  = statement("sweep_doubt_if_orphan")
	commitDurably  = statement("sweep_durably")
)

const (
	sweepBatch  = 500  // rows that one transaction of a sweep writes
	walkWindow  = 2000 // rows that one step of a walk reads
	walkWindows = 50   // steps of one call
)

// Sweep implements [idempotency.LeaseStore]. It first doubts what owners left executing whose leases
// lapsed, looking only at what they can have claimed; then, when that is due, it walks, once for all
// gateways together, over everything older than a lease, and doubts what is overdue.
//
// Of its commits only those that doubt something need to be durable, and only for those who follow the feed:
// what is lost of them is still derived, and swept again.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	return s.sweep(ctx, s.walks.due(time.Now()))
}

func (s *Store) sweep(ctx context.Context, walk bool) (int, error) {
	total := 0
	for {
		n, more, err := s.sweepOwner(ctx)
		total += n
		if err != nil {
			return total, err
		}
		if !more {
			break
		}
	}
	if !walk {
		return total, nil
	}
	for range walkWindows {
		n, more, err := s.sweepOverdue(ctx)
		total += n
		if err != nil || !more {
			return total, err
		}
	}
	return total, nil
}

// pace lets something happen at most once in a while.
type pace struct {
	every time.Duration
	mu    sync.Mutex
	last  time.Time
}

func (p *pace) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.last) < p.every {
		return false
	}
	p.last = now
	return true
}

// sweepOwner doubts some of one lapsed owner's records. The owner's row is locked meanwhile, so that
// gateways share the work, and a renewal that is under way is waited out.
func (s *Store) sweepOwner(ctx context.Context) (n int, more bool, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var id pgtype.UUID
		var epoch int64
		var from time.Time
		err := tx.QueryRow(ctx, lapsedOwner, micros(s.lease)).Scan(&id, &epoch, &from)
		if err == pgx.ErrNoRows {
			return nil
		}
		if err != nil {
			return err
		}
		more = true
		ids, err := collect(tx.Query(ctx, orphansOf, id, epoch, from, sweepBatch))
		if err != nil {
			return err
		}
		if n, err = s.doubtOrphans(ctx, tx, ids); err != nil {
			return err
		}
		if len(ids) < sweepBatch {
			_, err = tx.Exec(ctx, ownerSwept, id, epoch)
		}
		return err
	})
	return n, more, err
}

// sweepOverdue makes one step of the walk, unless another gateway is making one.
func (s *Store) sweepOverdue(ctx context.Context) (n int, more bool, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var from pgtype.Timestamptz
		err := tx.QueryRow(ctx, overdueWalk).Scan(&from)
		if err == pgx.ErrNoRows {
			return nil
		}
		if err != nil {
			return err
		}
		var seen int
		var to pgtype.Timestamptz
		var ids []pgtype.UUID
		if err := tx.QueryRow(ctx, overdueWindow, from, micros(s.lease), walkWindow).Scan(&seen, &to, &ids); err != nil {
			return err
		}
		for start := 0; start < len(ids); start += sweepBatch {
			swept, err := s.doubtOrphans(ctx, tx, ids[start:min(start+sweepBatch, len(ids))])
			n += swept
			if err != nil {
				return err
			}
		}
		more = seen >= walkWindow
		if !to.Valid {
			return nil
		}
		_, err = tx.Exec(ctx, overdueAdvance, to)
		return err
	})
	return n, more, err
}

// doubtOrphans writes the doubt, on the same condition as Derive, and in order of id.
func (s *Store) doubtOrphans(ctx context.Context, tx pgx.Tx, ids []pgtype.UUID) (int, error) {
	if len(ids) == 0 {
		return 0, nil
	}
	if _, err := tx.Exec(ctx, lockRows, ids, ids); err != nil {
		return 0, err
	}
	tag, err := tx.Exec(ctx, doubtIfOrphan, ids, micros(s.lease))
	if err != nil || tag.RowsAffected() == 0 {
		return 0, err
	}
	if _, err = tx.Exec(ctx, logChanges, ids); err != nil {
		return 0, err
	}
	_, err = tx.Exec(ctx, commitDurably)
	return int(tag.RowsAffected()), err
}

// transact runs f in a transaction of its own, with a short lock_timeout and bounded like Apply.
func (s *Store) transact(ctx context.Context, f func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return clean(pgx.BeginFunc(ctx, s.claims, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sweepSettings); err != nil {
			return err
		}
		return f(tx)
	}))
}

func collect(rows pgx.Rows, err error) ([]pgtype.UUID, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[pgtype.UUID])
}
