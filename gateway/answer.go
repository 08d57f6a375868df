package gateway

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/reconcile"
	"github.com/onceway/onceway/idempotency"
)

// answerFirst tells the claimant what became of its attempt. What is told is what is stored: if another
// outcome was committed first, it is that one.
func (e *exchange) answerFirst(w http.ResponseWriter, res *result) {
	rec := res.outcome.Record
	e.ev.Outcome, e.ev.Cause = res.observed(), res.cause
	e.ev.DispatchTook, e.ev.CommitTook = res.dispatchTook, res.commitTook
	if res.outcome.Err != nil {
		// The store did not confirm the outcome in time. Nobody may be told more than that.
		e.g.fault(e.ev, res.outcome.Err)
		e.answerProblem(w, problem.NewOutcomeUnknown(false, "The backend was called, but the outcome could not be recorded in time."), e.claimed())
		return
	}
	switch rec.State {
	case idempotency.Completed:
		var once http.Header
		if rec.Damaged || rec.Response == nil {
			e.answerRecord(w, idempotency.Damage, rec, problem.Executed)
			return
		}
		if res.isStoredIn(rec, e.x.Attempt()) {
			if once = res.live.once; res.live.spill != nil {
				// There was no memory for it: a slow client must not keep it there.
				res.outcome, res.response, rec.Response, e.x = idempotency.Outcome{}, nil, nil, nil
				e.streamOnce(w, res.live, rec)
				return
			}
		}
		e.replay(w, rec, problem.Executed, once)
	case idempotency.Forgotten:
		if res.isStoredIn(rec, e.x.Attempt()) {
			e.streamOnce(w, res.live, rec)
			return
		}
		e.answerRecord(w, idempotency.NoBody, rec, problem.Executed)
	case idempotency.NotExecuted:
		var late *refusal
		switch {
		case rec.Contradicted:
			e.answerProblem(w, problem.NewOutcomeUnknown(false, "The record says that nothing was executed, and an answer of the backend says otherwise. Nothing will execute it again; its operators have to look."), rec)
		case res.live != nil && res.move == release:
			e.passThrough(w, res.live, rec)
		case errors.As(res.err, &late):
			e.answerProblem(w, late.Problem, rec)
		default:
			e.answerProblem(w, withoutEffect(rec.Cause), rec)
		}
	case idempotency.Unknown:
		if res.live != nil && res.move != complete {
			e.passThrough(w, res.live, rec)
			return
		}
		if res.move == release {
			e.answerProblem(w, problem.NewStillUnknown(), rec) // this attempt had no effect; one before it may have had
			return
		}
		if res.cause == causePanic {
			e.answerProblem(w, problem.NewInternal(problem.Unknown), rec)
			return
		}
		e.answerProblem(w, problem.NewOutcomeUnknown(res.timedOut, e.doubtText(rec.Cause)), rec)
	case idempotency.Cancelled, idempotency.Executing, idempotency.Unseen:
		e.answerRecord(w, idempotency.Judge(rec, e.in.fingerprint), rec, problem.Executed)
	}
}

// answerRecord answers from a record alone.
func (e *exchange) answerRecord(w http.ResponseWriter, ruling idempotency.Ruling, rec idempotency.Record, as problem.State) {
	switch ruling {
	case idempotency.Replay:
		e.replay(w, rec, as, nil)
	case idempotency.NoBody:
		e.answerProblem(w, reconcile.Forgotten(rec), rec)
	case idempotency.InDoubt:
		e.answerProblem(w, problem.NewStillUnknown(), rec)
	case idempotency.Forbidden:
		e.answerProblem(w, problem.NewCancelled(), rec)
	case idempotency.Mismatch:
		e.answerProblem(w, problem.NewKeyReused(), rec)
	case idempotency.Incomparable:
		e.answerProblem(w, problem.NewOverloaded("The record was written by a newer version of the gateway, which alone can compare this request with it. Nothing was sent to the backend."), rec)
	case idempotency.Damage:
		e.g.fault(e.ev, idempotency.ErrDamaged)
		e.answerProblem(w, problem.NewRecordDamaged(), rec)
	case idempotency.Busy:
		e.answerProblem(w, problem.NewInProgress(), rec)
	case idempotency.Claimable, idempotency.Granted:
		e.answerProblem(w, problem.NewInternal(problem.Rejected), rec)
	}
}

