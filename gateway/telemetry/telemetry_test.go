package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
)

// bench is an observer whose exports can be read.
type bench struct {
	*telemetry.Observer
	spans  *tracetest.InMemoryExporter
	reader *sdkmetric.ManualReader
	log    *bytes.Buffer
}

func newBench(t *testing.T, access bool, sampler sdktrace.Sampler) *bench {
	t.Helper()
	b := &bench{spans: tracetest.NewInMemoryExporter(), reader: sdkmetric.NewManualReader(), log: &bytes.Buffer{}}
	o, err := telemetry.New(telemetry.Options{
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(b.spans), sdktrace.WithSampler(sampler)),
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(b.reader)),
		Log:    slog.New(telemetry.TraceIDs(slog.NewJSONHandler(b.log, nil))),
		Access: access,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.Observer = o
	return b
}

func (b *bench) metrics(t *testing.T) map[string]metricdata.Aggregation {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := b.reader.Collect(context.Background(), &rm); err != nil {
		t.Fatal(err)
	}
	all := map[string]metricdata.Aggregation{}
	for _, sm := range rm.ScopeMetrics {
		for _, m := range sm.Metrics {
			all[m.Name] = m.Data
		}
	}
	return all
}

// count returns the value of the counter's point that has exactly these attributes.
func (b *bench) count(t *testing.T, name string, want map[string]string) int64 {
	t.Helper()
	sum, ok := b.metrics(t)[name].(metricdata.Sum[int64])
	if !ok {
		t.Fatalf("no counter %s", name)
	}
	for _, p := range sum.DataPoints {
		if attrs := flat(p.Attributes.ToSlice()); fmt.Sprint(attrs) == fmt.Sprint(want) {
			return p.Value
		}
	}
	return 0
}

const (
	clientTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	clientSpan  = "00f067aa0ba902b7"
	traceparent = "00-" + clientTrace + "-" + clientSpan + "-01"
)

func post(path string) *http.Request {
	r := httptest.NewRequest("POST", path, strings.NewReader("{}"))
	r.Header.Set("traceparent", traceparent)
	r.Header.Set("tracestate", "vendor=1")
	return r
}

func TestTraceIsContinuedToTheBackend(t *testing.T) {
	b := newBench(t, false, sdktrace.AlwaysSample())
	e := b.Start(post("/orders/7"), b.Route("orders", "/orders/**"))
	call := e.Dispatch(b.Upstream("shop"))
	h := http.Header{}
	call.Inject(propagation.HeaderCarrier(h))
	call.End(telemetry.Answered, "", 201)
	e.End(201)

	spans := b.spans.GetSpans()
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2", len(spans))
	}
	client, server := spans[0], spans[1]
	if server.Name != "POST /orders/**" || server.SpanKind != trace.SpanKindServer || client.Name != "dispatch shop" || client.SpanKind != trace.SpanKindClient {
		t.Errorf("spans %s (%s), %s (%s)", server.Name, server.SpanKind, client.Name, client.SpanKind)
	}
	if server.Parent.SpanID().String() != clientSpan || server.SpanContext.TraceID().String() != clientTrace {
		t.Errorf("the server span does not continue the client's trace: parent %s", server.Parent.SpanID())
	}
	if client.Parent.SpanID() != server.SpanContext.SpanID() {
		t.Errorf("the client span's parent is %s, want %s", client.Parent.SpanID(), server.SpanContext.SpanID())
	}
	if want := "00-" + clientTrace + "-" + client.SpanContext.SpanID().String() + "-01"; h.Get("traceparent") != want {
		t.Errorf("backend gets %q, want %q", h.Get("traceparent"), want)
	}
	if h.Get("tracestate") != "vendor=1" {
		t.Errorf("backend gets tracestate %q", h.Get("tracestate"))
	}
	if got := e.Trace(); got.TraceID != server.SpanContext.TraceID() || got.SpanID != server.SpanContext.SpanID() {
		t.Errorf("Trace() = %v", got)
	}
}

