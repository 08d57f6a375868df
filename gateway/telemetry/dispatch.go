package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceway/onceway/idempotency"
)

// Outcome of an attempt, as metrics count it.
type Outcome uint8

const (
	Answered     Outcome = iota + 1 // the whole answer is here
	NotSent                         // there is proof that it had no effect
	InDoubt                         // it may have executed
	outcomeCount = iota + 1
)

var outcomeNames = [outcomeCount]string{"", "answered", "not_sent", "unknown"}

func (o Outcome) String() string { return outcomeNames[o] }

// Upstream is how one configured upstream is named.
type Upstream struct {
	observer  *Observer
	reach     reach
	name      string
	span      string
	starts    []trace.SpanStartOption
	counts    [outcomeCount]labels[[]metric.AddOption] // by cause
	durations [outcomeCount][]metric.RecordOption
}

// Upstream makes the handle of an upstream, once, at start-up.
func (o *Observer) Upstream(name string) *Upstream {
	u := &Upstream{observer: o, name: name, span: "dispatch " + name}
	u.starts = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(keyUpstream.String(name))}
	for i := range u.counts {
		outcome := Outcome(i).String()
		u.counts[i].make = func(cause string) []metric.AddOption {
			return added(keyUpstream.String(name), keyOutcome.String(outcome), keyCause.String(cause))
		}
		u.durations[i] = recorded(keyUpstream.String(name), keyOutcome.String(outcome))
	}
	return u
}

// Call is one attempt at an upstream. It may outlive the event that began it.
type Call struct {
	observer *Observer
	upstream *Upstream
	ctx      context.Context
	span     trace.Span
	remote   context.Context
	began    time.Time
}

// Dispatch begins an attempt, in a client span of its own; of an event that is not recorded the span stands for
// both. Every call must be ended.
func (e *Event) Dispatch(u *Upstream) *Call {
	c := &Call{observer: e.observer, upstream: u, ctx: e.ctx, span: e.span, remote: e.remote, began: time.Now()}
	if e.span.IsRecording() {
		c.ctx, c.span = e.observer.tracer.Start(e.ctx, u.span, u.starts...)
	}
	return c
}

// Context is the event's context with the call's span in it. It ends with the client's connection:
// whoever must go on without the client detaches it.
func (c *Call) Context() context.Context { return c.ctx }

// Inject sets traceparent and tracestate, so that the backend's spans are children of this call. There is none of
// them in to yet.
func (c *Call) Inject(to propagation.TextMapCarrier) { inject(to, c.ctx, c.remote) }

// End says what became of the attempt, and the status that the backend answered, 0 if none. It
// returns how long the call took.
func (c *Call) End(outcome Outcome, cause idempotency.Cause, status int) time.Duration {
	took := time.Since(c.began)
	o, u := c.observer, c.upstream
	o.dispatches.Add(c.ctx, 1, u.counts[outcome].of(string(cause))...)
	o.dispatchDuration.Record(c.ctx, took.Seconds(), u.durations[outcome]...)
	if c.span.IsRecording() { // so it is the call's own
		c.span.SetAttributes(keyOutcome.String(outcome.String()), keyCause.String(word(string(cause))))
		if status != 0 {
			c.span.SetAttributes(statusCode(status))
		}
		if outcome != Answered {
			c.span.SetStatus(codes.Error, "")
		}
		c.span.End()
	}
	return took
}
