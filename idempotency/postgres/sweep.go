package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

var (
	lapsedOwner    = statement("sweep_lapsed_owner")
	orphansOf      = statement("sweep_orphans")
	ownerSwept     = statement("sweep_owner_done")
	overdueWalk    = statement("sweep_overdue_walk")
	overdueWindow  = statement("sweep_overdue_window")
	overdueLock    = statement("sweep_overdue_lock")
	overdueLeft    = statement("sweep_overdue_left")
	overdueAdvance = statement("sweep_overdue_advance")
	doubtIfOrphan  = statement("sweep_doubt_if_orphan")
	commitDurably  = statement("sweep_durably")
)

const (
	sweepBatch  = 500  // rows that one transaction of a sweep writes
	walkWindow  = 2000 // rows that one step of a walk reads
	walkWindows = 50   // steps of one call
)

// errLeft says that a sweep has done all that it could.
var errLeft = errors.New("records that are in doubt are locked by another session, and stay as they are until it ends (see pg_locks)")

// Sweep implements [idempotency.LeaseStore]. It first doubts what owners left executing whose leases
// lapsed, looking only at what they can have claimed; then, when that is due, it walks, once for all
// gateways together, over everything older than a lease, and doubts what is overdue.
//
// It waits for nobody who has locked a record, and goes on after whatever fails: one record must not keep the others
// from being written. The error tells of what is left, and the next sweep looks there again.
//
// Of its commits only those that doubt something need to be durable, and only for those who follow the feed:
// what is lost of them is still derived, and swept again.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	return s.sweep(ctx, s.walks.due(time.Now()))
}

func (s *Store) sweep(ctx context.Context, walk bool) (int, error) {
	total, err := s.sweepOwners(ctx)
	if !walk {
		return total, err
	}
	n, errOfWalk := s.walkOverdue(ctx)
	if err == nil {
		err = errOfWalk
	}
	return total + n, err
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

// lapsed is an owner whose lease has lapsed; the zero value comes before all.
type lapsed struct {
	id    pgtype.UUID
	epoch int64
	from  time.Time // before all that it can have left in time
}

// sweepOwners doubts the records of one lapsed owner after the other. The error is the first one.
func (s *Store) sweepOwners(ctx context.Context) (total int, first error) {
	last := lapsed{id: pgtype.UUID{Valid: true}}
	for {
		o, n, more, err := s.sweepOwner(ctx, last)
		total += n
		if err != nil && first == nil {
			first = err
		}
		if !o.id.Valid {
			return total, first
		}
		if !more {
			last = o
		}
	}
}

// sweepOwner doubts some records of the first lapsed owner after another, and says whether that may have more. The
// owner's row is locked meanwhile, so that gateways share the work, and a renewal that is under way is waited out.
// Without such an owner, and where it cannot be told, the one returned is not valid.
func (s *Store) sweepOwner(ctx context.Context, after lapsed) (o lapsed, n int, more bool, err error) {
	left := false
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var next lapsed
		err := tx.QueryRow(ctx, lapsedOwner, micros(s.lease), after.id, after.epoch).Scan(&next.id, &next.epoch, &next.from)
		if err == pgx.ErrNoRows {
			return nil
		}
		if err != nil {
			return err
		}
		o = next
		ids, err := collect(tx.Query(ctx, orphansOf, o.id, o.epoch, o.from, sweepBatch))
		if err != nil {
			return err
		}
		if n, err = s.doubtOrphans(ctx, tx, ids); err != nil {
			return err
		}
		if more = n == sweepBatch; more {
			return nil
		}
		tag, err := tx.Exec(ctx, ownerSwept, o.id, o.epoch, o.from)
		left = err == nil && tag.RowsAffected() == 0
		return err
	})
	if err != nil {
		return o, 0, false, err
	}
	if left {
		err = errLeft
	}
	return o, n, more, err
}

// walk is how far one call has walked over what may be overdue.
type walk struct {
	at   pgtype.Timestamptz // where the next step begins; not valid before the first, which begins where the store says
	left pgtype.Timestamptz // before the first record that is not overdue yet, or locked; not valid if there is none
}

// hold keeps the place before a record at which the next call has to look again.
func (w *walk) hold(place pgtype.Timestamptz) {
	if place.Valid && (!w.left.Valid || place.Time.Before(w.left.Time)) {
		w.left = place
	}
}

func (s *Store) walkOverdue(ctx context.Context) (total int, first error) {
	var w walk
	for range walkWindows {
		n, more, err := s.sweepOverdue(ctx, &w)
		total += n
		if err != nil && first == nil {
			first = err
		}
		if !more {
			break
		}
	}
	return total, first
}

// sweepOverdue makes one step of the walk, unless another gateway is making one.
func (s *Store) sweepOverdue(ctx context.Context, w *walk) (n int, more bool, err error) {
	left := false
	err = s.transact(ctx, func(tx pgx.Tx) error {
		var from pgtype.Timestamptz
		err := tx.QueryRow(ctx, overdueWalk).Scan(&from)
		if err == pgx.ErrNoRows {
			return nil
		}
		if err != nil {
			return err
		}
		if !w.at.Valid {
			w.at = from
		}
		var seen int
		var last, running pgtype.Timestamptz
		var ids []pgtype.UUID
		if err := tx.QueryRow(ctx, overdueWindow, w.at, micros(s.lease), walkWindow).Scan(&seen, &last, &running, &ids); err != nil {
			return err
		}
		if seen == 0 {
			return nil
		}
		for start := 0; start < len(ids); start += sweepBatch {
			free, err := collect(tx.Query(ctx, overdueLock, ids[start:min(start+sweepBatch, len(ids))]))
			if err != nil {
				return err
			}
			swept, err := s.doubtOrphans(ctx, tx, free)
			n += swept
			if err != nil {
				return err
			}
		}
		w.hold(running)
		if n < len(ids) {
			var locked pgtype.Timestamptz
			if err := tx.QueryRow(ctx, overdueLeft, ids).Scan(&locked); err != nil {
				return err
			}
			left = locked.Valid
			w.hold(locked)
		}
		w.at, more = last, seen >= walkWindow
		if w.left.Valid {
			last = w.left
		}
		_, err = tx.Exec(ctx, overdueAdvance, last)
		return err
	})
	if err != nil {
		return 0, false, err
	}
	if left {
		err = errLeft
	}
	return n, more, err
}

// doubtOrphans writes the doubt of records that the transaction has locked, on the same condition as Derive.
func (s *Store) doubtOrphans(ctx context.Context, tx pgx.Tx, ids []pgtype.UUID) (int, error) {
	if len(ids) == 0 {
		return 0, nil
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
