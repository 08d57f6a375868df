//go:build unix

package upstream

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// prober looks at a socket without reading from it. net/http notices what has come only when its
// goroutine has run; the kernel knows at once.
type prober struct {
	raw   syscall.RawConn
	look  func(fd uintptr) // made once, as is poll, so that a look allocates nothing
	poll  []unix.PollFd
	empty bool
}

func (p *prober) init(c syscall.Conn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	p.raw = raw
	p.poll = make([]unix.PollFd, 1)
	p.look = func(fd uintptr) {
		p.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		n, err := unix.Poll(p.poll, 0) // data, the peer's end and errors all count as an event
		p.empty = err == nil && n == 0
	}
}

// quiet reports whether the connection is open and nothing has arrived on it. Only one goroutine may
// look at a time.
func (p *prober) quiet() bool {
	if p.raw == nil {
		return true
	}
	p.empty = false
	return p.raw.Control(p.look) == nil && p.empty
}
