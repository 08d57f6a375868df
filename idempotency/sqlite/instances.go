package sqlite

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// spoolMemory is how long a process that ended is remembered as one that may hold answers.
const spoolMemory = 90 * 24 * time.Hour

// noteInstance keeps the lease that has just been acquired, and forgets former ones that matter to nobody.
func (c *conn) noteInstance(o idempotency.Owner, i idempotency.Instance, now time.Time) error {
	if _, err := c.exec("forget_instances", o.Instance[:], instant(now.Add(-spoolMemory))); err != nil {
		return err
	}
	depth, oldest := spoolColumns(i.Spool)
	_, err := c.exec("insert_instance", o.Instance[:], o.Epoch, i.Host, i.Version, instant(now), depth, oldest)
	return err
}

// NoteSpool implements [idempotency.SpoolStore].
func (s *Store) NoteSpool(ctx context.Context, instance [16]byte, spool *idempotency.SpoolNote) error {
	depth, oldest := spoolColumns(spool)
	return s.transact(ctx, func(c *conn, _ time.Time) error {
		_, err := c.exec("note_spool", instance[:], depth, oldest)
		return err
	})
}

// spoolColumns returns what an instance's row says of its spool.
func spoolColumns(spool *idempotency.SpoolNote) (depth, oldest driver.Value) {
	if spool == nil {
		return nil, nil
	}
	if spool.Depth > 0 {
		oldest = instant(spool.Oldest)
	}
	return spool.Depth, oldest
}

// Instances implements [idempotency.InstanceStore].
func (s *Store) Instances(ctx context.Context, limit int) ([]idempotency.InstanceRecord, error) {
	return s.instances(ctx, "instances", int64(limit))
}

// InstanceLeases implements [idempotency.InstanceStore].
func (s *Store) InstanceLeases(ctx context.Context, instance [16]byte) ([]idempotency.InstanceRecord, error) {
	return s.instances(ctx, "instance_leases", instance[:])
}

func (s *Store) instances(ctx context.Context, name string, value driver.Value) (all []idempotency.InstanceRecord, err error) {
	instance, epoch := s.leaseholder()
	err = s.read(ctx, func(c *conn) error {
		return c.query(name, func(v []driver.Value) error {
			i, err := decodeInstance(v)
			all = append(all, i)
			return err
		}, instance, epoch, value)
	})
	return all, err
}

// leaseholder returns the owner that has the lease, or one that nobody is.
func (s *Store) leaseholder() (instance []byte, epoch int64) {
	if owner := s.owner.Load(); owner != nil {
		return owner.Instance[:], owner.Epoch
	}
	return []byte{0}, -1
}

func decodeInstance(v []driver.Value) (i idempotency.InstanceRecord, err error) {
	d := decoder{values: v}
	d.fixed(i.Owner.Instance[:])
	i.Owner.Epoch, i.Host, i.Version, i.Started, i.Alive = d.integer(), d.text(), d.text(), d.instant(), d.flag()
	spooling := d.values[0] != nil
	spool := idempotency.SpoolNote{Depth: d.integer(), Oldest: d.instant()}
	if spooling {
		i.Spool = &spool
	}
	return i, d.err
}
