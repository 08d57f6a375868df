package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/onceway/onceway/idempotency"
)

// searchWindow is how many records one search looks at, at most.
const searchWindow = 5000

// cursorMark begins every cursor.
const cursorMark = "before-"

// errFull ends a walk whose page is full.
var errFull = errors.New("the page is full")

// Search implements [idempotency.SearchStore]. It walks back along the order of first sight, or along the
// index of those few that are open or contradicted.
func (s *Store) Search(ctx context.Context, q idempotency.Query) (idempotency.Page, error) {
	before := int64(math.MaxInt64)
	if q.After != "" {
		digits, ours := strings.CutPrefix(string(q.After), cursorMark)
		n, err := strconv.ParseInt(digits, 10, 64)
		if !ours || err != nil || n < 1 {
			return idempotency.Page{}, idempotency.ErrCursor
		}
		before = n
	}
	statement := "search"
	switch {
	case q.Contradicted:
		statement = "search_contradicted"
	case q.State == idempotency.Executing || q.State == idempotency.Unknown:
		statement = "search_open"
	}
	page := idempotency.Page{Observed: s.now()}
	seen := 0
	err := s.read(ctx, func(c *conn) error {
		return c.query(statement, func(v []driver.Value) error {
			if len(page.Records) == q.Limit {
				return errFull
			}
			r, err := decode(v)
			if err != nil {
				return err
			}
			seen++
			before = r.seq
			r.Derive(page.Observed, s.holds(r.Attempt.Owner), s.options.Lease)
			if q.Selects(r.Record) {
				page.Records = append(page.Records, r.Record)
			}
			return nil
		}, before, int64(searchWindow))
	})
	if err != nil && !errors.Is(err, errFull) {
		return idempotency.Page{}, err
	}
	if err != nil || seen == searchWindow {
		page.Next = idempotency.Cursor(cursorMark + strconv.FormatInt(before, 10))
	}
	return page, nil
}

// History implements [idempotency.SearchStore].
func (s *Store) History(ctx context.Context, id idempotency.OperationID) (all []idempotency.Evidence, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("history", func(v []driver.Value) error {
			e, err := decodeEvidence(v)
			e.Operation = id
			all = append(all, e)
			return err
		}, id[:])
	})
	return all, err
}

func decodeEvidence(v []driver.Value) (e idempotency.Evidence, err error) {
	d := decoder{values: v}
	d.fixed(e.Attempt[:])
	e.Kind, e.N, e.By, e.Text, e.At = idempotency.EvidenceKind(d.text()), int(d.integer()), d.text(), d.text(), d.instant()
	e.Response = d.response()
	p := d.payload()
	if e.Response != nil && len(p.seal) == 32 && e.Response.Unseal(p.fields, p.body, [32]byte(p.seal)) != nil {
		e.Response = e.Response.Bodiless()
	}
	return e, d.err
}

// InDoubt implements [idempotency.CensusStore].
func (s *Store) InDoubt(ctx context.Context) (int64, error) { return s.count(ctx, "in_doubt") }

// InDoubtOf implements [idempotency.CensusStore].
func (s *Store) InDoubtOf(ctx context.Context, caller idempotency.Caller, most int) (int, error) {
	n, err := s.count(ctx, "in_doubt_of_caller", nonNil([]byte(caller)), int64(most))
	return int(n), err
}

// Contradicted implements [idempotency.CensusStore].
func (s *Store) Contradicted(ctx context.Context) (int64, error) { return s.count(ctx, "contradicted") }

func (s *Store) count(ctx context.Context, statement string, values ...driver.Value) (count int64, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(statement, func(v []driver.Value) error {
			d := decoder{values: v}
			count = d.integer()
			return d.err
		}, values...)
	})
	return count, err
}
