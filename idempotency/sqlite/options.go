package sqlite

import "time"

// Options of a store. The zero value is usable.
type Options struct {
	// Lease is how long an executing record outlives its deadline before it is in doubt. Default 10 s.
	Lease time.Duration
	// Clock tells the time of claims, deadlines and expiry. Default time.Now.
	Clock func() time.Time
	// Grace is how much longer than its expiry a record is kept, because the clock may be ahead for a while: a
	// record must not be gone while its key is not called too old, or is called so no longer. Default 0.
	Grace time.Duration
	// Readers is the number of connections that Find uses, and all else that reads, except Ask. Default 2.
	Readers int
	// CompactEvery is how much time Purge lets pass between two walks along the feed, which read more than they
	// remove. Default 0: each time that nothing else is left to remove.
	CompactEvery time.Duration
	// Askers is the number of connections that Ask uses. Default 2.
	Askers int
}

func (o Options) withDefaults() Options {
	if o.Lease <= 0 {
		o.Lease = 10 * time.Second
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Readers <= 0 {
		o.Readers = 2
	}
	if o.Askers <= 0 {
		o.Askers = 2
	}
	return o
}
