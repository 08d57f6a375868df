package reconcile

import (
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// KeyAges judges keys by their own dates.
type KeyAges struct {
	Keep time.Duration // how long this gateway keeps records
	// Purged is what [idempotency.RetentionStore].Purged said last: records may have been kept for less time, by another
	// configuration. It must not block. Nil: nothing was purged.
	Purged func() time.Time
}

// TooOld returns why a key's date is so far back that it may have been executed and its record purged, or nil.
// Where it has no record, it is refused.
func (k KeyAges) TooOld(keyDate, now time.Time) *problem.Problem {
	if keyDate.IsZero() {
		return nil
	}
	var limit string
	switch {
	case now.Sub(keyDate) > k.Keep:
		limit = "more than retention.key (" + k.Keep.String() + ") before our time, " + now.UTC().Format(time.RFC3339) + ","
	case k.Purged != nil && !keyDate.After(idempotency.PurgedKeys(k.Purged(), now)):
		limit = "from when retention.key was shorter than now,"
	default:
		return nil
	}
	p := problem.NewKeyTooOld("The key is dated " + keyDate.Format(time.RFC3339) + ", " + limit + " and there is no record of it: it may have been executed and forgotten.")
	p.Extensions = map[string]any{"server_time": now.UTC().Format(time.RFC3339)}
	return &p
}
