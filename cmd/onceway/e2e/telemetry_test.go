package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// collector is a small OTLP/HTTP receiver.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	bytes   bytes.Buffer
	spans   []*trace.Span
	metrics map[string]bool
}

func newCollector(t *testing.T) *collector {
	c := &collector{metrics: map[string]bool{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.bytes.Write(body)
		switch r.URL.Path {
		case "/v1/traces":
			var export collectortrace.ExportTraceServiceRequest
			if err := proto.Unmarshal(body, &export); err != nil {
				t.Error(err)
			}
			for _, resource := range export.ResourceSpans {
				for _, scope := range resource.ScopeSpans {
					c.spans = append(c.spans, scope.Spans...)
				}
			}
		case "/v1/metrics":
			var export collectormetrics.ExportMetricsServiceRequest
			if err := proto.Unmarshal(body, &export); err != nil {
				t.Error(err)
			}
			for _, resource := range export.ResourceMetrics {
				for _, scope := range resource.ScopeMetrics {
					for _, m := range scope.Metrics {
						c.metrics[m.Name] = true
					}
				}
			}
		default:
			t.Errorf("export to %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

// with returns the spans that have an attribute.
func (c *collector) with(key, value string) (found []*trace.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if attribute(s, key) == value {
			found = append(found, s)
		}
	}
	return found
}

func attribute(s *trace.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

func (c *collector) env() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_METRIC_EXPORT_INTERVAL=200"}
}

// A retry is connected with what it is a retry of, from the client's trace to the backend's.
func TestTracesLinkRetriesToTheExecution(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		c := newCollector(t)
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Env: c.env()})
		r := rig.Request{Key: newKey(), Body: "a", Header: rig.Header("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")}
		g.Do(t, r).Is(t, executed)
		retry := r
		retry.Header = nil
		g.Do(t, retry).Is(t, replayed)
		rec := record(t, g, r.Key)
		e := only(t, b, ledger.Effect, r.Key)
		g.Until(t, "both spans are exported", func() bool {
			return len(c.with("onceway.state", "executed")) == 1 && len(c.with("onceway.state", "replayed")) == 1
		})
		first, second := c.with("onceway.state", "executed")[0], c.with("onceway.state", "replayed")[0]
		if got := hex.EncodeToString(first.TraceId); got != "0af7651916cd43dd8448eb211c80319c" || rec.TraceID != got {
			t.Errorf("the execution is in trace %s, the record says %s", got, rec.TraceID)
		}
		if len(second.Links) != 1 || !bytes.Equal(second.Links[0].TraceId, first.TraceId) || !bytes.Equal(second.Links[0].SpanId, first.SpanId) || bytes.Equal(second.TraceId, first.TraceId) {
			t.Errorf("the retry's links: %v", second.Links)
		}
		parent := strings.Split(e.Header.Get("Traceparent"), "-")
		if len(parent) != 4 || parent[1] != rec.TraceID {
			t.Fatalf("the backend got traceparent %q", e.Header.Get("Traceparent"))
		}
		g.Until(t, "the call is exported", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			for _, s := range c.spans {
				if hex.EncodeToString(s.SpanId) == parent[2] {
					return bytes.Equal(s.ParentSpanId, first.SpanId)
				}
			}
			return false
		})
		g.Until(t, "metrics are exported", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.metrics["onceway.requests"] && c.metrics["onceway.commit.batch.size"] && c.metrics["http.server.request.duration"]
		})
	})
}

