package sqlite

import (
	"context"
	"database/sql/driver"
	"strconv"
	"strings"

	"github.com/onceway/onceway/idempotency"
)

// Find implements [idempotency.Store].
func (s *Store) Find(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	return s.findBy(ctx, s.readers, ids)
}

// Ask implements [idempotency.AskStore].
func (s *Store) Ask(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	return s.findBy(ctx, s.askers, ids)
}

func (s *Store) findBy(ctx context.Context, conns chan *conn, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	now := s.now()
	found := make(map[idempotency.OperationID]idempotency.Record, len(ids))
	err := s.readOn(ctx, conns, func(c *conn) error {
		// A record and its answer come from one statement, and so from one state of the file.
		return c.in("records", ids, func(v []driver.Value) error {
			r, err := decode(v)
			if err != nil {
				return err
			}
			r.Derive(now, s.holds(r.Attempt.Owner), s.options.Lease)
			if r.State == idempotency.Completed {
				d := decoder{values: v[len(v)-3:]}
				d.payload().replay(&r.Record)
				if d.err != nil {
					return d.err
				}
			}
			found[r.ID] = r.Record
			return nil
		}, now.UnixMicro())
	})
	if err != nil {
		return nil, err
	}
	records := make([]idempotency.Record, len(ids))
	for i, id := range ids {
		r, ok := found[id]
		if !ok {
			r = idempotency.Record{ID: id, Observed: now}
		}
		records[i] = r
	}
	return records, nil
}

// requests reads rows as they are written, without their answers.
func (c *conn) requests(ids []idempotency.OperationID) (map[idempotency.OperationID]row, error) {
	rows := make(map[idempotency.OperationID]row, len(ids))
	err := c.in("requests", ids, func(v []driver.Value) error {
		r, err := decode(v)
		rows[r.ID] = r
		return err
	})
	return rows, err
}

// in runs a statement whose text ends in "IN (…)" for all ids, in portions. A portion is filled up
// with NULL, which is in no set, so that there are three texts to prepare and not one for each length.
func (c *conn) in(name string, ids []idempotency.OperationID, f func(v []driver.Value) error, first ...driver.Value) error {
	for len(ids) > 0 {
		width := 64
		switch {
		case len(ids) == 1:
			width = 1
		case len(ids) <= 8:
			width = 8
		}
		s, err := c.statementIn(name, width)
		if err != nil {
			return err
		}
		values := make([]driver.Value, 0, len(first)+width)
		values = append(values, first...)
		n := min(width, len(ids))
		for i := range n {
			values = append(values, ids[i][:])
		}
		for range width - n {
			values = append(values, nil)
		}
		if err := c.rows(name, s, f, values); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

func (c *conn) statementIn(name string, width int) (driver.Stmt, error) {
	prepared := name + strconv.Itoa(width)
	if s := c.prepared[prepared]; s != nil {
		return s, nil
	}
	text, err := statements.ReadFile("sql/" + name + ".sql")
	if err != nil {
		return nil, err
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", width), ", ")
	return c.prepare(prepared, strings.Replace(string(text), "…", marks, 1))
}
