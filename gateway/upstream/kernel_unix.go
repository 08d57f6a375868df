//go:build unix

package upstream

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel reads from a socket and looks at it under the socket's lock, which net.Conn cannot do: there,
// bytes may have left the kernel while nobody knows of them yet. Everything is made once, so that
// neither allocates.
type kernel struct {
	raw  syscall.RawConn
	look func(fd uintptr)
	take func(fd uintptr) (done bool)

	poll  []unix.PollFd
	calm  bool   // look's result
	into  []byte // take's argument, and its results
	taken int
	err   error
}

func (k *kernel) init(s *socket) {
	c, ok := s.Conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	k.raw = raw
	k.poll = make([]unix.PollFd, 1)
	k.look = func(fd uintptr) {
		k.poll[0] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
		n, err := unix.Poll(k.poll, 0) // data, the peer's end and errors all count as an event
		k.calm = err == nil && n == 0
	}
	k.take = func(fd uintptr) bool { return s.read(int(fd)) }
}

// quiet reports whether the connection is open and nothing has come on it. The caller holds the lock.
func (s *socket) quiet() bool {
	if s.raw == nil || s.spoilt {
		return !s.spoilt
	}
	s.calm = false
	return s.raw.Control(s.look) == nil && s.calm
}

// Read is not for two goroutines at a time.
func (s *socket) Read(p []byte) (int, error) {
	if !s.exclusive || s.raw == nil || len(p) == 0 {
		return s.Conn.Read(p)
	}
	s.into, s.taken, s.err = p, 0, nil
	if err := s.raw.Read(s.take); err != nil {
		return 0, err
	}
	s.into = nil
	return s.taken, s.err
}

// read tries once, without waiting.
func (s *socket) read(fd int) (done bool) {
	s.mu.Lock()
	n, err := unix.Read(fd, s.into)
	for err == unix.EINTR {
		n, err = unix.Read(fd, s.into)
	}
	if err == unix.EAGAIN {
		if s.empty() {
			return false
		}
		s.err = errSealed
		return true
	}
	s.waiting = false
	switch {
	case err != nil:
		s.err = &net.OpError{Op: "read", Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError("read", err)}
	case n == 0:
		s.err = io.EOF
	case !s.expected:
		s.err, s.spoilt = errUnsolicited, true
	default:
		s.taken = n
	}
	s.mu.Unlock()
	return true
}
