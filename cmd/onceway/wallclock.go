//go:build !onceway_testclock

package main

import "time"

// wallClock is the clock that people read: the dates of keys and deadlines are compared with it, and with
// the embedded store it is the store's clock. Leases and timeouts never depend on it.
func wallClock() time.Time { return time.Now() }
