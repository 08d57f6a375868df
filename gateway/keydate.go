package gateway

import (
	"errors"
	"net/http"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

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
