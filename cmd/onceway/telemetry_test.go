package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
)

// sink is a log file that can be read while it is written.
type sink struct {
	mu     sync.Mutex
	text   bytes.Buffer
	writes int
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	return s.text.Write(p)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func TestLinesAreWrittenTogetherAndSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out sink
		lines := newLineWriter(&out)
		log := newLog(config.Log{Level: "info", Format: "json"}, lines)
		for range 50 {
			log.Info("event")
		}
		synctest.Wait()
		if out.String() != "" {
			t.Errorf("a line did not wait for company: %s", out.String())
		}
		time.Sleep(linesWait)
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n != 50 || out.writes != 1 {
			t.Errorf("%d lines in %d writes after %v, want 50 in 1", n, out.writes, linesWait)
		}
		log.Debug("below the level")
		log.Warn("urgent")
		synctest.Wait()
		if !strings.Contains(out.String(), `"urgent"`) || strings.Contains(out.String(), "below") {
			t.Errorf("a warning waited, or debug was logged: %s", out.String())
		}
		log.Info("last words")
		lines.stop(time.Minute)
		lines.stop(time.Minute)
		if !strings.Contains(out.String(), "last words") {
			t.Errorf("stopping lost a line")
		}
	})
}

// A reader that is stuck must stop neither requests nor the machine's memory.
func TestAStuckReaderLosesLinesAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stuck{free: make(chan struct{})}
		lines := newLineWriter(&r)
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 3 * linesMost / len(line) {
			if _, err := lines.Write(line); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		close(r.free)
		lines.stop(time.Minute)
		if n := r.Len(); n > 2*linesMost || !strings.Contains(r.String(), `"msg":"log lines left out"`) {
			t.Errorf("%d bytes were kept, or nobody was told: %q", n, r.String()[max(0, n-100):])
		}
	})
}

type stuck struct {
	bytes.Buffer
	free chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) { <-s.free; return s.Buffer.Write(p) }

func TestTextLog(t *testing.T) {
	var out sink
	lines := newLineWriter(&out)
	newLog(config.Log{Level: "warn", Format: "text"}, lines).Warn("hello", "a", 1)
	lines.stop(time.Minute)
	if !strings.Contains(out.String(), "level=WARN msg=hello a=1") {
		t.Error(out.String())
	}
}

// What is wrong with the environment is said: a comma too many in a log, an exporter that there is not by an error.
func TestTelemetryOfAnOddEnvironment(t *testing.T) {
	c := &config.Config{Log: config.Log{Level: "info", Format: "json"}}
	for name, value := range map[string]string{"OTEL_TRACES_EXPORTER": "bogus", "OTEL_METRICS_EXPORTER": "bogus"} {
		t.Run(name, func(t *testing.T) {
			clean(t)
			t.Setenv(name, value)
			var out sink
			if _, err := setUpTelemetry(t.Context(), c, &out); err == nil || !strings.Contains(err.Error(), "telemetry: ") || !strings.Contains(err.Error(), name) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	for _, value := range []string{"team=checkout,", "foo"} {
		t.Run(value, func(t *testing.T) {
			clean(t)
			t.Setenv("OTEL_RESOURCE_ATTRIBUTES", value)
			var out sink
			s, err := setUpTelemetry(t.Context(), c, &out)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.shutdown(t.Context()); err != nil || !strings.Contains(out.String(), "left out") {
				t.Errorf("%v, and the log is %s", err, out.String())
			}
		})
	}
}

// A reader that has stopped reading does not keep a process that ends.
func TestStoppingDoesNotWaitForAStuckReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := stuck{free: make(chan struct{})}
		lines := newLineWriter(&r)
		_, _ = lines.Write([]byte("last words\n"))
		begun := time.Now()
		lines.stop(lastLines)
		if took := time.Since(begun); took != lastLines {
			t.Errorf("stopping took %v", took)
		}
		close(r.free)
	})
}

