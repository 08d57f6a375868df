package sqlite

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// TakeProbes implements [idempotency.ProbeStore]. Most often nothing is due: requests wait for the
// writer only when something is.
func (s *Store) TakeProbes(ctx context.Context, routes []string, limit int, hold time.Duration) (taken []idempotency.OperationID, err error) {
	var due []idempotency.OperationID
	err = s.read(ctx, func(c *conn) (err error) {
		due, err = c.dueProbes(routes, limit, s.now())
		return err
	})
	if err != nil || len(due) == 0 {
		return nil, err
	}
	err = s.transact(ctx, func(c *conn, now time.Time) (err error) {
		if taken, err = c.dueProbes(routes, limit, now); err != nil {
			return err
		}
		for _, id := range taken {
			if _, err := c.exec("put_off_probe", id[:], instant(now.Add(hold))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

func (c *conn) dueProbes(routes []string, limit int, now time.Time) (due []idempotency.OperationID, err error) {
	for _, route := range routes {
		err := c.query("due_probes", func(v []driver.Value) error {
			var id idempotency.OperationID
			d := decoder{values: v}
			d.fixed(id[:])
			due = append(due, id)
			return d.err
		}, route, instant(now), int64(limit))
		if err != nil {
			return nil, err
		}
	}
	return due, nil
}

// PutOffProbe implements [idempotency.ProbeStore].
func (s *Store) PutOffProbe(ctx context.Context, a idempotency.Attempt, d time.Duration) error {
	return s.transact(ctx, func(c *conn, now time.Time) error {
		_, err := c.exec("put_off_probe_of_attempt", a.Operation[:], a.ID[:], instant(now.Add(d)))
		return err
	})
}