// Without an exporter there are still valid ids for logs and records, and the client's trace reaches
// the backend as it came: a span that nobody will see must not become a parent.
func TestTraceWithoutRecording(t *testing.T) {
	b := newBench(t, true, sdktrace.NeverSample())
	e := b.Start(post("/orders"), b.Route("orders", "/orders/**"))
	h := http.Header{}
	e.Dispatch(b.Upstream("shop")).Inject(propagation.HeaderCarrier(h))
	if h.Get("traceparent") != traceparent {
		t.Errorf("backend gets %q, want the client's %q", h.Get("traceparent"), traceparent)
	}
	if tr := e.Trace(); tr.String() != clientTrace || tr.SpanID == [8]byte{} || fmt.Sprintf("%x", tr.SpanID) == clientSpan {
		t.Errorf("Trace() = %v", tr)
	}
	e.End(200)

	r := httptest.NewRequest("POST", "/orders", nil)
	e = b.Start(r, b.Route("orders", "/orders/**"))
	h = http.Header{"Traceparent": {"forged"}, "Tracestate": {"forged=1"}}
	e.Inject(h)
	if tr := e.Trace(); tr == (idempotency.Trace{}) || h.Get("tracestate") != "" || h.Get("traceparent") != fmt.Sprintf("00-%s-%x-00", tr, tr.SpanID) {
		t.Errorf("without a client's trace the backend gets %q, Trace() = %v", h.Get("traceparent"), tr)
	}
	e.End(200)
	if n := len(b.spans.GetSpans()); n != 0 {
		t.Errorf("%d spans were exported", n)
	}
	if !strings.Contains(b.log.String(), `"trace_id":"`+clientTrace+`"`) {
		t.Errorf("the log has no trace id: %s", b.log)
	}
}

// A list may come in several lines, and what comes twice and is none is not believed (W3C Trace Context, section 3).
func TestTraceContextInSeveralLines(t *testing.T) {
	for _, sampler := range []sdktrace.Sampler{sdktrace.AlwaysSample(), sdktrace.NeverSample()} {
		b := newBench(t, false, sampler)
		route := b.Route("orders", "/orders/**")
		for _, c := range []struct {
			parents, states []string
			continued       bool
			state           string
		}{
			{[]string{traceparent}, []string{"a=1", "b=2,c=3"}, true, "a=1,b=2,c=3"},
			{[]string{traceparent}, []string{"a=1"}, true, "a=1"},
			{[]string{traceparent}, nil, true, ""},
			{[]string{traceparent, traceparent}, []string{"a=1"}, false, ""},
			{[]string{"01" + traceparent[2:], traceparent}, []string{"a=1"}, false, ""},
			{nil, []string{"a=1"}, false, ""},
		} {
			r := httptest.NewRequest("POST", "/orders", nil)
			r.Header["Traceparent"], r.Header["Tracestate"] = c.parents, c.states
			e, h := b.Start(r, route), r.Header.Clone()
			e.Inject(h)
			e.End(200)
			if got := e.Trace().String() == clientTrace; got != c.continued || strings.Contains(h.Get("Traceparent"), clientTrace) != got || len(h["Traceparent"]) != 1 {
				t.Errorf("%v: continued: %v, the backend gets %q", c.parents, got, h["Traceparent"])
			}
			if got := strings.Join(h["Tracestate"], "|"); got != c.state {
				t.Errorf("%v: the backend gets tracestate %q, want %q", c.states, got, c.state)
			}
		}
	}
}

func TestRetryLinksToTheSpanThatExecuted(t *testing.T) {
	b := newBench(t, true, sdktrace.AlwaysSample())
	route := b.Route("orders", "/orders/**")
	first := b.Start(httptest.NewRequest("POST", "/orders", nil), route)
	first.Link(first.Trace())       // its own
	first.Link(idempotency.Trace{}) // none
	first.End(201)
	retry := b.Start(httptest.NewRequest("POST", "/orders", nil), route)
	retry.State = problem.Replayed
	retry.Link(first.Trace())
	retry.End(201)

	spans := b.spans.GetSpans()
	if len(spans[0].Links) != 0 {
		t.Errorf("the first span has links: %v", spans[0].Links)
	}
	if len(spans[1].Links) != 1 || spans[1].Links[0].SpanContext.SpanID() != spans[0].SpanContext.SpanID() || spans[1].Links[0].SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
		t.Errorf("the retry's links are %v, want one to %v", spans[1].Links, spans[0].SpanContext)
	}
	if !strings.Contains(b.log.String(), `"linked_trace_id":"`+first.Trace().String()+`"`) {
		t.Errorf("the log does not name the linked trace: %s", b.log)
	}
}

