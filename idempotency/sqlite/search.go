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
