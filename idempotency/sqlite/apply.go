package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Apply implements [idempotency.Store]: one transaction for the batch.
func (s *Store) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	if len(ts) == 0 {
		return nil, nil
	}
	ids, err := targets(ts)
	if err != nil {
		return nil, &idempotency.RolledBackError{Err: err}
	}
	var results []idempotency.Result
	err = s.transact(ctx, func(c *conn, now time.Time) (err error) {
		results, err = s.batch(c, now, ids, ts)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

func targets(ts []idempotency.Transition) ([]idempotency.OperationID, error) {
	ids := make([]idempotency.OperationID, len(ts))
	seen := make(map[idempotency.OperationID]struct{}, len(ts))
	for i, t := range ts {
		ids[i] = t.Target()
		seen[ids[i]] = struct{}{}
	}
	if len(seen) != len(ids) {
		return nil, errors.New("two transitions of one batch are about one operation")
	}
	return ids, nil
}

// batch makes the moves of ts within a transaction that has the write lock, so that nothing changes
// between reading a row and writing it; the writes check it all the same.
func (s *Store) batch(c *conn, now time.Time, ids []idempotency.OperationID, ts []idempotency.Transition) ([]idempotency.Result, error) {
	stored, err := c.requests(ids)
	if err != nil {
		return nil, err
	}
	last, err := c.lastChange()
	if err != nil {
		return nil, err
	}
	number := last + 1
	var entries []byte
	results := make([]idempotency.Result, len(ts))
	for i, t := range ts {
		before, ok := stored[ids[i]]
		if !ok {
			before.ID = ids[i]
		}
		after, changed, evidence := idempotency.Next(before.Record, t, idempotency.Env{
			Now: now, OwnerHasLease: s.holds(before.Attempt.Owner), Lease: s.options.Lease,
		})
		seq := before.seq
		if changed {
			if seq, err = c.write(before, &after, number); err != nil {
				return nil, err
			}
			entries = appendEntry(entries, &after)
		}
		if evidence != nil {
			if err := c.writeEvidence(evidence); err != nil {
				return nil, err
			}
		}
		answered := changed && after.State == idempotency.Completed && before.State != idempotency.Completed
		after.Derive(now, s.holds(after.Attempt.Owner), s.options.Lease)
		if after.State == idempotency.Completed && !answered {
			if err := c.replay(seq, &after); err != nil {
				return nil, err
			}
		}
		results[i] = idempotency.ResultOf(t, after)
	}
	if len(entries) > 0 {
		if _, err := c.exec("insert_changes", number, instant(now), entries); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// errMoved cannot happen while this process has the file to itself; if it does, somebody else writes it.
var errMoved = errors.New("a record changed between being read and being written: something else writes the store's file")

// write inserts the row, or updates it on the condition that it is still as it was read, and its
// payload with it, in the commit of a number. It returns the row's own.
func (c *conn) write(before row, after *idempotency.Record, commit int64) (seq int64, err error) {
	var changed int64
	if before.Revision == 0 {
		result, err := c.run("insert_request", columns(after, commit, fixedColumns(after)))
		if err != nil {
			return 0, err
		}
		changed, _ = result.RowsAffected()
		seq, _ = result.LastInsertId()
	} else {
		seq = before.seq
		changed, err = c.exec("update_request_if_unchanged", columns(after, commit, []driver.Value{before.ID[:], before.Revision})...)
		if err != nil {
			return 0, err
		}
	}
	if changed != 1 {
		return 0, errMoved
	}
	switch {
	case after.State == idempotency.Completed && before.State != idempotency.Completed:
		_, err = c.run("insert_payload", append(appendPayload([]driver.Value{seq}, after.Response), instant(after.BodyExpires)))
	case after.State == idempotency.Forgotten && before.State == idempotency.Completed:
		_, err = c.exec("delete_payload", seq)
	}
	return seq, err
}

func (c *conn) writeEvidence(e *idempotency.Evidence) error {
	v := []driver.Value{e.Operation[:], e.Attempt[:], string(e.Kind), int64(e.N), e.By, e.Text, instant(e.At)}
	_, err := c.run("insert_evidence", appendPayload(appendResponse(v, e.Response), e.Response))
	return err
}

// replay reads the answer of a record whose body this batch has not just written.
func (c *conn) replay(seq int64, r *idempotency.Record) error {
	var p payload
	err := c.query("payload", func(v []driver.Value) error {
		d := decoder{values: v}
		p = d.payload()
		return d.err
	}, seq)
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	p.replay(r)
	return nil
}
