package telemetry

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceway/onceway/idempotency"
)

// Probes is how the questions about one route's records in doubt are named.
type Probes struct {
	observer *Observer
	span     string
	starts   []trace.SpanStartOption
	counts   labels[[]metric.AddOption] // by what was found
}

// Probes makes the handle of a route's probes, once, at start-up.
func (o *Observer) Probes(route string) *Probes {
	p := &Probes{observer: o, span: "probe " + route}
	p.starts = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(keyRoute.String(route))}
	p.counts.make = func(found string) []metric.AddOption { return added(keyRoute.String(route), keyResult.String(found)) }
	return p
}

// Probe is one question.
type Probe struct {
	probes *Probes
	ctx    context.Context
	span   trace.Span
	remote context.Context
}

// Start begins a question about an attempt, in a span that continues the attempt's trace. It must be
// ended.
func (p *Probes) Start(of idempotency.Trace) *Probe {
	question := &Probe{probes: p, ctx: context.Background()}
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: of.TraceID, SpanID: of.SpanID, TraceFlags: trace.FlagsSampled, Remote: true})
	if remote.IsValid() {
		question.remote = trace.ContextWithRemoteSpanContext(question.ctx, remote)
		question.ctx = question.remote
	}
	question.ctx, question.span = p.observer.tracer.Start(question.ctx, p.span, p.starts...)
	return question
}

// Within returns ctx with the question's span in it.
func (p *Probe) Within(ctx context.Context) context.Context {
	return trace.ContextWithSpan(ctx, p.span)
}

// Inject sets traceparent, so that the backend's spans are children of the question.
func (p *Probe) Inject(h http.Header) { replace(h, p.ctx, p.remote) }

// End says what was found, a word out of a fixed list, and the status that was answered, 0 if none.
func (p *Probe) End(found string, status int) {
	p.probes.observer.probes.Add(context.Background(), 1, p.probes.counts.of(found)...)
	if p.span.IsRecording() {
		p.span.SetAttributes(keyResult.String(word(found)))
		if status == 0 && found != "withheld" {
			p.span.SetStatus(codes.Error, "")
		} else if status != 0 {
			p.span.SetAttributes(statusCode(status))
		}
	}
	p.span.End()
}