func TestWideEvent(t *testing.T) {
	b := newBench(t, true, sdktrace.AlwaysSample())
	e := b.Start(post("/orders/7"), b.Route("orders", "/orders/**"))
	e.Operation = idempotency.Operation{Caller: "c", Key: "k"}.ID()
	e.Attempt, e.State, e.Next, e.Problem = 2, problem.Unknown, problem.Reconcile, problem.OutcomeUnknown
	e.Upstream, e.Outcome, e.Cause = b.Upstream("shop"), telemetry.InDoubt, "timeout"
	e.BytesIn, e.BytesOut = 2, 300
	e.ClaimTook, e.DispatchTook, e.CommitTook, e.WaitTook = 1*time.Millisecond, 2*time.Millisecond, 3*time.Millisecond, 4*time.Millisecond
	e.End(504)

	var got map[string]any
	if err := json.Unmarshal(b.log.Bytes(), &got); err != nil {
		t.Fatalf("%v in %s", err, b.log)
	}
	if got["took_us"] == nil || got["time"] == nil || got["span_id"] == nil {
		t.Errorf("took_us, time or span_id is missing in %v", got)
	}
	for _, varying := range []string{"took_us", "time", "span_id"} {
		delete(got, varying)
	}
	want := map[string]any{
		"level": "WARN", "msg": "request", "method": "POST", "route": "orders", "template": "/orders/**", "status": 504.0,
		"state": "unknown", "next": "reconcile", "problem": "outcome-unknown", "operation": e.Operation.String(), "attempt": 2.0,
		"upstream": "shop", "outcome": "unknown", "cause": "timeout", "bytes_in": 2.0, "bytes_out": 300.0,
		"claim_us": 1000.0, "dispatch_us": 2000.0, "commit_us": 3000.0, "wait_us": 4000.0, "trace_id": clientTrace,
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("event\n%v\nwant\n%v", got, want)
	}
	span := flat(b.spans.GetSpans()[0].Attributes)
	wantSpan := map[string]string{
		"http.request.method": "POST", "http.route": "/orders/**", "http.response.status_code": "504", "onceway.route": "orders",
		"onceway.state": "unknown", "onceway.next": "reconcile", "onceway.problem": "outcome-unknown", "onceway.attempt": "2",
		"onceway.operation": e.Operation.String(),
	}
	if fmt.Sprint(span) != fmt.Sprint(wantSpan) {
		t.Errorf("span\n%v\nwant\n%v", span, wantSpan)
	}
}

// Of the content that an answer to a HEAD would have nothing is sent (RFC 9110, section 9.3.2).
func TestNoBytesOfAHead(t *testing.T) {
	b := newBench(t, true, sdktrace.NeverSample())
	e := b.Start(httptest.NewRequest(http.MethodHead, "/orders/7", nil), b.Route("orders", "/orders/**"))
	e.BytesOut = 300
	e.End(200)
	if strings.Contains(b.log.String(), "bytes_out") {
		t.Error(b.log)
	}
}

func TestAccessLogCanBeSwitchedOff(t *testing.T) {
	b := newBench(t, false, sdktrace.NeverSample())
	route := b.Route("orders", "/orders/**")
	for p, logged := range map[problem.Slug]bool{0: false, problem.KeyMissing: false, problem.Internal: true, problem.RecordDamaged: true} {
		b.log.Reset()
		e := b.Start(post("/orders"), route)
		e.Problem = p
		e.End(200)
		if got := b.log.Len() > 0; got != logged {
			t.Errorf("problem %q logged: %v, want %v", p, got, logged)
		}
	}
}

// store answers, or hangs until it is given up.
type store struct {
	inDoubt int64
	hangs   bool
}

