//go:build !linux

package upstream

import (
	"syscall"
	"time"
)

// limitUnacknowledged has no portable form: keep-alive and the deadline of each attempt remain.
func limitUnacknowledged(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
