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

// A field in several lines has the value that it has in one (RFC 9110, section 5.3).
func TestRepresentation(t *testing.T) {
	for _, tt := range []struct {
		types, encodings        []string
		mediaType, contentCoded string
	}{
		{nil, nil, "", ""},
		{[]string{"Application/JSON; charset=utf-8"}, []string{"gzip"}, "application/json", "gzip"},
		{[]string{"application/json"}, []string{"gzip", "br"}, "application/json", "gzip, br"},
		{[]string{"application/json"}, []string{"gzip, br"}, "application/json", "gzip, br"},
		{[]string{"application/json", "text/plain"}, nil, "application/json, text/plain", ""},
		{[]string{"application/json, text/plain"}, nil, "application/json, text/plain", ""},
		// Another line is another request, whatever stands behind the first one's type.
		{[]string{"application/json; charset=utf-8", "text/plain"}, nil, "application/json, text/plain", ""},
	} {
		h := http.Header{"Content-Type": tt.types, "Content-Encoding": tt.encodings}
		mediaType, encoding := representation(h)
		if mediaType != tt.mediaType || encoding != tt.contentCoded {
			t.Errorf("%q, %q: %q, %q", tt.types, tt.encodings, mediaType, encoding)
		}
	}
}
