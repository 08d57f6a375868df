package gateway

import (
	"net/http"
	"testing"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// A date that is there is never taken for none, whichever it is: times in Go have a value that says so.
func TestEveryDateIsOne(t *testing.T) {
	now := time.Now()
	for _, text := range []string{"0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T01:00:00+01:00", "0001-01-01T00:00:01Z", "1969-12-31T23:59:59Z"} {
		h := http.Header{}
		h.Set(problem.HeaderDeadline, text)
		h.Set(problem.HeaderFirstSent, text)
		if at, err := dateHeader(h, problem.HeaderDeadline); err != nil || !deadlinePassed(at, now) {
			t.Errorf("a deadline of %s has not passed: %v, %v", text, at, err)
		}
		if at, err := firstSent(h, "key", idempotency.DateUUIDv7, now); err != nil || at.Truncate(time.Microsecond).IsZero() {
			t.Errorf("first sent %s is read as %v, %v", text, at, err)
		}
	}
	for _, lines := range [][]string{{""}, {"yesterday"}, {"2026-01-31"}, {"2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"}} {
		if at, err := dateHeader(http.Header{problem.HeaderDeadline: lines}, problem.HeaderDeadline); err == nil {
			t.Errorf("%q is read as %v", lines, at)
		}
	}
	if at, err := dateHeader(http.Header{}, problem.HeaderDeadline); err != nil || !at.IsZero() {
		t.Errorf("no date is read as %v, %v", at, err)
	}
}

// What RFC 3339 allows is a date, and nothing else is: a client must neither be refused for a date that is one, nor
// believe that an instant counts which the gateway reads in another way.
func TestDatesOfRFC3339(t *testing.T) {
	for text, want := range map[string]string{
		"2026-01-31T12:00:00Z":             "2026-01-31T12:00:00Z",
		"2026-01-31t12:00:00z":             "2026-01-31T12:00:00Z",
		" 2026-01-31T12:00:00Z\t":          "2026-01-31T12:00:00Z",
		"2026-01-31T12:00:00.5+01:00":      "2026-01-31T11:00:00.5Z",
		"2026-01-31T12:00:00.1234567891Z":  "2026-01-31T12:00:00.123456789Z",
		"2026-01-31T12:00:00-00:00":        "2026-01-31T12:00:00Z",
		"2026-01-31T12:00:00-23:59":        "2026-02-01T11:59:00Z",
		"2016-12-31T23:59:60Z":             "2017-01-01T00:00:00Z",
		"1990-12-31T15:59:60.25-08:00":     "1991-01-01T00:00:00.25Z", // section 5.8
		"2028-02-29T00:00:00Z":             "2028-02-29T00:00:00Z",
		"2026-02-29T00:00:00Z":             "",
		"2026-01-31T1:00:00Z":              "",
		"2026-01-31T12:00:00,5Z":           "",
		"2026-01-31T12:00:00.Z":            "",
		"2026-01-31T24:00:00Z":             "",
		"2026-01-31T12:00:60Z":             "",
		"2026-01-31T23:59:61Z":             "",
		"2026-01-31T12:00:00+24:00":        "",
		"2026-01-31T12:00:00+00:60":        "",
		"2026-01-31T12:00:00+0100":         "",
		"2026-01-31T12:00:00":              "",
		"2026-01-31T12:00Z":                "",
		"2026-01-31 12:00:00Z":             "",
		"12026-01-31T12:00:00Z":            "",
		"2026-01-31T12:00:00Z, 2026-02-01": "",
	} {
		at, err := dateHeader(http.Header{problem.HeaderDeadline: {text}}, problem.HeaderDeadline)
		if got := at.Format(time.RFC3339Nano); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("%q is read as %s, %v", text, got, err)
		}
	}
}

// A date that is too far ahead counts as none, so that another one counts: whoever was purged under it is not executed again.
func TestDateAheadOfItsTimeHidesNone(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	const in2033, in2026 = "01d0d0d0-d0d0-7000-8000-000000000000", "019c1000-0000-7000-8000-000000000000"
	for _, tt := range []struct {
		key           idempotency.Key
		header, first string
	}{
		{in2033, "", ""},
		{in2033, "2025-06-01T00:00:00Z", "2025-06-01"},
		{in2033, "2030-06-01T00:00:00Z", ""},
		{in2026, "2025-06-01T00:00:00Z", "2026-01-30"},
		{in2026, "2030-06-01T00:00:00Z", "2026-01-30"},
		{"undated", "2030-06-01T00:00:00Z", ""},
		{"undated", "2026-02-01T11:00:00Z", "2026-02-01"},
	} {
		h := http.Header{}
		if tt.header != "" {
			h.Set(problem.HeaderFirstSent, tt.header)
		}
		at, err := firstSent(h, tt.key, idempotency.DateUUIDv7, now)
		if err != nil || at.IsZero() != (tt.first == "") || !at.IsZero() && at.Format(time.DateOnly) != tt.first {
			t.Errorf("%s, %s: %v, %v", tt.key, tt.header, at, err)
		}
	}
}
