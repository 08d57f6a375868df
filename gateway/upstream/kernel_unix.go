//go:build unix

package upstream

import (
	"io"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel looks at a socket without waiting, which net.Conn cannot do. Everything is made once, so that
// it does not allocate.
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
	k.take = func(fd uintptr) bool {
		k.taken, k.err = unix.Read(int(fd), k.into)
		for k.err == unix.EINTR {
			k.taken, k.err = unix.Read(int(fd), k.into)
		}
		return true
	}
}

// quiet reports whether the connection is open and nothing has come on it. The caller holds the lock.
func (s *socket) quiet() bool {
	if s.raw == nil {
		return true
	}
	s.calm = false
	return s.raw.Control(s.look) == nil && s.calm
}

// Read waits for bytes, unless it is to glance.
func (s *socket) Read(p []byte) (int, error) {
	if !s.glance || s.raw == nil {
		return s.Conn.Read(p)
	}
	s.into = p
	err := s.raw.Read(s.take)
	s.into = nil
	switch {
	case err != nil:
		return 0, err
	case s.err == unix.EAGAIN:
		return 0, errNothing
	case s.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: os.NewSyscallError("read", s.err)}
	case s.taken == 0:
		return 0, io.EOF
	}
	return s.taken, nil
}