// isStoredIn reports whether the record holds the very answer that this attempt got. A store may return
// a copy of it, or read it back. On a record of a route that resends, the answer may be an earlier attempt's
// although the attempt is this one; that it had the same content does not make its fields the same. Of a forgotten
// answer no fields are kept.
func (r *result) isStoredIn(rec idempotency.Record, own idempotency.Attempt) bool {
	return r.move == complete && rec.Attempt.ID == own.ID && rec.Resolution == nil && rec.Response != nil &&
		rec.Response.Status == r.response.Status && rec.Response.Digest == r.response.Digest &&
		(rec.State == idempotency.Forgotten || maps.EqualFunc(rec.Response.Header, r.response.Header, slices.Equal))
}

// claimed returns what is known of the record while its outcome is not confirmed.
func (e *exchange) claimed() idempotency.Record {
	return idempotency.Record{ID: e.in.id, Operation: e.in.operation, State: idempotency.Unknown, Attempt: e.x.Attempt(), Trace: e.ev.Trace(), Expires: e.expires}
}

// replay writes a stored response.
func (e *exchange) replay(w http.ResponseWriter, rec idempotency.Record, as problem.State, once http.Header) {
	h := w.Header()
	for name, values := range rec.Response.Header {
		h[name] = values
	}
	for name, values := range once {
		h[name] = values
	}
	if as != problem.Executed {
		h[problem.HeaderReplayed] = headerTrue
	}
	if rec.Resolution != nil {
		h.Set(problem.HeaderResolved, reconcile.ResolvedBy(rec.Resolution))
	}
	e.stamp(h, rec, as, problem.Done)
	e.write(w, rec.Response.Status, rec.Response.Body)
}

var headerTrue = []string{"true"}

// streamOnce sends an answer that is not in memory to its first caller.
func (e *exchange) streamOnce(w http.ResponseWriter, l *live, rec idempotency.Record) {
	h := w.Header()
	for _, fields := range []http.Header{l.header, l.once} {
		for name, values := range fields {
			h[name] = values
		}
	}
	e.stamp(h, rec, problem.Executed, problem.Done)
	e.writeLive(w, l)
}

// passThrough sends a backend's answer that settles nothing for ever, unchanged but for our headers.
func (e *exchange) passThrough(w http.ResponseWriter, l *live, rec idempotency.Record) {
	h := w.Header()
	for name, values := range l.header {
		h[name] = values
	}
	state, next := problem.OfRecord(rec.State), problem.NextOfRecord(rec.State)
	if h.Get(problem.HeaderRetryAfter) == "" {
		h.Set(problem.HeaderRetryAfter, e.g.problems.RetryAfter(next))
	}
	e.stamp(h, rec, state, next)
	e.writeLive(w, l)
}

// stamp sets the headers that every protected answer has, and links its span to the attempt that it tells of.
func (e *exchange) stamp(h http.Header, rec idempotency.Record, state problem.State, next problem.Next) {
	e.ev.Link(rec.Trace)
	h[problem.HeaderState] = stateFields[state]
	h[problem.HeaderNext] = nextFields[next]
	e.g.expires(h, rec)
	e.link[0] = reconcile.StatusLink(e.g.basePath, e.in.operation.Key)
	if links := h[problem.HeaderLink]; links == nil {
		h[problem.HeaderLink] = e.link[:]
	} else {
		// The stored slice is shared by every replay and must not be written to.
		h[problem.HeaderLink] = append(slices.Clip(links), e.link[0])
	}
	e.ev.State, e.ev.Next = state, next
}

// stateFields and nextFields are the values of fields that every answer has. They are shared by all of them.
var (
	stateFields = valuesOf[problem.State](problem.StateCount)
	nextFields  = valuesOf[problem.Next](problem.NextCount)
)

func valuesOf[T interface {
	~uint8
	String() string
}](n int) [][]string {
	values := make([][]string, n)
	for i := range values {
		values[i] = []string{T(i).String()}
	}
	return values
}