// Whatever a duplicate is told of an attempt, its event names that attempt's trace.
func TestDuplicatesLinkToTheAttemptThatTheyAreToldOf(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g, other := pair(t, rig.Config{Targets: []string{b.URL()}})
	gate, key := newKey(), newKey()
	traced := func(n int, prefer string) rig.Request {
		return rig.Request{Key: key, Body: "a", Script: ledger.Script{Status: 429, NoEffect: true, Before: gate},
			Header: rig.Header("Prefer", prefer, "Traceparent", fmt.Sprintf("00-%032x-00000000000000aa-01", n))}
	}
	first := g.Go(t, traced(1, "wait=30"))
	b.Await(t, gate, 1)
	g.Do(t, traced(2, "wait=0")).Is(t, inProgress)
	other.Do(t, traced(3, "wait=0")).Is(t, inProgress)
	g.Do(t, traced(4, "respond-async")).Is(t, rig.Want{Status: 202, State: "executing", Next: "wait"})
	attached := []<-chan *rig.Answer{g.Go(t, traced(5, "wait=30")), other.Go(t, traced(6, "wait=30"))}
	g.Until(t, "both wait", func() bool { return inFlight(t, g) == 2 && inFlight(t, other) == 1 })
	b.Open(t, gate)
	<-first
	(<-attached[0]).Is(t, rig.Want{Status: 429, State: "not_executed", Next: "resend"})
	(<-attached[1]).Is(t, rig.Want{Status: 429, State: "not_executed", Next: "resend", Slug: "not-settled", Record: true})
	linked := map[string]string{}
	g.Until(t, "all events are logged", func() bool {
		for line := range strings.Lines(g.Output() + other.Output()) {
			var e struct {
				Msg    string
				Trace  string `json:"trace_id"`
				Linked string `json:"linked_trace_id"`
			}
			if json.Unmarshal([]byte(line), &e) == nil && e.Msg == "request" {
				linked[e.Trace] = e.Linked
			}
		}
		return len(linked) == 6
	})
	for n := 1; n <= 6; n++ {
		want := fmt.Sprintf("%032x", 1)
		if n == 1 {
			want = "" // it is that attempt
		}
		if got := linked[fmt.Sprintf("%032x", n)]; got != want {
			t.Errorf("request %d is linked to %q, want %q", n, got, want)
		}
	}
}

// What clients and backends say is theirs: it is in no log, no metric and no trace, on no path.
func TestSecretsStayOutOfTelemetry(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		c := newCollector(t)
		late, _ := b.Late(t)
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Env: c.env(), Extra: "log: {level: debug}\ntrusted_proxies: [127.0.0.0/8]", Caller: "{header: {name: X-User-Id}}",
			Upstreams: "  gone: {targets: [http://" + late + "]}", Routes: "  - {name: gone, match: {path: /gone/**}, upstream: gone}"})
		const canary = "CANARY"
		h := func(more ...string) http.Header {
			return rig.Header(append([]string{"X-User-Id", canary + "caller", "Authorization", canary + "token", "User-Agent", canary + "agent", "Cookie", canary + "cookie", "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Baggage", "x=" + canary}, more...)...)
		}
		send := func(r rig.Request) *rig.Answer {
			r.Header = h()
			a, _ := g.Try(t, r)
			return a
		}
		answer := ledger.Script{Body: ledger.Text(canary + "answer"), Header: map[string][]string{"X-Backend": {canary + "field"}}}
		key := func() string { return canary + newKey() }
		base := rig.Request{Key: key(), Path: "/orders/" + canary + "?q=" + canary, Body: canary + "body", Host: strings.ToLower(canary) + ".test", Script: answer}
		send(base)
		send(base)
		other := base
		other.Body = canary + "other"
		send(other) // key-reused
		for _, script := range []ledger.Script{{Then: ledger.Close}, {Raw: canary + " is not HTTP\r\n\r\n"}, {Raw: "HTTP/1.1 200 OK\r\n" + canary + "\r\n\r\n"}, {Status: 429, Body: ledger.Text(canary)},
			{Raw: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nX: " + canary + "\r\nContent-Length: 0\r\n\r\n"},
			{Raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + canary + "\r\n"},
			{Raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n" + canary + " no colon\r\n\r\n"},
			{Raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + canary + "\r\n\r\n"},
			{Raw: "HTTP/1.1 101 " + canary + "\r\nUpgrade: " + canary + "\r\nConnection: Upgrade\r\n\r\n"},
			{Raw: "HTTP/1.1 200 OK\r\nContent-Length: " + canary + "\r\n\r\n"}, {Raw: "HTTP/1.1 " + canary + "\r\n\r\n"}} {
			for _, method := range []string{"POST", "GET"} {
				r := base
				r.Method, r.Key, r.Script = method, key(), script
				send(r)
			}
		}
		for _, method := range []string{"POST", "GET", canary} {
			r := base
			r.Method, r.Path, r.Key = method, "/gone/"+canary, key()
			send(r)
		}
		bad := base
		bad.Key = canary + " malformed"
		send(bad)
		send(rig.Request{Key: key(), Path: "/orders//" + canary})
		send(rig.Request{Key: key(), Path: "/orders/%zz" + canary})
		for _, path := range []string{recordPath(base.Key), recordPath(base.Key) + "/response", recordPath(base.Key) + "/" + canary, recordPath(key()), "/_reconcile/v1/" + canary, "/_reconcile/v1/requests/%20" + canary,
			recordPath(base.Key) + "?wait=" + canary, "/.well-known/idempotency/problems/" + canary} {
			for _, method := range []string{"GET", "POST"} {
				send(rig.Request{Method: method, Path: path})
			}
		}
		conn := g.Dial(t)
		io.WriteString(conn, "POST /"+canary+" HTTP/1.1\r\n"+canary+"\r\n\r\n")
		rig.ReadAnswer(t, conn, "POST")
		metrics := g.AdminGet(t, "/metrics").Body
		g.Signal(t, syscall.SIGTERM)
		if code := g.Exit(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.spans) < 20 || !strings.Contains(metrics, "onceway_requests_total") || strings.Count(g.Output(), `"msg":"request"`) < 20 ||
			!strings.Contains(g.Output(), `"httputil: ReverseProxy read error during body copy"`) {
			t.Fatalf("there is little telemetry to look at: %d spans", len(c.spans))
		}
		for name, text := range map[string]string{"log": g.Output(), "metrics": metrics} {
			for line := range strings.Lines(text) {
				if strings.Contains(strings.ToUpper(line), canary) {
					t.Errorf("the %s has: %s", name, line)
				}
			}
		}
		if export := c.bytes.String(); strings.Contains(strings.ToUpper(export), canary) {
			i := strings.Index(strings.ToUpper(export), canary)
			t.Errorf("the export has: %q", export[max(0, i-100):i+20])
		}
	})
}

