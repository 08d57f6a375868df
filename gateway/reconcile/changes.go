package reconcile

import (
	"context"
	"errors"
	"math"
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
	states, err := statesOf(in.Params.State)
	if err != nil {
		return nil, err
	}
	events := wantsEvents(call.request.Header)
	call.header.Add("Vary", "Accept")
	cursor := in.Params.Since
	if last := in.Params.LastEventID; events && last != nil && *last != "" {
		cursor = last
	}
	if cursor == nil {
		cursor = new(string)
	}
	reading, err := a.Feed.Open(a.Work, call.caller, states, *cursor)
	if events {
		return a.stream(call, states, reading, err)
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
	case *limit < 1 || *limit > math.MaxInt32:
		return 0, refused{problem.NewRequestMalformed("The parameter limit is " + limitHint + ".")}
	}
	return min(*limit, mostItems), nil
}

// limitHint says what a limit is. What is above the most counts as the most: a page never says by its length that
// it is the last.
var limitHint = "a whole number from 1 to " + strconv.Itoa(math.MaxInt32) + "; what is above " + strconv.Itoa(mostItems) + " counts as " + strconv.Itoa(mostItems)

// statesOf reads the parameters state, each of which may be a list; none stands for all.
func statesOf(lists []reconciliation.RecordState) (states idempotency.StateSet, err error) {
	for _, list := range lists {
		for name := range strings.SplitSeq(string(list), ",") {
			s, ok := idempotency.ParseState(name)
			if !ok {
				return 0, refused{problem.NewRequestMalformed("The parameter state is one or several, between commas, of executing, completed, not_executed, unknown, cancelled and forgotten.")}
			}
			states = states.With(s)
		}
	}
	return states, nil
}