// Without an OTEL_ variable nothing is sent, and there still are ids and Prometheus.
func TestTelemetryWithoutExporters(t *testing.T) {
	clean(t)
	var out sink
	s, err := setUpTelemetry(t.Context(), &config.Config{Log: config.Log{Level: "info", Format: "json", Access: true}}, &out)
	if err != nil {
		t.Fatal(err)
	}
	o, err := telemetry.New(telemetry.Options{Tracer: s.tracer, Meter: s.meter, Log: s.log, Access: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Store(storeInDoubt{}); err != nil {
		t.Fatal(err)
	}
	e := o.Start(httptest.NewRequest("POST", "/orders", nil), o.Route("orders", "/orders/**"))
	trace := e.Trace()
	e.State = problem.Executed
	e.Dispatch(o.Upstream("shop")).End(telemetry.InDoubt, "timeout", 0)
	e.End(201)
	o.Batched("claim", 3, time.Millisecond, nil)
	o.Moved(idempotency.Completed, 1)

	w := httptest.NewRecorder()
	s.metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`onceway_requests_total{onceway_route="orders",onceway_state="executed"`,
		`onceway_dispatch_total{onceway_cause="timeout",onceway_outcome="unknown",onceway_upstream="shop"`,
		`onceway_commit_batch_size_sum`, `onceway_commit_batch_duration_seconds_bucket`, `onceway_in_flight`,
		`onceway_records_unknown`, `onceway_records_contradicted`, `onceway_feed_lag_seconds`, `onceway_transitions_total`, `http_server_request_duration_seconds_bucket{http_request_method="POST",http_response_status_code="201",http_route="/orders/**"`,
		`target_info{`, `service_name="onceway"`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("metrics lack %s in\n%s", want, w.Body)
		}
	}
	if err := s.shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	var event map[string]any
	if err := json.Unmarshal([]byte(out.String()), &event); err != nil {
		t.Fatal(err)
	}
	if trace == (idempotency.Trace{}) || event["trace_id"] != trace.String() {
		t.Errorf("trace %s, event %v", trace, event)
	}
}

type storeInDoubt struct{}

func (storeInDoubt) InDoubt(context.Context) (int64, error)         { return 2, nil }
func (storeInDoubt) Contradicted(context.Context) (int64, error)    { return 0, nil }
func (storeInDoubt) FeedLag(context.Context) (time.Duration, error) { return time.Second, nil }

func TestExportersByTheEnvironment(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"OTEL_SERVICE_NAME": "x"}, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "console"}, true},
		{map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, false},
		{map[string]string{"OTEL_METRICS_EXPORTER": "otlp"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, false},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "1"}, true},
	} {
		t.Run("", func(t *testing.T) {
			clean(t)
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			if got := asked("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); got != tt.want {
				t.Errorf("%v: %v", tt.env, got)
			}
		})
	}
}

// What OpenTelemetry notes is in the log, as lines of JSON like all others, without the secrets that it cannot read.
func TestOpenTelemetryLogsIntoOurLog(t *testing.T) {
	clean(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "Authorization: Bearer CANARY,CANARY key=x,a=%zzCANARY")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:CANARY@127.0.0.1:1/%zz")
	t.Setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://CANARY:port")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "CANARY")
	t.Setenv("OTEL_METRIC_EXPORT_INTERVAL", "none")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "nothing.pem")
	var out sink
	s, err := setUpTelemetry(t.Context(), &config.Config{Log: config.Log{Level: "info", Format: "json"}}, &out)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.shutdown(t.Context()) // there is no collector
	noted := false
	for line := range strings.Lines(out.String()) {
		var said struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Errorf("not JSON: %s", line)
		}
		noted = noted || said.Level == "ERROR" && said.Msg == "parse headers"
	}
	if !noted {
		t.Errorf("the log does not say that a header has no value: %s", out.String())
	}
	if strings.Contains(out.String(), "CANARY") {
		t.Errorf("the log quotes what it is told to keep: %s", out.String())
	}
	for _, known := range []string{`"environment variable":"OTEL_METRIC_EXPORT_INTERVAL"`, `"file":"nothing.pem"`, "no such file", "OTEL_ variables"} {
		if !strings.Contains(out.String(), known) {
			t.Errorf("the log does not say %s: %s", known, out.String())
		}
	}
}

func TestClockMovesForward(t *testing.T) {
	c := newClock()
	if a, b := c.Now(), c.Now(); a <= 0 || b < a {
		t.Errorf("%v, then %v", a, b)
	}
}

func TestCodeOfFindsWrappedErrors(t *testing.T) {
	for want, err := range map[exitCode]error{
		exitUsage: errors.Join(errors.New("x"), &usageError{errors.New("u")}), exitConfig: errors.Join(&config.Error{}),
		exitStore: errors.Join(&storeError{errors.New("s")}), exitFailure: errors.New("f"), exitOK: nil,
	} {
		if got := codeOf(err); got != want {
			t.Errorf("codeOf(%v) = %d, want %d", err, got, want)
		}
	}
}
