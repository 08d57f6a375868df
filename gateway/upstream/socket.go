package upstream

import (
	"context"
	"errors"
	"math"
	"net"
	"sync"
	"syscall"
)

var (
	errSealed = errors.New("connection is sealed")
	errDead   = errors.New("the connection had ended, or something had arrived on it, before the request")

	// errCrossed is of connections that are as good as new: what had arrived was TLS's own, such as the tickets that servers
	// send just after the handshake, but TLS writes nothing more once a write has been refused.
	errCrossed = errors.New("something of TLS had arrived on the connection just before the request")
)

// socket is a TCP connection that knows how many bytes the kernel took from us.
//
// The count is evidence only once it can no longer grow: [socket.seal] refuses further writes under the
// lock that every write passes, closes the connection, and only then reads the count.
//
// Before the first byte of a request nothing may have come, not even the end. That the kernel has nothing
// for us is established under the same lock, immediately before that byte is written; what remains are
// the few instructions between the look and the write, for which HTTP/1.1 has no remedy.
type socket struct {
	net.Conn
	kernel

	mu      sync.Mutex
	sealed  bool
	writing int             // writes inside the kernel
	written int64           // bytes that the kernel took
	mark    int64           // what written was when the current request got the connection; never, if it is shared
	until   context.Context // whose end aborts the current request; nil if there is none
	dead    bool            // a write failed after the mark
	check   bool            // the next write is a request's first: nothing may have come yet

	glance bool // Read takes only what is there. Of the reader, and set by it
}

const never = math.MaxInt64

func newSocket(c net.Conn) *socket {
	s := &socket{Conn: c, mark: never}
	s.kernel.init(s)
	return s
}

// Write hides from its caller that the peer is gone once a part of the request was written: a backend
// may answer and close before it has read the whole request, and that answer counts. The reader finds out for
// itself, because the connection is over for it as well.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.sealed {
		s.mu.Unlock()
		return 0, errSealed
	}
	if s.check {
		if !s.quiet() {
			s.mu.Unlock()
			return 0, errDead
		}
		s.check = false
	}
	s.writing++
	s.mu.Unlock()

	n, err := s.Conn.Write(p)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing--
	s.written += int64(n)
	if err != nil && s.written > s.mark && peerGone(err) {
		s.dead = true
		return len(p), nil
	}
	return n, err
}

// Close seals, so that nothing that happens while the connection is torn down can count as written.
func (s *socket) Close() error {
	s.seal()
	return nil
}

// seal refuses further writes, closes the connection and reports whether a byte was written since the
// mark. A write that is under way counts as written. It is safe to call again.
func (s *socket) seal() (wrote bool) {
	s.mu.Lock()
	first := !s.sealed
	s.sealed = true
	s.mu.Unlock()
	if first {
		s.Conn.Close() // not under the lock: it waits for the reader, and the reader for the lock
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writing > 0 || s.written > s.mark
}

// arm gives the connection to a request: from here its bytes count. The request has set its deadline, and abort may
// replace it.
func (s *socket) arm(until context.Context) {
	s.mu.Lock()
	s.mark, s.check, s.until = s.written, true, until
	s.mu.Unlock()
}

// abort ends the waits of a request that ends with until. It may come late: other requests do not mind.
func (s *socket) abort(until context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.until == until {
		s.SetDeadline(longAgo)
	}
}

// fit takes the connection back from a request and reports whether it may carry another one.
func (s *socket) fit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = nil
	return !s.sealed && !s.dead
}

// errNothing is what a glance finds if nothing is there. To TLS it is an error that passes.
var errNothing error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing has arrived" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func peerGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