func (s store) answer(ctx context.Context) error {
	if s.hangs {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (s store) InDoubt(ctx context.Context) (int64, error)         { return s.inDoubt, s.answer(ctx) }
func (s store) Contradicted(ctx context.Context) (int64, error)    { return 0, s.answer(ctx) }
func (s store) FeedLag(ctx context.Context) (time.Duration, error) { return 0, s.answer(ctx) }

// Metrics are needed most while the store is away. Prometheus waits for ten seconds.
func TestMetricsDoNotWaitForTheStore(t *testing.T) {
	for _, hangs := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, false, sdktrace.NeverSample())
			if err := b.Store(store{hangs: hangs}); err != nil {
				t.Fatal(err)
			}
			b.Moved(idempotency.Completed, 1)
			began := time.Now()
			var rm metricdata.ResourceMetrics
			if err := b.reader.Collect(t.Context(), &rm); (err != nil) != hangs {
				t.Errorf("hangs: %v, error: %v", hangs, err)
			}
			if took := time.Since(began); hangs && took != time.Second || !hangs && took != 0 {
				t.Errorf("hangs: %v, metrics took %v", hangs, took)
			}
			known := map[string]bool{}
			for _, m := range rm.ScopeMetrics[0].Metrics {
				known[m.Name] = true
			}
			for _, name := range []string{"onceway.records.unknown", "onceway.records.contradicted", "onceway.feed.lag"} {
				if known[name] == hangs {
					t.Errorf("hangs: %v, %s is told: %v", hangs, name, known[name])
				}
			}
			if !known["onceway.transitions"] {
				t.Errorf("hangs: %v, the others are missing: %v", hangs, known)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	b := newBench(t, false, sdktrace.NeverSample())
	if err := b.Store(store{inDoubt: 3}); err != nil {
		t.Fatal(err)
	}
	route, up := b.Route("orders", "/orders/**"), b.Upstream("shop")
	open := b.Start(post("/orders"), route)
	for range 2 {
		e := b.Start(post("/orders"), route)
		e.State = problem.Executed
		e.Dispatch(up).End(telemetry.Answered, "", 201)
		e.End(201)
	}
	e := b.Start(post("/orders"), route)
	e.State, e.Problem = problem.Unknown, problem.OutcomeUnknown
	e.Dispatch(up).End(telemetry.InDoubt, "timeout", 0)
	e.End(504)
	b.Batched("claim", 7, time.Millisecond, nil)
	b.Batched("claim", 1, time.Second, errors.New("no answer"))
	b.Moved(idempotency.Completed, 1)
	if n := b.count(t, "onceway.contradictions", map[string]string{}); n != 0 { // and it is there to grow
		t.Errorf("%d contradictions", n)
	}
	b.Contradicted(idempotency.OperationID{1})
	asked := b.Probes("orders")
	asked.Start(idempotency.Trace{}).End("executed", 200)
	asked.Start(idempotency.Trace{}).End("unanswered", 0)

	for _, want := range []struct {
		name  string
		attrs map[string]string
		n     int64
	}{
		{"onceway.requests", map[string]string{"onceway.route": "orders", "onceway.state": "executed"}, 2},
		{"onceway.requests", map[string]string{"onceway.route": "orders", "onceway.state": "unknown"}, 1},
		{"onceway.problems", map[string]string{"onceway.problem": "outcome-unknown"}, 1},
		{"onceway.in_flight", map[string]string{"onceway.route": "orders"}, 1},
		{"onceway.dispatch", map[string]string{"onceway.upstream": "shop", "onceway.outcome": "answered", "onceway.cause": ""}, 2},
		{"onceway.dispatch", map[string]string{"onceway.upstream": "shop", "onceway.outcome": "unknown", "onceway.cause": "timeout"}, 1},
		{"onceway.transitions", map[string]string{"onceway.state": "completed"}, 1},
		{"onceway.contradictions", map[string]string{}, 1},
		{"onceway.probes", map[string]string{"onceway.route": "orders", "onceway.result": "executed"}, 1},
		{"onceway.probes", map[string]string{"onceway.route": "orders", "onceway.result": "unanswered"}, 1},
	} {
		if got := b.count(t, want.name, want.attrs); got != want.n {
			t.Errorf("%s %v = %d, want %d", want.name, want.attrs, got, want.n)
		}
	}
	all := b.metrics(t)
	if g := all["onceway.records.unknown"].(metricdata.Gauge[int64]); g.DataPoints[0].Value != 3 {
		t.Errorf("onceway.records.unknown = %v", g.DataPoints)
	}
	size := all["onceway.commit.batch.size"].(metricdata.Histogram[int64])
	if len(size.DataPoints) != 1 || size.DataPoints[0].Count != 2 || size.DataPoints[0].Sum != 8 {
		t.Errorf("onceway.commit.batch.size = %+v", size.DataPoints)
	}
	if d := all["onceway.commit.batch.duration"].(metricdata.Histogram[float64]); len(d.DataPoints) != 2 {
		t.Errorf("onceway.commit.batch.duration = %+v", d.DataPoints)
	}
	served := all["http.server.request.duration"].(metricdata.Histogram[float64])
	var n uint64
	for _, p := range served.DataPoints {
		n += p.Count
		if flat(p.Attributes.ToSlice())["http.route"] != "/orders/**" {
			t.Errorf("a duration has attributes %v", p.Attributes)
		}
	}
	if len(served.DataPoints) != 2 || n != 3 {
		t.Errorf("http.server.request.duration has %d series, %d requests; want 2 and 3", len(served.DataPoints), n)
	}
	open.End(200)
}

// What a client or a backend chose must not be found in anything that leaves the process.
func TestNothingOfARequestIsExported(t *testing.T) {
	const canary = "Xq7canary4Z"
	b := newBench(t, true, sdktrace.AlwaysSample())
	up := b.Upstream("shop")
	for _, route := range []*telemetry.Route{b.Route("orders", "/orders/**"), b.Route("reconcile", "/_reconcile/v1/requests/{key}")} {
		r := httptest.NewRequest(canary, "http://"+canary+".example/"+canary+"?q="+canary, strings.NewReader(canary))
		r.Header.Set("Idempotency-Key", canary)
		r.Header.Set("User-Agent", canary)
		r.Header.Set("Authorization", canary)
		r.Header.Set("Traceparent", canary)
		r.RemoteAddr = canary + ":1"
		e := b.Start(r, route)
		e.Operation = idempotency.Operation{Caller: canary, Key: canary}.ID()
		e.State, e.Problem, e.Upstream = problem.Unknown, problem.OutcomeUnknown, up
		e.Cause = canary // by mistake: not a word
		e.Dispatch(up).End(telemetry.InDoubt, canary, 502)
		e.End(502)
	}
	b.Batched(canary, 1, 0, errors.New(canary))
	b.Contradicted(idempotency.OperationID{})
	b.Probes("orders").Start(idempotency.Trace{}).End(canary, 0)

	spans, err := json.Marshal(b.spans.GetSpans().Snapshots())
	if err != nil {
		t.Fatal(err)
	}
	var readable strings.Builder // attribute values hide from JSON behind unexported fields
	for _, s := range b.spans.GetSpans() {
		fmt.Fprintln(&readable, s.Name, flat(s.Attributes), s.Events, s.Status, s.SpanContext.TraceState())
	}
	for name, text := range map[string]string{
		"spans": string(spans) + readable.String(), "metrics": fmt.Sprintf("%+v", b.metrics(t)), "log": b.log.String(),
	} {
		if len(text) < 100 || !strings.Contains(text, "orders") {
			t.Fatalf("%s show nothing, so that nothing could be found: %s", name, text)
		}
		if strings.Contains(strings.ToLower(text), strings.ToLower(canary)) {
			t.Errorf("%s show the canary: %s", name, text)
		}
	}
}

// A label whose values come from somewhere else than a fixed list must not grow without bound.
func TestLabelsAreBounded(t *testing.T) {
	b := newBench(t, false, sdktrace.NeverSample())
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for j := range 500 {
				b.Batched(strings.Repeat(string(rune('a'+i)), 1+j%16)+strings.Repeat("z", j/16), 1, 0, nil)
			}
		})
	}
	all.Wait()
	size := b.metrics(t)["onceway.commit.batch.size"].(metricdata.Histogram[int64])
	var n uint64
	for _, p := range size.DataPoints {
		n += p.Count
	}
	if len(size.DataPoints) > 65 || n != 2000 {
		t.Errorf("%d series of %d batches; want at most 65 of 2000", len(size.DataPoints), n)
	}
}

