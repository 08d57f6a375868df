package telemetry

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// Event is one request: its span while it lasts, and one line of the log when it ends. The goroutine
// that answers the request fills it in; nothing else may touch it. Zero fields are left out.
type Event struct {
	Operation idempotency.OperationID
	Attempt   int // the attempt whose outcome is answered
	State     problem.State
	Next      problem.Next
	Problem   problem.Slug
	Upstream  *Upstream
	Outcome   Outcome // of an attempt that this request made
	Cause     idempotency.Cause
	BytesIn   int64 // of the body
	BytesOut  int64

	ClaimTook    time.Duration // until the claim, or the look-up, was answered
	DispatchTook time.Duration
	CommitTook   time.Duration // of the outcome
	WaitTook     time.Duration // for another request's attempt

	observer *Observer
	route    *Route
	kind     *spanStart
	ctx      context.Context
	span     trace.Span
	remote   context.Context // with the client's span; nil if there is none
	linked   idempotency.Trace
	began    time.Time
}

// Start begins the event of r, in a server span that continues the client's trace (traceparent and
// tracestate, W3C Trace Context). Every event must be ended.
func (o *Observer) Start(r *http.Request, route *Route) *Event {
	e := &Event{observer: o, route: route, kind: route.start(r.Method), ctx: r.Context(), began: time.Now()}
	if len(r.Header["Traceparent"]) == 1 { // of several nobody knows which is meant
		e.ctx = propagation.TraceContext{}.Extract(e.ctx, lines{propagation.HeaderCarrier(r.Header)})
		if trace.SpanContextFromContext(e.ctx).IsValid() {
			e.remote = e.ctx
		}
	}
	e.ctx, e.span = o.tracer.Start(e.ctx, e.kind.name, asServer...)
	if e.span.IsRecording() {
		e.span.SetAttributes(e.kind.attributes...)
	}
	route.inFlight.Add(1)
	return e
}

// lines are fields of which each is one list, in however many lines it came (RFC 9110, section 5.3): so tracestate
// is to be read (W3C Trace Context, section 3.3).
type lines struct{ propagation.HeaderCarrier }

func (l lines) Get(name string) string { return strings.Join(l.Values(name), ",") }

// Context is the request's context with the event's span in it.
func (e *Event) Context() context.Context { return e.ctx }

// Trace is the span of this request: what a record keeps of the attempt that it makes.
func (e *Event) Trace() idempotency.Trace {
	sc := e.span.SpanContext()
	return idempotency.Trace{TraceID: sc.TraceID(), SpanID: sc.SpanID()}
}

// Link connects the span of a retry with the span that executed. A zero trace, or the event's own,
// changes nothing.
func (e *Event) Link(t idempotency.Trace) {
	if t == (idempotency.Trace{}) || t == e.Trace() {
		return
	}
	e.linked = t
	e.span.AddLink(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: t.TraceID, SpanID: t.SpanID, Remote: true})})
}

// Inject sets traceparent and tracestate for a request that is passed through. A protected attempt
// uses [Call.Inject].
func (e *Event) Inject(h http.Header) { replace(h, e.ctx, e.remote) }

// replace is inject where the client's fields may still be there.
func replace(h http.Header, own, remote context.Context) {
	h.Del("Tracestate")
	h.Del("Traceparent")
	inject(propagation.HeaderCarrier(h), own, remote)
}

// inject continues the trace. Where our own span is not recorded, the client's goes on as it came: a
// span that nobody will ever see must not stand between the client's and the backend's.
func inject(to propagation.TextMapCarrier, own, remote context.Context) {
	if remote != nil && !trace.SpanFromContext(own).IsRecording() {
		own = remote
	}
	propagation.TraceContext{}.Inject(own, to)
}

// End ends the event with the status that was answered, 0 if the client was gone before any was.
func (e *Event) End(status int) {
	took := time.Since(e.began)
	o := e.observer
	e.route.inFlight.Add(-1)
	o.requests.Add(e.ctx, 1, e.route.states[e.State]...)
	o.requestDuration.Record(e.ctx, took.Seconds(), e.route.duration(e.kind.method, status)...)
	if e.Problem != 0 {
		o.problemCount.Add(e.ctx, 1, o.problems[e.Problem]...)
	}
	if e.span.IsRecording() {
		e.span.SetAttributes(e.attributes(status)...)
		if status >= 500 {
			e.span.SetStatus(codes.Error, "")
		}
	}
	e.span.End()
	level := e.level()
	if (o.access || level > slog.LevelInfo) && o.log.Enabled(e.ctx, level) {
		var stack [24]slog.Attr
		o.log.LogAttrs(e.ctx, level, "request", e.fields(stack[:0], status, took)...)
	}
}

// level: what an operator must look at is an error, what refuses good requests a warning.
func (e *Event) level() slog.Level {
	switch e.Problem {
	case problem.Internal, problem.RecordDamaged:
		return slog.LevelError
	case problem.StoreUnavailable, problem.OutcomeUnknown:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (e *Event) attributes(status int) []attribute.KeyValue {
	kv := make([]attribute.KeyValue, 0, 8)
	if status != 0 {
		kv = append(kv, statusCode(status))
	}
	if e.State != 0 {
		kv = append(kv, keyState.String(e.State.String()))
	}
	if e.Next != 0 {
		kv = append(kv, keyNext.String(e.Next.String()))
	}
	if e.Problem != 0 {
		kv = append(kv, keyProblem.String(e.Problem.String()))
	}
	if e.Operation != (idempotency.OperationID{}) {
		kv = append(kv, keyOperation.String(e.Operation.String()))
	}
	if e.Attempt != 0 {
		kv = append(kv, keyAttempt.Int(e.Attempt))
	}
	return kv
}

// fields are the wide event, without trace_id and span_id: those are the log handler's.
func (e *Event) fields(f []slog.Attr, status int, took time.Duration) []slog.Attr {
	f = append(f,
		slog.String("method", e.kind.method),
		slog.String("route", e.route.name),
		slog.String("template", e.route.template),
		slog.Int("status", status),
	)
	text := func(name, value string) {
		if value != "" {
			f = append(f, slog.String(name, value))
		}
	}
	number := func(name string, value int64) {
		if value != 0 {
			f = append(f, slog.Int64(name, value))
		}
	}
	text("state", e.State.String())
	text("next", e.Next.String())
	text("problem", e.Problem.String())
	if e.Operation != (idempotency.OperationID{}) {
		text("operation", e.Operation.String())
	}
	number("attempt", int64(e.Attempt))
	if e.Upstream != nil {
		text("upstream", e.Upstream.name)
	}
	text("outcome", e.Outcome.String())
	text("cause", word(string(e.Cause)))
	number("bytes_in", e.BytesIn)
	if e.kind.method != http.MethodHead { // whose content is made for its length, and not sent
		number("bytes_out", e.BytesOut)
	}
	number("claim_us", e.ClaimTook.Microseconds())
	number("dispatch_us", e.DispatchTook.Microseconds())
	number("commit_us", e.CommitTook.Microseconds())
	number("wait_us", e.WaitTook.Microseconds())
	number("took_us", took.Microseconds())
	text("linked_trace_id", e.linked.String())
	return f
}
