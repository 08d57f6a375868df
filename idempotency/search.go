package idempotency

import (
	"context"
	"errors"
	"time"
)

// Query selects records for operators. Each field that is not zero narrows it.
type Query struct {
	State        State // as derived
	Caller       *Caller
	Route        string
	Trace        [16]byte      // of the last attempt, or of the cancellation where there was none
	OlderThan    time.Duration // age of the last attempt, or of a tombstone
	YoungerThan  time.Duration
	Contradicted bool // only records that an answer has proved wrong

	Limit int    // of records; at least 1
	After Cursor // where the page before ended; empty for the first page
}

// Cursor is a place in a search. It is the store's own, opaque, and safe in a URL.
type Cursor string

// ErrCursor says that a cursor is none of this store's.
var ErrCursor = errors.New("the cursor is not one of this store")

// Page is a part of what a search finds.
type Page struct {
	Records  []Record // without headers and bodies of answers, which are not checked against their seals
	Next     Cursor   // where to go on; empty at the end
	Observed time.Time
}

// SearchStore finds records for operators, and what is kept beside them.
type SearchStore interface {
	// Search looks at a bounded number of records, the newest first, by first sight or last attempt. So
	// a page may have fewer records than the limit, or none, and the search may still go on: only an empty
	// Next is the end. A record that moves meanwhile may be found twice or not at all. The error is
	// ErrCursor, or the store's.
	Search(ctx context.Context, q Query) (Page, error)
	// History reads what is kept beside a record, the oldest first.
	History(ctx context.Context, id OperationID) ([]Evidence, error)
}

// Selects reports whether a record, as observed, is one that q asks for.
func (q Query) Selects(r Record) bool {
	age := r.Observed.Sub(r.LastTried())
	switch {
	case r.State == Unseen,
		q.State != Unseen && r.State != q.State,
		q.Caller != nil && r.Operation.Caller != *q.Caller,
		q.Route != "" && r.Route != q.Route,
		q.Trace != [16]byte{} && r.Trace.TraceID != q.Trace,
		q.OlderThan > 0 && age < q.OlderThan,
		q.YoungerThan > 0 && age > q.YoungerThan,
		q.Contradicted && !r.Contradicted:
		return false
	}
	return true
}

// LastTried returns when the last attempt was claimed, or a tombstone first seen.
func (r *Record) LastTried() time.Time {
	if r.Claimed.IsZero() {
		return r.FirstSeen
	}
	return r.Claimed
}