func BenchmarkEvent(b *testing.B) {
	o, err := telemetry.New(telemetry.Options{
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	route, up := o.Route("orders", "/orders/**"), o.Upstream("shop")
	r := httptest.NewRequest("POST", "/orders", nil)
	b.ReportAllocs()
	for b.Loop() {
		e := o.Start(r, route)
		e.State = problem.Executed
		e.Dispatch(up).End(telemetry.Answered, "", 201)
		e.End(201)
	}
}

// A question about an attempt continues the attempt's trace.
func TestProbesContinueTheTrace(t *testing.T) {
	b := newBench(t, false, sdktrace.ParentBased(sdktrace.NeverSample()))
	of := idempotency.Trace{TraceID: [16]byte{1}, SpanID: [8]byte{2}}
	p := b.Probes("orders").Start(of)
	h := http.Header{}
	p.Inject(h)
	p.End("absent", 404)
	if got := h.Get("Traceparent"); !strings.HasPrefix(got, "00-"+of.String()+"-") || strings.Contains(got, "-0200000000000000-") {
		t.Errorf("traceparent %q", got)
	}
	spans := b.spans.GetSpans()
	if len(spans) != 1 || spans[0].Name != "probe orders" || spans[0].Parent.SpanID() != of.SpanID {
		t.Errorf("spans %+v", spans)
	}
}