// expires says until when the key protects.
func (g *Gateway) expires(h http.Header, rec idempotency.Record) {
	if !rec.Expires.IsZero() {
		h[problem.HeaderExpires] = g.dates.field(rec.Expires)
	}
}

// dates remembers the last date that was written as a field: keys that were claimed in one second expire in one.
type dates struct{ last atomic.Pointer[date] }

type date struct {
	second int64
	field  []string // shared by the answers that have it
}

// field returns t as the value of a field (RFC 9110, section 5.6.7).
func (d *dates) field(t time.Time) []string {
	second := t.Unix()
	if last := d.last.Load(); last != nil && last.second == second {
		return last.field
	}
	now := &date{second, []string{t.UTC().Format(http.TimeFormat)}}
	d.last.Store(now)
	return now.field
}

// answerProblem writes one of our own answers about a record, and links the span to the attempt that it tells of.
func (e *exchange) answerProblem(w http.ResponseWriter, p problem.Problem, rec idempotency.Record) {
	e.ev.Link(rec.Trace)
	e.g.expires(w.Header(), rec)
	if rec.Resolution != nil {
		w.Header().Set(problem.HeaderResolved, reconcile.ResolvedBy(rec.Resolution))
	}
	e.g.writeProblem(w, e.ev, p.About(e.in.id.String(), e.g.statusURL(&e.in), rec.Trace.String()))
}

// accepted answers 202 with the record.
func (e *exchange) accepted(w http.ResponseWriter, rec idempotency.Record) {
	h := w.Header()
	h.Set("Location", e.g.statusURL(&e.in))
	h.Set(problem.HeaderPreferenceApplied, "respond-async")
	h.Set(problem.HeaderRetryAfter, e.g.problems.RetryAfter(problem.Wait))
	h.Set("Cache-Control", "no-store")
	e.stamp(h, rec, problem.Executing, problem.Wait)
	reconcile.WriteRecord(w, http.StatusAccepted, rec, false)
}

// withoutEffect says that an attempt had no effect, and how that is known: by the backend's own word, whose
// status whoever waited gets at every gateway, though the answer is only where it came in; by somebody
// else's word, or a later attempt, which leaves no cause; or because nothing was sent.
func withoutEffect(cause idempotency.Cause) problem.Problem {
	if status := statusOf(cause); status != 0 || cause == "" {
		return problem.NewWithoutEffect(status)
	}
	return problem.NewBackendUnreachable("The attempt is known to have had no effect (" + string(cause) + "). Send the same request with the same key again.")
}

// doubtText says what is unknown, and what becomes of it.
func (e *exchange) doubtText(cause idempotency.Cause) string {
	text := "The request was sent, and there is no whole answer (" + string(cause) + "): it may have been executed. "
	switch e.b.route.Idempotency.OnUnknown {
	case config.OnUnknownHold:
	case config.OnUnknownProbe:
		return text + "Nothing will execute it again as long as that is so; the backend is being asked. Ask for its record."
	case config.OnUnknownResend:
		return text + "The backend knows its copies by their key: a retry with the same key resolves it."
	}
	return text + "Nothing will execute it again; ask for its record."
}

// write sends a body that is in memory.
func (e *exchange) write(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	noSniff(h)
	if hasBody(status) {
		e.length[0] = strconv.Itoa(len(body))
		h["Content-Length"] = e.length[:]
	}
	w.WriteHeader(status)
	if len(body) > 0 {
		w.Write(body)
	}
	e.ev.BytesOut = int64(len(body))
}

// writeLive sends a body that may be in a spill file.
func (e *exchange) writeLive(w http.ResponseWriter, l *live) {
	if l.spill == nil {
		e.write(w, l.status, l.body)
		return
	}
	h := w.Header()
	noSniff(h)
	h["Content-Length"] = []string{strconv.FormatInt(l.length, 10)}
	w.WriteHeader(l.status)
	var err error
	if e.ev.BytesOut, err = io.Copy(w, l.spill.Reader()); err != nil {
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
}

// noSniff keeps net/http from inventing a content type that the backend did not send.
func noSniff(h http.Header) {
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil
	}
}

func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
