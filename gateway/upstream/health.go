package upstream

import (
	"sync/atomic"
	"time"
)

// health is passive: a target that could not be reached is avoided for a while, as long as there are
// others.
type health struct {
	until    atomic.Int64 // Unix nanoseconds; 0 is alive
	failures atomic.Int32 // in a row
}

const (
	firstBackoff   = 500 * time.Millisecond
	longestBackoff = 10 * time.Second
)

func (h *health) alive(now time.Time) bool { return h.until.Load() <= now.UnixNano() }

func (h *health) failed(now time.Time) {
	n := min(h.failures.Add(1), 10)
	h.until.Store(now.Add(min(firstBackoff<<(n-1), longestBackoff)).UnixNano())
}

func (h *health) succeeded() {
	if h.until.Load() != 0 {
		h.failures.Store(0)
		h.until.Store(0)
	}
}
