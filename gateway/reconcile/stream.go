package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// Server-sent events (HTML Standard, section 9.2) of the same changes that the list has.

const (
	eventStream = "text/event-stream"
	// heartbeat is how often a stream says where it is although nothing has changed.
	heartbeat = 15 * time.Second
	// eventPatience is how long a client may take for some events. Who takes longer is cut off, and comes back
	// by the id of the last event that it had.
	eventPatience = 10 * time.Second
	// eventsAtOnce is how many changes are written before the next ones are looked for.
	eventsAtOnce = 100
)

// Reasons of bye.
const (
	byeDraining        = "draining"
	byeUnauthenticated = "unauthenticated"
	byeStore           = "store-unavailable"
)

// stream answers with events. A cursor that has expired is no problem here: to a client that reconnects by
// itself a refusal would be the end.
func (a *api) stream(c *call, states idempotency.StateSet, r *idempotency.Reading, err error) (reconciliation.ListRequestsResponseObject, error) {
	reset := errors.Is(err, idempotency.ErrCursorExpired)
	if reset {
		r, err = a.Feed.Open(a.Work, c.caller, states, "")
	}
	if err != nil {
		return nil, err
	}
	return answer(func(w http.ResponseWriter) error {
		defer func() { r.Leave() }()
		ctx, leave := context.WithCancel(a.Work)
		defer leave()
		defer context.AfterFunc(c.request.Context(), leave)()

		before := r.Cursor()
		items, caughtUp, err := r.Poll(ctx, eventsAtOnce)
		if errors.Is(err, idempotency.ErrCursorExpired) { // it is of another history of the store
			reset = true
			if r, err = a.again(c, states, r); err == nil {
				before = r.Cursor()
				items, caughtUp, err = r.Poll(ctx, eventsAtOnce)
			}
		}
		if err != nil && !errors.Is(err, idempotency.ErrFeedClosed) {
			return err
		}
		a.stampChanges(c, nil, len(items) == 0 && caughtUp)
		e := newEvents(w)
		if c.request.Method == http.MethodHead {
			return nil
		}
		if reset {
			e.write("reset", before, nil)
		}
		e.sync(before, len(items) == 0 && caughtUp)
		for err == nil && e.err == nil {
			for _, item := range items {
				e.write("request", r.CursorAfter(item), NewRecord(a.shown(c, item.Record), false))
			}
			if caughtUp && !e.caughtUp || time.Since(e.synced) >= heartbeat {
				if _, err := a.Callers.Resolve(c.request); err != nil {
					e.bye(r.Cursor(), byeUnauthenticated)
					return nil
				}
				e.sync(r.Cursor(), caughtUp)
			}
			e.caughtUp = caughtUp
			if e.flush(); e.err != nil || ctx.Err() != nil {
				break
			}
			timer := time.NewTimer(time.Until(e.synced.Add(heartbeat)))
			items, caughtUp, err = r.Follow(ctx, eventsAtOnce, timer.C)
			timer.Stop()
			if errors.Is(err, idempotency.ErrCursorExpired) {
				if r, err = a.again(c, states, r); err == nil {
					e.write("reset", r.Cursor(), nil)
				}
			}
		}
		switch {
		case a.Work.Err() != nil || errors.Is(err, idempotency.ErrFeedClosed):
			e.bye(r.Cursor(), byeDraining)
		case err != nil:
			a.fault(c.ev, err)
			e.bye(r.Cursor(), byeStore)
		}
		return nil
	}), nil
}

// again begins at the start. Only with an error the reading is the one before.
func (a *api) again(c *call, states idempotency.StateSet, r *idempotency.Reading) (*idempotency.Reading, error) {
	fresh, err := a.Feed.Open(a.Work, c.caller, states, "")
	if err != nil {
		return r, err
	}
	r.Leave()
	return fresh, nil
}

// events writes events to one client. Its first error stays.
type events struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	err      error
	synced   time.Time
	caughtUp bool // as the client knows
	late     bool // a deadline is set
}

// newEvents begins the answer. Where a client is cut off it comes back after one to three seconds, so that
// many do not come at once.
func newEvents(w http.ResponseWriter) *events {
	h := w.Header()
	h.Set("Content-Type", eventStream)
	h.Set("X-Accel-Buffering", "no") // for proxies in between that would collect events
	w.WriteHeader(http.StatusOK)
	e := &events{w: w, control: http.NewResponseController(w)}
	e.put("retry: " + strconv.FormatInt(1000+rand.Int64N(2000), 10) + "\n\n")
	return e
}

// write writes an event with one line of data, null if there is none to give: an event without data is dropped.
func (e *events) write(name, id string, data any) {
	b, _ := json.Marshal(data) // structs of strings, numbers and times cannot fail
	e.put("id: " + id + "\nevent: " + name + "\ndata: " + string(b) + "\n\n")
}

func (e *events) sync(id string, caughtUp bool) {
	e.synced, e.caughtUp = time.Now(), caughtUp
	e.write("sync", id, map[string]bool{"caught_up": caughtUp})
}

// bye says why the stream ends.
func (e *events) bye(id, reason string) {
	e.write("bye", id, map[string]string{"reason": reason})
	e.flush()
}

func (e *events) put(text string) {
	if e.err != nil {
		return
	}
	if !e.late {
		_ = e.control.SetWriteDeadline(time.Now().Add(eventPatience))
		e.late = true
	}
	_, e.err = e.w.Write([]byte(text))
}

// flush hands what was written to the kernel, and takes the deadline off: over HTTP/2 it would end the stream
// while nothing is written.
func (e *events) flush() {
	if e.err == nil && e.late {
		e.err = e.control.Flush()
		e.late = false
		_ = e.control.SetWriteDeadline(time.Time{})
	}
}
