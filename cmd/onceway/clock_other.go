//go:build !linux

package main

import "time"

// suspendClock is the monotonic clock: on this system there is no better one that is known to us. A
// machine that may be suspended should not run the gateway.
type suspendClock struct{ start time.Time }

func newClock() suspendClock { return suspendClock{time.Now()} }

// Now is the time since the clock was made.
func (c suspendClock) Now() time.Duration { return time.Since(c.start) }
