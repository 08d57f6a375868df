package sqlite

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Acquire implements [idempotency.LeaseStore]. It ends the lease of whoever had one: this process has
// the file to itself. The duration is not used.
func (s *Store) Acquire(ctx context.Context, i idempotency.Instance, _ time.Duration) (idempotency.Owner, error) {
	o := idempotency.Owner{Instance: i.ID}
	err := s.transact(ctx, func(c *conn, now time.Time) error {
		err := c.query("acquire", func(v []driver.Value) error {
			d := decoder{values: v}
			o.Epoch = d.integer()
			return d.err
		}, i.ID[:], i.Host, i.Version, instant(now))
		if err != nil {
			return err
		}
		return c.noteInstance(o, i, now)
	})
	if err != nil {
		return idempotency.Owner{}, err
	}
	s.owner.Store(&o)
	return o, nil
}

// Renew implements [idempotency.LeaseStore]. It only looks whether o still has the lease, and the store its file.
func (s *Store) Renew(_ context.Context, o idempotency.Owner, _ time.Duration) error {
	if !s.holds(o) {
		return idempotency.ErrLeaseLost
	}
	return s.InPlace()
}

// GiveBack implements [idempotency.LeaseStore].
func (s *Store) GiveBack(_ context.Context, o idempotency.Owner) error {
	if owner := s.owner.Load(); owner != nil && *owner == o {
		s.owner.CompareAndSwap(owner, nil)
	}
	return nil
}

// Executing implements [idempotency.OwnStore].
func (s *Store) Executing(ctx context.Context, o idempotency.Owner, age time.Duration, limit int) (found []idempotency.Attempt, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("executing", func(v []driver.Value) error {
			a := idempotency.Attempt{Owner: o}
			d := decoder{values: v}
			d.fixed(a.Operation[:])
			d.fixed(a.ID[:])
			a.N = int(d.integer())
			found = append(found, a)
			return d.err
		}, o.Instance[:], o.Epoch, s.now().Add(-age).UnixMicro(), int64(limit))
	})
	return found, err
}

// portion is how many records one transaction of a background task touches, so that a batch of
// requests never waits long behind it.
const portion = 256

// Sweep implements [idempotency.LeaseStore]. What is overdue it doubts like what is orphaned.
func (s *Store) Sweep(ctx context.Context) (int, error) {
	total := 0
	for {
		n := 0
		err := s.transact(ctx, func(c *conn, now time.Time) error {
			ids, ts, err := s.doubtful(c, now)
			if err != nil || len(ts) == 0 {
				return err
			}
			results, err := s.batch(c, now, ids, ts)
			for _, r := range results {
				if r.Applied {
					n++
				}
			}
			return err
		})
		if err != nil {
			return total, err
		}
		total += n
		if n < portion {
			return total, nil
		}
	}
}

// doubtful returns the doubts that Derive already shows and nobody has written.
func (s *Store) doubtful(c *conn, now time.Time) (ids []idempotency.OperationID, ts []idempotency.Transition, err error) {
	instance, epoch := s.leaseholder()
	err = c.query("doubtful", func(v []driver.Value) error {
		var a idempotency.Attempt
		d := decoder{values: v}
		d.fixed(a.Operation[:])
		d.fixed(a.ID[:])
		cause := idempotency.CauseOverdue
		if d.flag() {
			cause = idempotency.CauseOwnerGone
		}
		ids = append(ids, a.Operation)
		ts = append(ts, idempotency.Doubt{Attempt: a, Cause: cause})
		return d.err
	}, instance, epoch, now.Add(-s.options.Lease).UnixMicro(), int64(portion))
	return ids, ts, err
}
