package gateway

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/onceway/onceway/gateway/caller"
	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/limit"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/route"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/gateway/upstream"
	"github.com/onceway/onceway/idempotency"
)

// protected takes a request through the steps of docs/guarantee.md, in their order.
func (g *Gateway) protected(w *recorder, r *http.Request, b *bound, t route.Target, ev *telemetry.Event) {
	w.readable = true
	// 1. What needs no record; the whole request.
	e := &exchange{g: g, b: b, ev: ev}
	in := &e.in
	if err := g.takeIn(in, w, r, b, t); err != nil {
		g.refuse(w, ev, err, nil, idempotency.Record{})
		return
	}
	ev.Operation, ev.BytesIn = in.id, int64(len(in.body))
	slot, free := b.up.Acquire()
	handedOver := false // to the attempt, which gives all of it back
	defer func() {
		if handedOver {
			return
		}
		g.bodies.Give(in.reserved)
		e.leave.Unused()
		if free {
			slot()
		}
	}()

	// 2. to 4. Look up or claim. What can refuse a new attempt is known before, or asked for before the claim.
	start, now := time.Now(), g.now()
	request := idempotency.Request{
		ID: in.id, Operation: in.operation, Fingerprint: in.fingerprint, Method: r.Method, Target: in.target, Route: b.route.Name,
		Budget: b.timeout, Resend: b.route.Idempotency.OnUnknown == config.OnUnknownResend,
		KeyDate: in.keyDate, Retention: g.retention, Trace: ev.Trace(),
		Refusal: g.mayStart(in, now, free), TooOld: g.tooOld(in, now),
	}
	if g.limits != nil {
		request.Admit = func() (err error) { e.leave, err = g.admit(in, false); return err }
	}
	d, err := g.engine.Begin(g.work, request)
	if limited(err) && d.Record.State == idempotency.Unknown && request.Resend {
		// It counts among the unsettled already, and this attempt may settle it.
		request.Admit = func() (err error) { e.leave, err = g.admit(in, true); return err }
		d, err = g.engine.Begin(g.work, request)
	}
	ev.ClaimTook = time.Since(start)
	if d.Ruling != idempotency.Granted {
		e.leave.Unused() // whoever waits for another's attempt needs none of it
		e.leave = nil
		if free {
			slot()
			free = false
		}
	}
	if err != nil {
		g.refuse(w, ev, err, in, d.Record)
		return
	}
	switch d.Ruling {
	case idempotency.Granted:
		e.x, e.slot, e.call, e.expires = d.Execution, slot, ev.Dispatch(b.observed), d.Record.Expires
		ev.Upstream, ev.Attempt = b.observed, d.Record.Attempt.N
		handedOver = true
		if in.prefer.respondAsync {
			g.asynchronously(w, r, e, d.Record)
			return
		}
		result := e.run(r)
		defer func() { result.close() }()
		e.answerFirst(w, &result)
	case idempotency.Busy:
		g.attach(w, e, d)
	case idempotency.Claimable, idempotency.Replay, idempotency.NoBody, idempotency.InDoubt, idempotency.Forbidden,
		idempotency.Mismatch, idempotency.Incomparable, idempotency.Damage:
		e.answerRecord(w, d.Ruling, d.Record, problem.Replayed)
	}
}

// attach holds a duplicate while the attempt runs, and tells it that attempt's outcome. The wait does
// not end with the request's context: a client that has half-closed still reads, and the wait is short.
func (g *Gateway) attach(w http.ResponseWriter, e *exchange, d idempotency.Decision) {
	start := time.Now()
	o, settled, err := g.engine.Wait(g.waits, d, g.waitFor(e))
	e.ev.WaitTook = time.Since(start)
	switch {
	case err != nil:
		g.refuse(w, e.ev, err, &e.in, d.Record)
	case !settled && e.in.prefer.respondAsync:
		e.accepted(w, o.Record)
	case !settled:
		e.answerProblem(w, problem.NewInProgress(), d.Record)
	case o.Err != nil:
		e.answerProblem(w, problem.NewStillUnknown(), d.Record)
	case o.Answer != nil:
		e.passThrough(w, &live{status: o.Answer.Status, header: o.Answer.Header, body: o.Answer.Body, length: o.Answer.Length}, o.Record)
	case o.Record.State == idempotency.NotExecuted && !o.Record.Contradicted:
		e.answerProblem(w, withoutEffect(o.Record.Cause), o.Record)
	default:
		e.answerRecord(w, idempotency.Judge(o.Record, e.in.fingerprint), o.Record, problem.Attached)
	}
}

// waitFor returns how long a duplicate is held.
func (g *Gateway) waitFor(e *exchange) time.Duration {
	wait := e.b.route.Idempotency.AttachWait
	if e.in.prefer.respondAsync {
		wait = 0
	}
	if e.in.prefer.wait >= 0 {
		wait = e.in.prefer.wait
	}
	return min(wait, g.maxWait)
}

// asynchronously executes, and answers 202 if that takes longer than the client wants to wait.
func (g *Gateway) asynchronously(w http.ResponseWriter, r *http.Request, e *exchange, rec idempotency.Record) {
	done := make(chan result, 1)
	detached := r.Clone(context.WithoutCancel(r.Context()))
	g.background.Go(func() { done <- e.run(detached) })
	timer := time.NewTimer(g.waitFor(e))
	defer timer.Stop()
	select {
	case res := <-done:
		defer func() { res.close() }()
		e.answerFirst(w, &res)
	case <-timer.C:
		g.background.Go(func() { res := <-done; res.close() })
		e.accepted(w, rec)
	}
}