// Who agrees on HTTP/2 and speaks otherwise is quoted by net/http, and not in the log.
func TestGreetingsStayOutOfTheLog(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cert, key := certificate(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "log: {level: debug}\ntls: {cert: " + cert + ", key: " + key + "}"})
	conn, err := tls.Dial("tcp", g.Addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, "PUT /CANARY HTTP/1.1\r\nHost: CANARY\r\n\r\n")
	g.Until(t, "the log says what happened", func() bool {
		return strings.Contains(g.Output(), `"http2: server: error reading preface from client"`)
	})
	if strings.Contains(g.Output(), "CANARY") {
		t.Error("the log has what the client sent")
	}
}

// certificate writes the certificate and key that net/http's own tests use.
func certificate(t *testing.T) (cert, key string) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	s.Close()
	held := s.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(held.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: held.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
}

// One line of JSON per request, which says what happened and in which trace.
func TestOneWideEventPerRequest(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	r := rig.Request{Key: newKey(), Body: "ab"}
	g.Do(t, r).Is(t, executed)
	g.Do(t, r).Is(t, replayed)
	g.Do(t, rig.Request{}).Is(t, refused(400, "key-missing"))
	g.Get(t, recordPath(r.Key)).Is(t, found("completed", "done"))
	g.Do(t, rig.Request{Method: "GET", Path: "/catalogue/17"})
	g.AwaitOutput(t, `"method":"GET","route":"all"`) // what streams through may have been read before it has ended
	g.Do(t, rig.Request{Path: "/orders//1", Key: newKey()}).Is(t, refused(400, "path-ambiguous"))
	for _, path := range []string{recordPath(r.Key), "/.well-known/idempotency"} {
		a := g.Do(t, rig.Request{Method: "FOO", Path: path})
		a.Is(t, refused(405, "method-not-allowed"))
		if allow := a.Header.Get("Allow"); allow != "GET, HEAD" {
			t.Errorf("%s allows %q", path, allow)
		}
	}
	g.Do(t, rig.Request{Method: "FOO", Path: "/_reconcile/v1/nothing"}).Is(t, refused(404, "no-route"))
	operation := only(t, b, ledger.Effect, r.Key).Operation
	type event struct {
		Msg, Level, Method, Route, Template, State, Next, Problem, Operation, Upstream, Outcome string
		Status                                                                                  int
		Attempt                                                                                 int
		TraceID                                                                                 string `json:"trace_id"`
		SpanID                                                                                  string `json:"span_id"`
		Linked                                                                                  string `json:"linked_trace_id"`
	}
	var events []event
	g.Until(t, "all events are logged", func() bool {
		events = nil
		for line := range strings.Lines(g.Output()) {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil && e.Msg == "request" {
				events = append(events, e)
			}
		}
		return len(events) >= 9
	})
	want := []event{
		{Method: "POST", Route: "all", Template: "/**", Status: 200, State: "executed", Next: "done", Operation: operation, Attempt: 1, Upstream: "backend", Outcome: "answered"},
		{Method: "POST", Route: "all", Template: "/**", Status: 200, State: "replayed", Next: "done", Operation: operation},
		{Method: "POST", Route: "all", Template: "/**", Status: 400, State: "rejected", Next: "stop", Problem: "key-missing"},
		{Method: "GET", Route: "reconcile", Template: "/_reconcile/v1/requests/{key}", Status: 200, State: "completed", Next: "done", Operation: operation},
		{Method: "GET", Route: "all", Template: "/**", Status: 200, Upstream: "backend"},
		{Method: "POST", Route: "all", Template: "/**", Status: 400, State: "rejected", Next: "stop", Problem: "path-ambiguous"},
		{Method: "_OTHER", Route: "reconcile", Template: "/_reconcile/v1/requests/{key}", Status: 405, State: "rejected", Next: "stop", Problem: "method-not-allowed"},
		{Method: "_OTHER", Route: "reconcile", Template: "/.well-known/idempotency", Status: 405, State: "rejected", Next: "stop", Problem: "method-not-allowed"},
		{Method: "_OTHER", Route: "reconcile", Template: "/_reconcile/v1/**", Status: 404, State: "rejected", Next: "stop", Problem: "no-route"},
	}
	if len(events) != len(want) {
		t.Fatalf("%d events: %+v", len(events), events)
	}
	for i, got := range events {
		if len(got.TraceID) != 32 || len(got.SpanID) != 16 {
			t.Errorf("no trace in %+v", got)
		}
		if i == 1 && got.Linked != events[0].TraceID {
			t.Errorf("the retry is linked to %q, the execution is in %s", got.Linked, events[0].TraceID)
		}
		got.Msg, got.Level, got.TraceID, got.SpanID, got.Linked = "", "", "", "", ""
		if got != want[i] {
			t.Errorf("event %d is %+v,\nwant %+v", i, got, want[i])
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		r := rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, r).Is(t, executed)
		g.Do(t, r).Is(t, replayed)
		g.Do(t, rig.Request{Key: newKey(), Script: ledger.Script{Then: ledger.Close}}).Is(t, doubted)
		g.Do(t, rig.Request{}).Is(t, refused(400, "key-missing"))
		for _, want := range []string{
			`onceway_requests_total{`, `onceway_state="executed"`, `onceway_state="replayed"`, `onceway_state="unknown"`, `onceway_state="rejected"`,
			`onceway_commit_batch_size_bucket{`, `onceway_commit_batch_duration_seconds_bucket{`, `onceway_dispatch_total{`, `onceway_outcome="answered"`, `onceway_outcome="unknown"`,
			`onceway_dispatch_duration_seconds_bucket{`, `onceway_in_flight{`, `onceway_transitions_total{`, `onceway_problems_total{`, `http_server_request_duration_seconds_bucket{`,
		} {
			// A request is counted a little later than it is answered.
			g.Until(t, "/metrics has "+want, func() bool { return strings.Contains(g.AdminGet(t, "/metrics").Body, want) })
		}
		g.Until(t, "one record is unknown", func() bool {
			for line := range strings.Lines(g.AdminGet(t, "/metrics").Body) {
				if strings.HasPrefix(line, "onceway_records_unknown") && strings.HasSuffix(line, " 1\n") {
					return true
				}
			}
			return false
		})
	})
}

// Nothing is exported that nobody asked for: an exporter without a receiver would complain at its end.
func TestTelemetryIsSilentUnlessAsked(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Env: []string{"OTEL_BSP_SCHEDULE_DELAY=10", "OTEL_METRIC_EXPORT_INTERVAL=10"}})
	g.Do(t, rig.Request{Key: newKey()}).Is(t, executed)
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t); code != 0 || strings.Contains(g.Output(), `"msg":"telemetry"`) {
		t.Errorf("exit code %d\n%s", code, g.Output())
	}
}
