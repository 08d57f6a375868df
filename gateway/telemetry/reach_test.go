package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/onceway/onceway/idempotency"
)

// Of a target that cannot be reached the log says why, and it is not said with each request.
func TestReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, true, sdktrace.NeverSample())
		u := b.Upstream("orders")
		expired := errors.New("tls: failed to verify certificate: x509: certificate has expired")
		const one, two = "10.0.0.1:443", "10.0.0.2:443"
		for i, step := range []struct {
			after  time.Duration
			target string
			cause  idempotency.Cause
			err    error
			says   string
		}{
			{0, one, "", nil, ""},
			{0, one, "tls-failed", expired, `"WARN","msg":"backend not reached","upstream":"orders","target":"10.0.0.1:443","cause":"tls-failed","error":"tls: failed to verify certificate: x509: certificate has expired"`},
			{59 * time.Second, one, "tls-failed", expired, ""},
			{0, two, "tls-failed", expired, `"target":"10.0.0.2:443"`},
			{0, one, "dial-failed", errors.New("refused"), `"cause":"dial-failed","error":"refused"`},
			{0, one, "tls-failed", expired, ""}, // by turns
			{time.Second, one, "tls-failed", expired, `"cause":"tls-failed"`},
			{0, one, "", nil, `"INFO","msg":"backend reached again","upstream":"orders","target":"10.0.0.1:443"`},
			{0, one, "", nil, ""},
			{0, one, "tls-failed", expired, ""}, // up and down
			{0, one, "", nil, ""},
			{time.Minute, one, "tls-failed", expired, `"cause":"tls-failed"`},
			{time.Hour, two, "dial-failed", fmt.Errorf("dial: %w", context.Canceled), ""}, // at a shutdown
		} {
			time.Sleep(step.after)
			b.log.Reset()
			u.Dialed("orders", step.target, 0, step.cause, step.err)
			if got := b.log.String(); !strings.Contains(got, step.says) || step.says == "" && got != "" {
				t.Errorf("%d: the log says %q, want %q", i, got, step.says)
			}
		}
	})
}
