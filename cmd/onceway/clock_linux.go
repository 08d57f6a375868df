package main

import (
	"time"

	"golang.org/x/sys/unix"
)

// suspendClock counts while the machine sleeps: a lease must not look alive after a night in suspend.
// Go's own monotonic clock stands still there.
type suspendClock struct{}

func newClock() suspendClock { return suspendClock{} }

// Now is the time since boot (CLOCK_BOOTTIME).
func (suspendClock) Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock: CLOCK_BOOTTIME: " + err.Error()) // every Linux that Go runs on has it
	}
	return time.Duration(ts.Nano())
}
