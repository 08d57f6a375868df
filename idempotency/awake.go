package idempotency

import (
	"sync"
	"sync/atomic"
	"time"
)

// awake notices that the machine was suspended. Time that passed then counts for what is kept in memory, like any
// other; but what is measured by Go's monotonic clock, as a cache's expiry is, stands still meanwhile. So whatever was
// kept before is let go.
//
// A suspend-proof clock costs a system call, so it is read once a millisecond at most: what is asked for later than
// that after the machine woke up finds nothing that is older.
type awake struct {
	clock   Clock
	letGo   func()
	start   time.Time
	checked atomic.Int64 // when the clocks were last compared: nanoseconds since start, while awake
	woke    atomic.Int64 // the same of when they were last found to have parted

	mu     sync.Mutex
	parted time.Duration // how far the clocks were apart then
}

const (
	// checkClocks is how seldom the clocks are compared, counted while awake.
	checkClocks = time.Millisecond
	// asleep is what counts as a suspension, at once or in sum.
	asleep = 100 * time.Millisecond
)

func newAwake(clock Clock, letGo func()) *awake {
	a := &awake{clock: clock, letGo: letGo, parted: clock.Now()}
	a.start = time.Now()
	return a
}

// check lets go of what was kept if the machine has been suspended since.
func (a *awake) check() {
	if int64(time.Since(a.start))-a.checked.Load() < int64(checkClocks) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	parted := a.clock.Now() // first: what passes between two readings then hides a suspension until the next check, and never for good
	now := time.Since(a.start)
	if parted -= now; parted-a.parted >= asleep {
		a.parted = parted
		a.woke.Store(int64(now)) // first, for since
		a.letGo()
	}
	a.checked.Store(int64(now)) // last: until then nobody passes by
}

// since reports whether at is later than the last suspension that was noticed. What is kept of before must be let
// go by whoever kept it: asked afterwards, either this says so, or check has let it go.
func (a *awake) since(at time.Time) bool {
	woke := a.woke.Load()
	return woke == 0 || int64(at.Sub(a.start)) > woke
}