// exchange is one protected request after its intake.
type exchange struct {
	g  *Gateway
	b  *bound
	in intake
	ev *telemetry.Event

	// Only of the claimant.
	x       *idempotency.Execution
	call    *telemetry.Call
	slot    func()
	leave   *limit.Leave // of the caller's own limits
	expires time.Time    // of the key, as the claim said

	// Of the answer: fields that it has in any case need no memory of their own.
	link, length [1]string
}

// result is what the first caller is told: the durable outcome, and the live answer that led to it.
type result struct {
	settlement
	outcome idempotency.Outcome
	err     error // why the attempt was not sent, if it was refused at the last moment

	dispatchTook, commitTook time.Duration
}

func (r *result) close() {
	if r.live != nil {
		r.live.from.Discard()
	}
}

// run sends once and commits what came of it: steps 5 to 7. It is detached from the client; only its
// own deadline, or the end of a drain, ends it. Whatever happens, the execution is settled. It may
// outlive the request, and does not touch its event.
func (e *exchange) run(r *http.Request) (res result) {
	defer e.g.bodies.Give(e.in.reserved)
	defer e.slot()
	defer func() { e.leave.Ended(res.outcome.Err != nil || res.outcome.Record.State == idempotency.Unknown) }()
	defer func() {
		if fault := recover(); fault != nil {
			e.g.panicked(e.call.Context(), fault)
			res.close()
			res.settlement = settlement{move: doubt, cause: causePanic}
			res.outcome = e.x.Doubt(causePanic) // or what it was settled as before
		}
	}()

	deadline := time.Now().Add(e.b.timeout)
	outcome := e.b.up.Send(e.g.work, e.outbound(r, deadline))
	if a, ok := outcome.(upstream.Answered); ok {
		loaded, done := e.load(deadline, a)
		defer done()
		outcome = loaded
	}
	res.settlement = settle(outcome, &e.b.route.Idempotency, e.x.Attempt().N)
	if n, ok := outcome.(upstream.NotSent); ok {
		res.err = n.Err
	}
	res.dispatchTook = e.call.End(res.observed(), res.cause, res.status())

	start := time.Now()
	switch res.move {
	case complete:
		res.outcome = e.x.Complete(res.response)
	case release:
		res.outcome = e.x.Release(res.cause, res.response)
	case doubt:
		res.outcome = e.x.Doubt(res.cause)
	}
	res.commitTook = time.Since(start)
	return res
}

// causePanic says that our own code broke while an attempt was under way.
const causePanic idempotency.Cause = "panic"

// outbound makes the request as the backend gets it. Ours are set last.
func (e *exchange) outbound(r *http.Request, deadline time.Time) *upstream.Request {
	policy := &e.b.route.Idempotency
	trusted := e.g.trusted.Peer(r.RemoteAddr)
	fields := fieldsToBackend(toBackend(r.Header, policy.Header, trusted))
	caller.NewForwarded(r, trusted).Each(fields.Set)
	fields.Set(problem.HeaderOperation, e.in.id.String())
	fields.Set(problem.HeaderAttempt, strconv.Itoa(e.x.Attempt().N))
	fields.Set(problem.HeaderCaller, string(e.in.operation.Caller))
	e.call.Inject(&fields)
	return &upstream.Request{
		Method: r.Method, Target: e.in.target, Host: r.Host, Fields: fields, Body: e.in.body,
		MaxBody: policy.MaxResponseBody, MaxSpill: policy.MaxResponseSpill, Memory: &e.g.bodies, Deadline: deadline,
		Ready: func() error {
			if now := e.g.now(); deadlinePassed(e.in.deadline, now) {
				return &refusal{deadlineProblem(e.in.deadline, now)}
			}
			return e.x.Ready()
		},
	}
}

// refuse answers a request for which nothing was or will be sent. in is nil before its key is known.
func (g *Gateway) refuse(w http.ResponseWriter, ev *telemetry.Event, err error, in *intake, rec idempotency.Record) {
	p := refusalOf(err)
	if p.Slug == problem.Internal || p.Slug == problem.StoreUnavailable {
		g.fault(ev, err)
	}
	if rec.State == idempotency.Unknown && p.Slug == problem.DeadlinePassed {
		// No new attempt, but there was one: who is told to stop would take it for not executed.
		p = problem.NewStillUnknown()
	}
	if in != nil && rec.State != idempotency.Unseen {
		ev.Link(rec.Trace)
		g.expires(w.Header(), rec)
		p = p.About(in.id.String(), g.statusURL(in), rec.Trace.String())
	}
	g.writeProblem(w, ev, p)
}

// writeProblem is the only way by which this package sends a problem.
func (g *Gateway) writeProblem(w http.ResponseWriter, ev *telemetry.Event, p problem.Problem) {
	p = g.problems.Write(w, p)
	ev.Problem, ev.State, ev.Next = p.Slug, p.State, p.Next
}

// fault logs what only operators may know.
func (g *Gateway) fault(ev *telemetry.Event, err error) {
	g.log.LogAttrs(ev.Context(), slog.LevelError, "fault", slog.String("operation", ev.Operation.String()), slog.String("error", err.Error()))
}

// refusalOf maps an error to the problem that says what to do. Its private cause goes to the log only.
func refusalOf(err error) problem.Problem {
	var known *refusal
	switch {
	case errors.As(err, &known):
		return known.Problem
	case errors.Is(err, idempotency.ErrOverloaded), errors.Is(err, idempotency.ErrStopped):
		return problem.NewOverloaded("Too many requests wait for the store, or this gateway is shutting down. Nothing was sent to the backend.")
	}
	return problem.NewStoreUnavailable() // also without a lease: that is the store's word, too
}
