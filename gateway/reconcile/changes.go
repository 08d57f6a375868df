package reconcile

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

const (
	usualItems = 100  // of a page
	mostItems  = 1000 // of a page
	// heldPatience is how long a list waits for what is committed but cannot be shown yet. Most often that is
	// milliseconds; and a client that asks again as long as it has not caught up does not ask more often.
	heldPatience = 250 * time.Millisecond
)

// ListRequests lists the caller's records in the order of their last changes, from a cursor on, or streams
// them as events.
func (a *api) ListRequests(ctx context.Context, in reconciliation.ListRequestsRequestObject) (reconciliation.ListRequestsResponseObject, error) {
	call := callOf(ctx)
	wait, err := a.waitOf(in.Params.Wait)
	if err != nil {
		return nil, err
	}
	limit, err := limitOf(in.Params.Limit)
	if err != nil {
		return nil, err
	}
	state, err := stateOf(in.Params.State)
	if err != nil {
		return nil, err
	}
	if since := in.Params.LastEventID; since != nil && *since != "" {
		in.Params.Since = since
	}
	cursor := ""
	if in.Params.Since != nil {
		cursor = *in.Params.Since
	}
	reading, err := a.Feed.Open(a.Work, call.caller, state, cursor)
	if wantsEvents(call.request.Header) {
		return a.stream(call, state, reading, err)
	}
	if err != nil {
		return nil, expired(err)
	}
	defer reading.Leave()
	items, caughtUp, err := a.readFor(reading, limit, wait)
	if errors.Is(err, idempotency.ErrFeedClosed) {
		items, caughtUp, err = nil, false, nil // nothing was missed: the cursor is as it was
	}
	if err != nil {
		return nil, expired(err)
	}
	changes := reconciliation.Changes{Items: []reconciliation.Record{}, Next: reading.Cursor(), CaughtUp: caughtUp}
	records := make([]idempotency.Record, len(items))
	for i, item := range items {
		records[i] = a.shown(call, item.Record)
		changes.Items = append(changes.Items, NewRecord(records[i], false))
	}
	a.stampChanges(call, records, caughtUp)
	return inJSON(http.StatusOK, changes), nil
}

// readFor reads what there is or, if that is nothing, what comes within wait.
func (a *api) readFor(r *idempotency.Reading, limit int, wait time.Duration) (items []idempotency.Item, caughtUp bool, err error) {
	if wait <= 0 {
		return r.ReadHeld(a.Work, limit, heldPatience)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	return r.Await(a.Work, limit, timer.C)
}

// shown is a record as its caller may see it. The others must not suffer for a damaged one: it is shown as
// unknown, which says no more than the problem of a damaged record does.
func (a *api) shown(c *call, rec idempotency.Record) idempotency.Record {
	if rec.Damaged {
		a.fault(c.ev, fmt.Errorf("operation %s: %w", rec.ID, idempotency.ErrDamaged))
		rec.State, rec.Response = idempotency.Unknown, nil
	}
	return rec
}

// stampChanges sets the headers of an answer about some records, or none. Where there may be more, nothing is
// done with what is there: there is more to learn first.
func (a *api) stampChanges(c *call, records []idempotency.Record, caughtUp bool) {
	if len(records) > 0 {
		a.stampAll(c, records)
	} else {
		c.ev.State, c.ev.Next = problem.Unseen, problem.Done
		c.header.Set(problem.HeaderState, problem.Unseen.String())
		c.header.Set(problem.HeaderNext, problem.Done.String())
		c.header.Set("Cache-Control", "no-store")
	}
	if !caughtUp && (c.ev.Next == problem.Done || c.ev.Next == problem.Stop) {
		c.ev.Next = problem.Reconcile
		c.header.Set(problem.HeaderNext, c.ev.Next.String())
		c.header.Set(problem.HeaderRetryAfter, a.Problems.RetryAfter(c.ev.Next))
	}
}

// expired makes a problem of a cursor that cannot be gone on from.
func expired(err error) error {
	if errors.Is(err, idempotency.ErrCursorExpired) {
		return refused{problem.NewCursorExpired()}
	}
	return err
}

func limitOf(limit *int) (int, error) {
	switch {
	case limit == nil:
		return usualItems, nil
	case *limit < 1:
		return 0, refused{problem.NewRequestMalformed("The parameter limit is " + limitHint + ".")}
	}
	return min(*limit, mostItems), nil
}

var limitHint = "a whole number from 1 to " + strconv.Itoa(mostItems)

// stateOf reads the parameter state; Unseen stands for all.
func stateOf(state *reconciliation.RecordState) (idempotency.State, error) {
	if state == nil {
		return idempotency.Unseen, nil
	}
	s, ok := idempotency.ParseState(string(*state))
	if !ok {
		return s, refused{problem.NewRequestMalformed("The parameter state is one of executing, completed, not_executed, unknown, cancelled and forgotten.")}
	}
	return s, nil
}

// wantsEvents reports whether a client asks for a stream of events, whatever else it takes.
func wantsEvents(h http.Header) bool {
	for _, line := range h.Values("Accept") {
		for member := range strings.SplitSeq(line, ",") {
			if kind, params, err := mime.ParseMediaType(member); err == nil && kind == eventStream && params["q"] != "0" {
				return true
			}
		}
	}
	return false
}
