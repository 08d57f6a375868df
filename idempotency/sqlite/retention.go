package sqlite

import (
	"context"
	"database/sql/driver"
	"time"
)

// bodyGrace is how much longer bodies stay on the disk than they are shown, so that a clock that is set
// back by less does not ask for one that is gone and take its absence for damage.
const bodyGrace = 2 * time.Hour

// Purge implements [idempotency.RetentionStore].
//
// The feed is looked at when all else is done: earlier, most of it is still needed, for the sake of records that
// are about to go.
func (s *Store) Purge(ctx context.Context, limit int) (removed int, more bool, err error) {
	if more, err = s.purgeBodies(ctx, limit); err != nil {
		return 0, false, err
	}
	for removed < limit {
		want := min(portion, limit-removed)
		n := 0
		err := s.transact(ctx, func(c *conn, now time.Time) (err error) {
			n, err = c.purgeRecords(now.Add(-s.options.Grace), want)
			return err
		})
		if err != nil {
			return removed, false, err
		}
		removed += n
		if n < want {
			break
		}
	}
	if more || removed >= limit {
		return removed, true, nil
	}
	if now, last := time.Now(), s.compacted.Load(); last == nil || now.Sub(*last) >= s.options.CompactEvery {
		s.compacted.Store(&now)
		err = s.purgeFeed(ctx)
	}
	return removed, false, err
}

// purgeBodies removes at most limit bodies, few at a time, because one may be a mebibyte long.
func (s *Store) purgeBodies(ctx context.Context, limit int) (more bool, err error) {
	for limit > 0 {
		want := int64(min(portion/8, limit))
		var n int64
		err := s.transact(ctx, func(c *conn, now time.Time) (err error) {
			n, err = c.exec("delete_expired_payloads", now.Add(-bodyGrace).UnixMicro(), want)
			return err
		})
		if err != nil || n < want {
			return false, err
		}
		limit -= int(n)
	}
	return true, nil
}

// purgeRecords removes records that expired before an instant, and all that belongs to them.
func (c *conn) purgeRecords(before time.Time, limit int) (int, error) {
	type expired struct {
		seq int64
		id  []byte
	}
	var all []expired
	var last int64
	err := c.query("expired_requests", func(v []driver.Value) error {
		d := decoder{values: v}
		all = append(all, expired{d.integer(), d.blob()})
		last = max(last, d.integer())
		return d.err
	}, before.UnixMicro(), int64(limit))
	if err != nil {
		return 0, err
	}
	if len(all) > 0 {
		if _, err := c.exec("note_purged", last); err != nil {
			return 0, err
		}
	}
	for _, e := range all {
		if _, err := c.exec("delete_payload", e.seq); err != nil {
			return 0, err
		}
		if _, err := c.exec("delete_evidence", e.id); err != nil {
			return 0, err
		}
		if _, err := c.exec("delete_request", e.seq); err != nil {
			return 0, err
		}
	}
	return len(all), nil
}

// Purged implements [idempotency.RetentionStore].
func (s *Store) Purged(ctx context.Context) (last time.Time, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("purged", func(v []driver.Value) error {
			d := decoder{values: v}
			last = d.instant()
			return d.err
		})
	})
	return last, err
}
