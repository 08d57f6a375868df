package gateway

import (
	"errors"
	"net/http"
	"net/textproto"
	"regexp"
	"strings"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// dateHeader reads an optional RFC 3339 field. The zero time says that there is none: the date that it is comes
// back a microsecond later, which is the least that a store tells apart.
func dateHeader(h http.Header, name string) (time.Time, error) {
	lines := h[name]
	if len(lines) == 0 {
		return time.Time{}, nil
	}
	if len(lines) == 1 {
		if at, ok := parseDate(textproto.TrimString(lines[0])); ok {
			if at.IsZero() {
				at = at.Add(time.Microsecond)
			}
			return at, nil
		}
	}
	return time.Time{}, &refusal{problem.NewRequestMalformed(name + " must be one RFC 3339 date, such as 2026-01-31T12:00:00Z.")}
}

// dateTime is the grammar of RFC 3339, section 5.6, with the second of a leap second apart.
var dateTime = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:)(?:[0-5]\d|(60))(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$`)

// parseDate reads an RFC 3339 date. time.Parse alone takes hours of one digit and commas, which are none, and does not
// take lower case and leap seconds, which are.
func parseDate(s string) (at time.Time, ok bool) {
	m := dateTime.FindStringSubmatch(s)
	if m == nil {
		return at, false
	}
	leaps := m[2] != ""
	if leaps {
		s = m[1] + "59" + m[3] + m[4]
	}
	at, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	if err != nil {
		return at, false // no such day
	}
	if at = at.UTC(); leaps {
		if at.Hour() != 23 || at.Minute() != 59 {
			return at, false // RFC 3339, section 5.7: it is the last of its day, in UTC
		}
		at = at.Add(time.Second) // our clocks do not know it
	}
	return at, true
}

// firstSent returns the date of the first attempt: the key's own, or else the header's. A date more
// than a day in the future counts as none.
func firstSent(h http.Header, key idempotency.Key, scheme idempotency.KeyDate, now time.Time) (time.Time, error) {
	header, err := dateHeader(h, problem.HeaderFirstSent)
	if err != nil {
		return time.Time{}, err
	}
	own, _ := key.Date(scheme)
	for _, at := range [...]time.Time{own, header} {
		if !at.IsZero() && !at.After(now.Add(idempotency.MaxDateAhead)) {
			return at, nil
		}
	}
	return time.Time{}, nil
}

// firstSentByAnyRoute reads the date of a key where no route is known, as when it is cancelled: if any
// route believes the key's own date, it counts. Whatever may have been executed on one of the routes, and
// forgotten since, must not be called cancelled.
func (g *Gateway) firstSentByAnyRoute() func(http.Header, idempotency.Key) (time.Time, *problem.Problem) {
	scheme := idempotency.DateNone
	for r := range g.bounds {
		if r.Idempotency.Mode != config.ModeOff {
			scheme = wider(scheme, r.Idempotency.KeyDate)
		}
	}
	return func(h http.Header, key idempotency.Key) (time.Time, *problem.Problem) {
		at, err := firstSent(h, key, scheme, g.now())
		if known := (*refusal)(nil); errors.As(err, &known) {
			return time.Time{}, &known.Problem
		}
		return at, nil
	}
}

// wider returns the one of two schemes that dates all keys that either does.
func wider(a, b idempotency.KeyDate) idempotency.KeyDate {
	switch {
	case a == idempotency.DateNone:
		return b
	case a == idempotency.DateULID || b == idempotency.DateULID:
		return idempotency.DateULID
	}
	return idempotency.DateUUIDv7
}
