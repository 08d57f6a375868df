package main

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// Sweeps that fail are told of once, with their cause, and once when they succeed again.
func TestReportSweeps(t *testing.T) {
	var log bytes.Buffer
	told := reportSweeps(slog.New(slog.NewTextHandler(&log, nil)))
	failure := errors.New("records are locked")
	for _, step := range []struct {
		err  error
		want string
	}{
		{nil, ""}, {failure, ""}, {nil, ""}, // one alone is no news
		{failure, ""}, {failure, "level=WARN"}, {failure, ""}, {failure, ""},
		{nil, "level=INFO"}, {nil, ""},
		{failure, ""}, {failure, "records are locked"},
	} {
		log.Reset()
		told(step.err)
		if got := log.String(); !strings.Contains(got, step.want) || (got == "") != (step.want == "") {
			t.Errorf("after %v it says %q, want %q", step.err, got, step.want)
		}
	}
}
