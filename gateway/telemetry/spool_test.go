package telemetry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
)

func TestSpool(t *testing.T) {
	b := newBench(t, true, sdktrace.NeverSample())
	status := telemetry.SpoolStatus{Depth: 3, Bytes: 400, Limit: 1000, Damaged: 1}
	s, err := b.Spool(func() telemetry.SpoolStatus { return status })
	if err != nil {
		t.Fatal(err)
	}
	gauge := func(name string) int64 {
		return b.metrics(t)[name].(metricdata.Gauge[int64]).DataPoints[0].Value
	}
	for name, want := range map[string]int64{"depth": 3, "size": 400, "limit": 1000, "damaged": 1, "age": 0} {
		if got := gauge("onceway.spool." + name); got != want {
			t.Errorf("onceway.spool.%s = %d, want %d", name, got, want)
		}
	}
	status.Oldest = time.Now().Add(-time.Hour)
	if age := gauge("onceway.spool.age"); age < 3600 {
		t.Errorf("onceway.spool.age = %d", age)
	}
	now := time.Now()
	if age := (telemetry.SpoolStatus{Oldest: now.Add(time.Hour)}).Age(now); age != 0 {
		t.Errorf("an outcome from the future is %v old", age)
	}
	op := idempotency.Operation{Caller: "alice", Key: "secret"}.ID()
	for _, news := range []struct {
		idempotency.SpoolNews
		says string
	}{
		{idempotency.SpoolKept, "WARN"}, {idempotency.SpoolRefused, "ERROR"}, {idempotency.SpoolRecorded, "INFO"}, {idempotency.SpoolImported, "WARN"},
		{idempotency.SpoolSuperseded, "WARN"}, {idempotency.SpoolContradicted, ""}, {idempotency.SpoolDamaged, "ERROR"},
	} {
		b.log.Reset()
		s.Spooled(op, news.SpoolNews, errors.New("input/output error"))
		if n := b.count(t, "onceway.spool.outcomes", map[string]string{"onceway.result": news.String()}); n != 1 {
			t.Errorf("%v was counted %d times", news, n)
		}
		if text := b.log.String(); strings.Contains(text, news.says) != (news.says != "" || text == "") || news.says != "" && !strings.Contains(text, op.String()) {
			t.Errorf("%v is logged as %q", news, text)
		}
	}
}
