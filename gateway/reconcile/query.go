package reconcile

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
)

// MostKeys is how many keys one query may name.
const MostKeys = 100

// queryLimit bounds a query's content in bytes: every key escaped throughout, and room for the rest.
const queryLimit = MostKeys*(6*idempotency.MaxKeyLength+3) + 4<<10

// queryPatience is how long the content may take to come.
const queryPatience = 30 * time.Second

// Records is the answer to a query: the records of those keys that have one, and the keys that have none,
// both in the order in which the query named them first. All was looked at at the same instant.
type Records struct {
	Records    []Record  `json:"records"`
	Unseen     []string  `json:"unseen"`
	ObservedAt time.Time `json:"observed_at"`
}

// query answers for many keys at once. It is what a client asks first after a reconnect.
func (a *api) query(c echo.Context, ev *telemetry.Event) error {
	who, err := a.Callers.Resolve(c.Request())
	if err != nil {
		return refused{problem.NewUnauthenticated(Unauthenticated(err))}
	}
	q, err := readQuery(c.Response(), c.Request())
	if err != nil {
		return err
	}
	ids := make([]idempotency.OperationID, len(q.keys))
	for i, key := range q.keys {
		ids[i] = idempotency.Operation{Caller: who, Key: key}.ID()
	}
	records, err := a.Engine.AwaitAll(a.Work, ids, min(q.wait, a.MaxWait), a.known)
	if err != nil {
		return err
	}
	out := Records{Records: []Record{}, Unseen: []string{}}
	for i, rec := range records {
		if at := rec.Observed.UTC(); out.ObservedAt.IsZero() || at.Before(out.ObservedAt) {
			out.ObservedAt = at // an answer in the spool has been observed by another clock
		}
		switch {
		case rec.State == idempotency.Unseen:
			out.Unseen = append(out.Unseen, string(q.keys[i]))
		default:
			if rec.Damaged {
				// The others must not suffer for it: it says no more than the problem of a damaged record does.
				a.fault(ev, fmt.Errorf("operation %s: %w", rec.ID, idempotency.ErrDamaged))
				rec.State, rec.Response = idempotency.Unknown, nil
				records[i] = rec
			}
			out.Records = append(out.Records, NewRecord(rec, q.withBody))
		}
	}
	a.stampAll(c.Response().Header(), ev, records)
	writeJSON(c.Response(), http.StatusOK, out)
	return nil
}

// stampAll sets the headers of an answer about several records. A client that obeys them alone does what the
// record needs that is furthest from being settled, and so loses none.
func (a *api) stampAll(h http.Header, ev *telemetry.Event, records []idempotency.Record) {
	worst := slices.MinFunc(records, func(a, b idempotency.Record) int { return urgency(a.Believed()) - urgency(b.Believed()) })
	ev.State, ev.Next = problem.OfRecord(worst.Believed()), nextOf(worst)
	h.Set(problem.HeaderState, ev.State.String())
	h.Set(problem.HeaderNext, ev.Next.String())
	if after := a.Problems.RetryAfter(ev.Next); after != "" {
		h.Set(problem.HeaderRetryAfter, after)
	}
	h.Set("Cache-Control", "no-store")
}

// urgency orders states: the smallest is furthest from being settled.
func urgency(s idempotency.State) int {
	return slices.Index([]idempotency.State{
		idempotency.Executing, idempotency.Unknown, idempotency.NotExecuted, idempotency.Unseen,
		idempotency.Cancelled, idempotency.Forgotten, idempotency.Completed,
	}, s)
}

// query is the content of a query.
type query struct {
	keys     []idempotency.Key // none of them twice
	wait     time.Duration
	withBody bool
}

// readQuery reads the content of a request. The error is a refusal.
func readQuery(w http.ResponseWriter, r *http.Request) (q query, err error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return q, refused{problem.NewUnsupportedMediaType("A query is JSON: Content-Type: application/json.")}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(queryPatience))
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, queryLimit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return q, refused{problem.NewRequestTooLarge(fmt.Sprintf("A query has at most %d bytes and %d keys.", queryLimit, MostKeys))}
	}
	if err != nil {
		return q, malformedQuery("it is not whole")
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return parseQuery(content)
}

func malformedQuery(why string) error {
	return refused{problem.NewRequestMalformed("A query is one JSON object with the members keys (1 to 100 strings), and if needed wait (whole seconds) and include ([\"body\"]): " + why + ".")}
}
