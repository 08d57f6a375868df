package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// MostKeys is how many keys one query may name.
const MostKeys = 100

// queryLimit bounds a query's content in bytes: every key escaped throughout, and room for the rest.
const queryLimit = MostKeys*(6*idempotency.MaxKeyLength+3) + 4<<10

// queryPatience is how long the content may take to come.
const queryPatience = 30 * time.Second

// QueryRequests answers for many keys at once. It is what a client asks first after a reconnect. The answer is
// written as it is read; see queryAnswer.
func (a *api) QueryRequests(ctx context.Context, in reconciliation.QueryRequestsRequestObject) (reconciliation.QueryRequestsResponseObject, error) {
	call := callOf(ctx)
	ids := make([]idempotency.OperationID, len(in.Body.Keys))
	for i, key := range in.Body.Keys {
		ids[i] = call.operation(key).ID()
	}
	wait, err := a.waitOf(in.Body.Wait)
	if err != nil {
		return nil, err
	}
	records, err := a.Engine.AwaitAll(a.Work, ids, wait, a.known)
	if err != nil {
		return nil, err
	}
	found := queryAnswer{
		withBody: len(in.Body.Include) > 0,
		shown:    func(rec idempotency.Record) idempotency.Record { return a.shown(call, rec) },
	}
	for i, rec := range records {
		records[i] = found.add(rec, in.Body.Keys[i])
	}
	reserved := found.length()
	return answer(func(w http.ResponseWriter) error {
		if reserved > 0 && !a.Memory.TakeForQuery(reserved) {
			return refused{problem.NewOverloaded("The memory for buffered bodies (body_budget) has no room for the bodies asked for. " +
				"Ask later, for fewer keys at once, or without include.")}
		}
		defer a.Memory.Give(reserved)
		a.stampAll(call, records)
		return found.write(w, func(id idempotency.OperationID) (idempotency.Record, error) {
			return a.Engine.Await(a.Work, id, 0, func(idempotency.Record) bool { return true })
		})
	}), nil
}

// contents reads the contents of requests for the generated server.
type contents struct{}

func (contents) Bind(into any, c echo.Context) (err error) {
	query, ok := into.(*reconciliation.Query)
	if !ok {
		return fmt.Errorf("nothing reads a %T", into)
	}
	*query, err = readQuery(c.Response(), c.Request())
	return err
}

// readQuery reads the content of a request. The error is a refusal.
func readQuery(w http.ResponseWriter, r *http.Request) (q reconciliation.Query, err error) {
	kind := r.Header.Get("Content-Type")
	if t, _, err := mime.ParseMediaType(kind); kind != "" && (err != nil || t != "application/json") {
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
