package postgres

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

var (
	searchWindowEnd    = statement("search_window_end")
	searchWindow       = statement("search_window")
	searchUnknown      = statement("search_unknown")
	searchContradicted = statement("search_contradicted")
)

// searchWindowSize is how many records one search looks at, at most, where no index helps.
const searchWindowSize = 5000

// Search implements [idempotency.SearchStore]. It walks along the index of the last attempts, back in
// time, but finds what is unknown or contradicted by indexes of their own. Before it looks for what is
// unknown it sweeps: what only Derive shows is in no index.
func (s *Store) Search(ctx context.Context, q idempotency.Query) (page idempotency.Page, err error) {
	from, err := parsePlace(q.After)
	if err != nil {
		return page, err
	}
	if q.State == idempotency.Unknown {
		if _, err := s.sweep(ctx, true); err != nil {
			return page, fmt.Errorf("sweeping before a search: %w", err)
		}
	}
	err = s.transact(ctx, func(tx pgx.Tx) (err error) {
		page, err = s.search(ctx, tx, q, from)
		return err
	})
	if err != nil {
		return idempotency.Page{}, fmt.Errorf("searching: %w", err)
	}
	return page, nil
}

func (s *Store) search(ctx context.Context, tx pgx.Tx, q idempotency.Query, from place) (page idempotency.Page, err error) {
	if err := tx.QueryRow(ctx, "SELECT now()").Scan(&page.Observed); err != nil {
		return page, err
	}
	args := append(from.args(), ages(q)...)
	end, more := place{}, false
	query := searchWindow
	switch {
	case q.State == idempotency.Unknown:
		query = searchUnknown
	case q.Contradicted:
		query = searchContradicted
	default:
		if end, more, err = windowEnd(ctx, tx, args); err != nil {
			return page, err
		}
	}
	all := append(args, filters(q)...)
	if query == searchWindow {
		all = append(all, end.args()...)
	}
	rows, err := tx.Query(ctx, query, all...)
	if err != nil {
		return page, err
	}
	defer rows.Close()
	row, n := newRow(false), 0
	for rows.Next() {
		r, err := row.scan(rows, s.lease)
		if err != nil {
			return page, err
		}
		n++
		end = placeOf(&r.Record)
		if q.Selects(r.Record) {
			page.Records = append(page.Records, r.Record)
		}
	}
	if more || n == q.Limit {
		page.Next = end.cursor()
	}
	page.Observed = page.Observed.UTC()
	return page, rows.Err()
}

// windowEnd returns where the window that begins after the place in args ends, and whether anything
// comes after it.
func windowEnd(ctx context.Context, tx pgx.Tx, args []any) (end place, more bool, err error) {
	var at pgtype.Timestamptz
	var id pgtype.UUID
	err = tx.QueryRow(ctx, searchWindowEnd, append(args[:len(args):len(args)], searchWindowSize-1)...).Scan(&at, &id)
	if errors.Is(err, pgx.ErrNoRows) {
		return place{beginning: true}, false, nil
	}
	return place{at: at.Time, id: id.Bytes}, true, err
}

// ages are the bounds of the age of what is searched for, in microseconds.
func ages(q idempotency.Query) []any {
	const always = 100 * 365 * 24 * time.Hour
	oldest, youngest := always, -always
	if q.YoungerThan > 0 {
		oldest = q.YoungerThan
	}
	if q.OlderThan > 0 {
		youngest = q.OlderThan
	}
	return []any{micros(oldest), micros(youngest)}
}

func filters(q idempotency.Query) []any {
	var caller pgtype.Text
	if q.Caller != nil {
		caller = text(*q.Caller)
	}
	var trace octets
	if q.Trace != [16]byte{} {
		trace = q.Trace[:]
	}
	return []any{int2(int16(q.State)), caller, text(q.Route), trace, int4(q.Limit)}
}

// place is where a search is, on its way back in time. The zero place is before the first record that
// it meets.
type place struct {
	at        time.Time
	id        idempotency.OperationID
	beginning bool // of time: the end of the way
}

func placeOf(r *idempotency.Record) place { return place{at: r.LastTried(), id: r.ID} }

func (p place) args() []any {
	at := pgtype.Timestamptz{Time: p.at, Valid: true}
	switch {
	case p.beginning:
		at = pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
	case p.at.IsZero():
		at = pgtype.Timestamptz{InfinityModifier: pgtype.Infinity, Valid: true}
	}
	return []any{at, uuid(p.id)}
}

func (p place) cursor() idempotency.Cursor {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.at.UnixMicro()))
	return idempotency.Cursor(base64.RawURLEncoding.EncodeToString(append(b, p.id[:]...)))
}

func parsePlace(c idempotency.Cursor) (p place, err error) {
	if c == "" {
		return place{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(string(c))
	if err != nil || len(b) != 8+len(p.id) {
		return p, idempotency.ErrCursor
	}
	copy(p.id[:], b[8:])
	p.at = time.UnixMicro(int64(binary.BigEndian.Uint64(b)))
	if p.at.Year() < 1970 || p.at.Year() > 9999 {
		return p, idempotency.ErrCursor
	}
	return p, nil
}
