package telemetry

import (
	"context"
	"errors"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/onceway/onceway/gateway/problem"
)

// scope names the instrumentation, for traces and metrics alike.
const scope = "github.com/onceway/onceway/gateway"

// Options of an Observer. All but Access are needed.
type Options struct {
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
	Log    *slog.Logger
	Access bool // log every request; without it, only those with a fault of our own. Default: false
}

// Observer sees everything and changes nothing. Its methods may be called at any time from any
// goroutine.
type Observer struct {
	tracer trace.Tracer
	log    *slog.Logger
	access bool
	meter  metric.Meter
	instruments
	problems [problem.SlugCount][]metric.AddOption
	batches  labels[batchOptions]
	moves    labels[[]metric.AddOption]

	resolvedExecuted, resolvedNot []metric.AddOption
	inFlight                      inFlight
}

// New makes an observer. The error is that of an instrument that the meter refuses.
func New(opts Options) (*Observer, error) {
	o := &Observer{
		tracer: opts.Tracer.Tracer(scope),
		meter:  opts.Meter.Meter(scope),
		log:    opts.Log,
		access: opts.Access,
	}
	var err error
	if o.instruments, err = newInstruments(o.meter); err != nil {
		return nil, err
	}
	if err := o.countInFlight(); err != nil {
		return nil, err
	}
	for _, s := range problem.Slugs() {
		o.problems[s] = added(keyProblem.String(s.String()))
	}
	o.batches.make = newBatchOptions
	o.resolvedExecuted, o.resolvedNot = added(keyOutcome.String("executed")), added(keyOutcome.String("not_executed"))
	o.moves.make = func(state string) []metric.AddOption { return added(keyState.String(state)) }
	// A counter that comes into being with its first event has not grown, and the alarm would stay silent.
	o.contradictions.Add(context.Background(), 0)
	return o, nil
}

// Discard returns an observer that nobody can read.
func Discard() *Observer {
	o, err := New(Options{Tracer: tracenoop.NewTracerProvider(), Meter: metricnoop.NewMeterProvider(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		panic(err) // the no-op meter refuses nothing
	}
	return o
}

// Attribute keys of our own. The others are OpenTelemetry's semantic conventions.
const (
	keyRoute     = attribute.Key("onceway.route")
	keyState     = attribute.Key("onceway.state")
	keyNext      = attribute.Key("onceway.next")
	keyProblem   = attribute.Key("onceway.problem")
	keyUpstream  = attribute.Key("onceway.upstream")
	keyOutcome   = attribute.Key("onceway.outcome")
	keyCause     = attribute.Key("onceway.cause")
	keyLane      = attribute.Key("onceway.lane")
	keyResult    = attribute.Key("onceway.result")
	keyOperation = attribute.Key("onceway.operation")
	keyAttempt   = attribute.Key("onceway.attempt")
)

type instruments struct {
	requests         metric.Int64Counter
	requestDuration  metric.Float64Histogram
	problemCount     metric.Int64Counter
	dispatches       metric.Int64Counter
	dispatchDuration metric.Float64Histogram
	batchSize        metric.Int64Histogram
	batchDuration    metric.Float64Histogram
	transitions      metric.Int64Counter
	contradictions   metric.Int64Counter
	probes           metric.Int64Counter
	resolutions      metric.Int64Counter
}

// Boundaries in seconds reach from an answer out of memory to the longest attempt.
var (
	requestBounds = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	commitBounds  = []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5}
	sizeBounds    = []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}
)

func newInstruments(m metric.Meter) (instruments, error) {
	var all error
	add := func(err error) { all = errors.Join(all, err) }
	counter := func(name, unit, text string) metric.Int64Counter {
		c, err := m.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(text))
		add(err)
		return c
	}
	seconds := func(name, text string, bounds []float64) metric.Float64Histogram {
		h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(text), metric.WithExplicitBucketBoundaries(bounds...))
		add(err)
		return h
	}
	var i instruments
	var err error
	i.requests = counter("onceway.requests", "{request}", "Requests by route and Idempotency-State.")
	i.requestDuration = seconds("http.server.request.duration", "Duration of HTTP server requests.", requestBounds)
	i.problemCount = counter("onceway.problems", "{answer}", "Problem documents that the gateway answered with, by code.")
	i.dispatches = counter("onceway.dispatch", "{attempt}", "Attempts by upstream, outcome and cause.")
	i.dispatchDuration = seconds("onceway.dispatch.duration", "Duration of attempts by upstream and outcome.", requestBounds)
	i.batchSize, err = m.Int64Histogram("onceway.commit.batch.size", metric.WithUnit("{transition}"),
		metric.WithDescription("Transitions per group commit, by lane."), metric.WithExplicitBucketBoundaries(sizeBounds...))
	add(err)
	i.batchDuration = seconds("onceway.commit.batch.duration", "Duration of group commits, by lane and result.", commitBounds)
	i.transitions = counter("onceway.transitions", "{transition}", "Records that moved, by the state they moved to.")
	i.contradictions = counter("onceway.contradictions", "{answer}", "Answers that proved a record wrong. Should be zero.")
	i.probes = counter("onceway.probes", "{probe}", "Questions to backends about records in doubt, by route and what was found.")
	i.resolutions = counter("onceway.resolutions", "{record}", "Records in doubt that operators settled, by what they said.")
	return i, all
}

func added(kv ...attribute.KeyValue) []metric.AddOption {
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(kv...))}
}

func recorded(kv ...attribute.KeyValue) []metric.RecordOption {
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(kv...))}
}
