package client

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longestFloor bounds what a Retry-After can ask for. To ask again after an hour harms nobody, and a mistake
// in a proxy must not silence a client for a year.
const longestFloor = time.Hour

// noAnswer is what came back if nothing did.
var noAnswer = answer{}

// read makes of an HTTP response what it decides. Content is needed of problems alone; whole says that all of
// it came. now is this machine's clock, used where the response has none.
func read(status int, h http.Header, content []byte, whole bool, now time.Time) answer {
	a := answer{status: status, whole: whole, floor: floorOf(h, now)}
	var ok bool
	if a.state, ok = only(h, "Idempotency-State"); !ok {
		return a
	}
	a.signed = true
	a.next, _ = only(h, "Idempotency-Next") // "" is like a word of a later version: ask
	if whole && strings.HasPrefix(h.Get("Content-Type"), "application/problem+json") {
		var p struct{ Code string }
		if json.Unmarshal(content, &p) == nil {
			a.code = p.Code
		}
	}
	return a
}

// only returns the value of a field that is there exactly once. A list is no value: nothing of ours writes one.
func only(h http.Header, name string) (value string, ok bool) {
	if values := h.Values(name); len(values) == 1 {
		value = strings.TrimSpace(values[0])
	}
	return value, value != ""
}

// floorOf reads Retry-After (RFC 9110, section 10.2.3). A date is compared with the Date of the same answer,
// so that the clock of this machine does not matter; what cannot be read is no floor.
func floorOf(h http.Header, now time.Time) time.Duration {
	value, ok := only(h, "Retry-After")
	if !ok {
		return 0
	}
	var floor time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		floor = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		floor = at.Sub(now)
	}
	return min(max(floor, 0), longestFloor)
}
