package upstream

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// limitUnacknowledged ends a connection whose peer has acknowledged nothing for d (RFC 5482), which
// the kernel would otherwise retransmit to for a quarter of an hour. A kernel that does not know the
// option is no reason to have no connection.
func limitUnacknowledged(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		})
	}
}
