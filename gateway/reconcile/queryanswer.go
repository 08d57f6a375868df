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

// recordPatience is how long a client may take for one record of an answer, so that a slow one does not keep
// the memory that is reserved for it.
const recordPatience = 30 * time.Second

// Records is the shape of the answer to a query, which is never in memory as a whole; see queryAnswer.
type Records = reconciliation.Records

// queryAnswer is the answer to a query: the records of those keys that have one, and the keys that have none, both
// in the order in which the query named them first, as of the oldest look among them. It is written record
// by record, so that no more than one body is in memory at a time.
type queryAnswer struct {
	withBody bool
	shown    func(idempotency.Record) idempotency.Record // as the caller may see it

	records    []idempotency.Record // without bodies
	unseen     []string
	observedAt time.Time
}

// add takes a look at the record of a key, and returns it as it is shown.
func (a *queryAnswer) add(rec idempotency.Record, key string) idempotency.Record {
	if at := rec.Observed.UTC(); a.observedAt.IsZero() || at.Before(a.observedAt) {
		a.observedAt = at // looks are made one after the other, and an answer in the spool by another clock
	}
	if rec.State == idempotency.Unseen {
		a.unseen = append(a.unseen, key)
		return rec
	}
	rec = a.shown(rec)
	a.records = append(a.records, rec)
	return rec
}

// length returns how many bytes of bodies the answer is going to show.
func (a *queryAnswer) length() (n int64) {
	for _, r := range a.records {
		if a.withBody && r.Response != nil && r.Response.Replayable {
			n += r.Response.Length
		}
	}
	return n
}

// write answers, and reads each body when its turn has come. Once it has begun an error can
// only cut the answer off.
func (a *queryAnswer) write(w http.ResponseWriter, read func(idempotency.OperationID) (idempotency.Record, error)) error {
	c := http.NewResponseController(w)
	defer func() { _ = c.SetWriteDeadline(time.Time{}) }()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	before := `{"records":[`
	for _, rec := range a.records {
		if a.withBody && rec.Response != nil && rec.Response.Replayable {
			var err error
			if rec, err = a.again(rec, read); err != nil {
				return fmt.Errorf("%w: %w", errCut, err)
			}
		}
		b, _ := json.Marshal(NewRecord(rec, a.withBody)) // structs of strings, numbers and times cannot fail
		_ = c.SetWriteDeadline(time.Now().Add(recordPatience))
		if _, err := w.Write(append([]byte(before), b...)); err != nil {
			return fmt.Errorf("%w: %w", errCut, err)
		}
		before = ","
	}
	if len(a.records) == 0 {
		_, _ = w.Write([]byte(before))
	}
	rest, _ := json.Marshal(struct {
		Unseen     []string  `json:"unseen"`
		ObservedAt time.Time `json:"observed_at"`
	}{append([]string{}, a.unseen...), a.observedAt})
	_ = c.SetWriteDeadline(time.Now().Add(recordPatience))
	if _, err := w.Write(append([]byte("],"), append(rest[1:], '\n')...)); err != nil {
		return fmt.Errorf("%w: %w", errCut, err)
	}
	return nil
}

// again reads a record with its body. An answer never changes; it can only have been forgotten since.
func (a *queryAnswer) again(rec idempotency.Record, read func(idempotency.OperationID) (idempotency.Record, error)) (idempotency.Record, error) {
	now, err := read(rec.ID)
	if err != nil || now.State != idempotency.Unseen {
		return a.shown(now), err
	}
	rec.State, rec.Response = idempotency.Forgotten, rec.Response.Bodiless()
	return rec, nil
}
