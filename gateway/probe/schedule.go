package probe

import "time"

const (
	first   = time.Second      // between the first probe and the second, at most
	longest = 10 * time.Second // between two probes within settle
	slowest = time.Hour        // between two probes long after settle
)

// Next returns how long after a probe of an attempt that has been in doubt for age the next one follows;
// random is from 0 to 1, for jitter. Within settle the pauses double, up to 10 s or settle if that is
// less, and one probe falls on its end. Whoever has not found the operation by then may still find it,
// since requests can lie in queues for long: the pauses go on growing, by a quarter of the age, up to an
// hour. So what is asked how often depends on the age of a doubt alone, whoever asks.
func Next(age, settle time.Duration, random float64) time.Duration {
	pause := min(max(age, first), longest, settle)
	if age >= settle {
		pause = min(max(age/4, longest), slowest)
	}
	pause -= time.Duration(random * float64(pause) / 2)
	if left := settle - age; left > 0 && pause > left {
		return left + time.Millisecond
	}
	return pause
}
