package idempotency

import "time"

// PurgedKeys returns up to which date keys may have been executed and forgotten, given what [RetentionStore].Purged
// says. A key may be dated a day after it was first seen. But a purge by a clock that was ahead can have taken what
// had only just come, and must not have the keys of the coming day refused. What was claimed by such a clock says
// nothing about dates.
func PurgedKeys(purged, now time.Time) time.Time {
	switch ahead := purged.Add(MaxDateAhead); {
	case purged.IsZero() || purged.After(now):
		return time.Time{}
	case ahead.After(now):
		return purged
	default:
		return ahead
	}
}
