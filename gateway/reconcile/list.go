package reconcile

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// Memory bounds the bodies that all calls hold together.
type Memory interface {
	// TakeForQuery reserves n bytes, or none if there is no room. It does not block.
	TakeForQuery(n int64) bool
	// Give returns what was reserved.
	Give(n int64)
}

// errCut says that an answer ended before its end.
var errCut = errors.New("the answer was cut off")

// recordPatience is how long a client may take for one record of a list, so that a slow one does not keep
// the memory that is reserved for it.
const recordPatience = 30 * time.Second

// Records is the shape of the answer to a query, which is never in memory as a whole; see list.
type Records = reconciliation.Records

// list is the answer to a query: the records of those keys that have one, and the keys that have none, both
// in the order in which the query named them first, as of the oldest look among them. It is written record
// by record, so that no more than one body is in memory at a time.
type list struct {
	withBody bool
	damaged  func(idempotency.OperationID) // hears of what does not match its digest

	records    []idempotency.Record // without bodies
	unseen     []string
	observedAt time.Time
}

// add takes a look at the record of a key, and returns it as it is shown.
func (l *list) add(rec idempotency.Record, key string) idempotency.Record {
	if at := rec.Observed.UTC(); l.observedAt.IsZero() || at.Before(l.observedAt) {
		l.observedAt = at // looks are made one after the other, and an answer in the spool by another clock
	}
	if rec.State == idempotency.Unseen {
		l.unseen = append(l.unseen, key)
		return rec
	}
	rec = l.whole(rec)
	l.records = append(l.records, rec)
	return rec
}

// whole shows a damaged record as unknown. The others must not suffer for it: it says no more than the
// problem of a damaged record does.
func (l *list) whole(rec idempotency.Record) idempotency.Record {
	if rec.Damaged {
		l.damaged(rec.ID)
		rec.State, rec.Response = idempotency.Unknown, nil
	}
	return rec
}

// length returns how many bytes of bodies the list is going to show.
func (l *list) length() (n int64) {
	for _, r := range l.records {
		if l.withBody && r.Response != nil && r.Response.Replayable {
			n += r.Response.Length
		}
	}
	return n
}

// write answers with the list, and reads each body when its turn has come. Once it has begun an error can
// only cut the answer off.
func (l *list) write(w http.ResponseWriter, read func(idempotency.OperationID) (idempotency.Record, error)) error {
	c := http.NewResponseController(w)
	defer func() { _ = c.SetWriteDeadline(time.Time{}) }()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	before := `{"records":[`
	for _, rec := range l.records {
		if l.withBody && rec.Response != nil && rec.Response.Replayable {
			var err error
			if rec, err = l.again(rec, read); err != nil {
				return fmt.Errorf("%w: %w", errCut, err)
			}
		}
		b, _ := json.Marshal(NewRecord(rec, l.withBody)) // structs of strings, numbers and times cannot fail
		_ = c.SetWriteDeadline(time.Now().Add(recordPatience))
		if _, err := w.Write(append([]byte(before), b...)); err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
		before = ","
	}
	if len(l.records) == 0 {
		_, _ = w.Write([]byte(before))
	}
	rest, _ := json.Marshal(struct {
		Unseen     []string  `json:"unseen"`
		ObservedAt time.Time `json:"observed_at"`
	}{append([]string{}, l.unseen...), l.observedAt})
	_ = c.SetWriteDeadline(time.Now().Add(recordPatience))
	if _, err := w.Write(append([]byte("],"), append(rest[1:], '\n')...)); err != nil {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	return nil
}

// again reads a record with its body. An answer never changes; it can only have been forgotten since.
func (l *list) again(rec idempotency.Record, read func(idempotency.OperationID) (idempotency.Record, error)) (idempotency.Record, error) {
	now, err := read(rec.ID)
	if err != nil || now.State != idempotency.Unseen {
		return l.whole(now), err
	}
	rec.State, rec.Response = idempotency.Forgotten, rec.Response.Bodiless()
	return rec, nil
}
