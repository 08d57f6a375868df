package client

import (
	"sync"
	"time"
)

// jitter is a time between zero and a bound that doubles with each call that taught nothing: full jitter. random is
// in [0, 1).
func jitter(base time.Duration, idle int, random float64) time.Duration {
	bound := base
	for range idle - 1 {
		if bound *= 2; bound > 150*base {
			bound = 150 * base
			break
		}
	}
	return time.Duration(random * float64(bound))
}

// budget bounds the calls that follow calls that taught nothing, of all entries together: so many a second, of
// which ten seconds' worth can be saved, and one for each entry that was settled. Who has none left waits longer;
// nobody gives up.
type budget struct {
	perSecond float64

	mu    sync.Mutex
	spent float64 // of what was saved; more than that while somebody waits for what comes in
	asOf  time.Time
}

// take spends one, and returns how long it takes until it is there.
func (b *budget) take(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.asOf.IsZero() {
		b.spent = max(0, b.spent-b.perSecond*now.Sub(b.asOf).Seconds())
	}
	b.asOf = now
	b.spent++
	return time.Duration(max(0, b.spent/b.perSecond-10) * float64(time.Second))
}

// refill gives one back.
func (b *budget) refill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spent = max(0, b.spent-1)
}
