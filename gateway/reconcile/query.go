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
	found := list{withBody: q.withBody, damaged: func(id idempotency.OperationID) {
		a.fault(ev, fmt.Errorf("operation %s: %w", id, idempotency.ErrDamaged))
	}}
	for i, rec := range records {
		records[i] = found.add(rec, q.keys[i])
	}
	reserved := found.length()
	if reserved > 0 && !a.Memory.TakeForQuery(reserved) {
		return refused{problem.NewOverloaded("The memory for buffered bodies (body_budget) has no room for the bodies asked for. " +
			"Ask later, for fewer keys at once, or without include.")}
	}
	defer a.Memory.Give(reserved)
	a.stampAll(c.Response().Header(), ev, records)
	return found.write(c.Response(), func(id idempotency.OperationID) (idempotency.Record, error) {
		return a.Engine.Await(a.Work, id, 0, func(idempotency.Record) bool { return true })
	})
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
