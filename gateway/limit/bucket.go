package limit

import "time"

// bucket is a token bucket. Unlike those of libraries it takes a token back: a request that turns out to be no
// attempt has used none.
type bucket struct {
	tokens float64
	at     time.Time // when tokens was right
}

// fill adds what has come since, at rate tokens a second, up to most.
func (b *bucket) fill(now time.Time, rate, most float64) {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.tokens, b.at = min(most, b.tokens+passed*rate), now
	}
}

func (b *bucket) take() bool {
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

func (b *bucket) give(most float64) { b.tokens = min(most, b.tokens+1) }
