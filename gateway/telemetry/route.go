package telemetry

import (
	"net/http"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceway/onceway/gateway/problem"
)

// Route is how requests of one configured route, or of one call of our own APIs, are named.
type Route struct {
	name     string
	template string
	spans    map[string]*spanStart // by method, plus ""
	states   [problem.StateCount][]metric.AddOption
	inFlight *atomic.Int64

	mu        sync.RWMutex
	durations map[answerKind][]metric.RecordOption
}

type spanStart struct {
	name   string
	method string // as shown: a method that nobody knows is _OTHER
	// attributes are set when the span has begun, if it is recorded: most are not, and then they cost nothing.
	attributes []attribute.KeyValue
}

var asServer = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindServer)}

type answerKind struct {
	method string
	status int
}

// Route makes the handle of a route, once, at start-up. Template is a pattern such as /orders/** or
// /_reconcile/v1/requests/{key}, never a path that somebody sent.
func (o *Observer) Route(name, template string) *Route {
	r := &Route{name: name, template: template, spans: map[string]*spanStart{}, durations: map[answerKind][]metric.RecordOption{}}
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace} {
		r.spans[m] = newSpanStart(m+" "+template, m, r)
	}
	r.spans[""] = newSpanStart("HTTP "+template, "_OTHER", r)
	for s := problem.State(0); s < problem.StateCount; s++ {
		r.states[s] = added(keyRoute.String(name), keyState.String(s.String()))
	}
	r.inFlight = o.inFlight.of(name)
	return r
}

func newSpanStart(name, method string, r *Route) *spanStart {
	return &spanStart{name, method, []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(method), semconv.HTTPRoute(r.template), keyRoute.String(r.name),
	}}
}

// start returns how a span of this method begins. A method is a token that the client chose.
func (r *Route) start(method string) *spanStart {
	if s, ok := r.spans[method]; ok {
		return s
	}
	return r.spans[""]
}

func (r *Route) duration(method string, status int) []metric.RecordOption {
	if status < 100 || status > 599 {
		status = 0
	}
	kind := answerKind{method, status}
	r.mu.RLock()
	opts, ok := r.durations[kind]
	r.mu.RUnlock()
	if ok {
		return opts
	}
	kv := []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(method), semconv.HTTPRoute(r.template)}
	if status != 0 {
		kv = append(kv, statusCode(status))
	}
	opts = recorded(kv...)
	r.mu.Lock()
	r.durations[kind] = opts
	r.mu.Unlock()
	return opts
}

func statusCode(status int) attribute.KeyValue { return semconv.HTTPResponseStatusCode(status) }
