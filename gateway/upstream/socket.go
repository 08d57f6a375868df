package upstream

import (
	"errors"
	"math"
	"net"
	"sync"
	"syscall"
)

var (
	errSealed      = errors.New("connection is sealed")
	errUnsolicited = errors.New("data arrived that nobody had asked for")
	errDead        = errors.New("the connection had ended, or something had arrived on it, before the request")
)

// socket is a TCP connection that knows how many bytes the kernel took from us, and whether bytes that
// come from it were asked for.
//
// The count is evidence only once it can no longer grow: [socket.seal] refuses further writes under the
// lock that every write passes, closes the connection, and only then reads the count.
//
// On a connection with one request at a time ("exclusive") bytes are expected from the first byte of a
// request to the end of its response. What comes at another time is refused. That the kernel has
// nothing for us is established under the same lock, immediately before the first byte is written;
// what remains are the few instructions between that look and the write, for which HTTP/1.1 has no
// remedy.
type socket struct {
	net.Conn
	kernel

	mu      sync.Mutex
	sealed  bool
	writing int   // writes inside the kernel
	written int64 // bytes that the kernel took
	mark    int64 // what written was when the current request got the connection; never, if it is shared
	dead    bool  // a write failed after the mark

	// The rest is about exclusive connections.
	exclusive bool
	expected  bool        // bytes from the peer are
	check     bool        // the next write is a request's first: nothing may have come yet
	spoilt    bool        // some came that were not
	waiting   bool        // the reader found the kernel empty
	returning bool        // the exchange is over; onIdle is due when the reader finds the kernel empty
	onIdle    func() bool // takes the connection back, or refuses it
}

const never = math.MaxInt64

// newSocket returns a socket on which bytes are expected, as they are during a handshake, or not.
func newSocket(c net.Conn, expected bool) *socket {
	s := &socket{Conn: c, mark: never, expected: expected}
	s.kernel.init(s)
	return s
}

// Write hides from its caller that the peer is gone once a part of the request was written: a backend
// may answer and close before it has read the whole request, and net/http would throw that answer
// away. The reader finds out for itself, because the connection is over for it as well.
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
		s.check, s.expected = false, true
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

// arm gives the connection to a request: from here its bytes count.
func (s *socket) arm() {
	s.mu.Lock()
	s.mark, s.check = s.written, !s.expected
	s.mu.Unlock()
}

// begun reports whether any of the current request has been given to the kernel.
func (s *socket) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writing > 0 || s.written > s.mark
}

// release ends a whole exchange. onIdle gets the connection if and when it is fit for another.
func (s *socket) release() {
	s.mu.Lock()
	fit := !s.sealed && !s.dead
	now := fit && s.waiting
	s.expected, s.returning = false, fit && !now
	s.mu.Unlock()
	if now && !s.onIdle() {
		s.seal()
	}
}

// empty notes that the reader found nothing to read, and reports whether it may go on waiting. The
// caller holds the lock and gets it back released.
func (s *socket) empty() bool {
	back := s.returning && !s.spoilt
	s.waiting, s.returning = true, false
	s.mu.Unlock()
	return !back || s.onIdle()
}

func peerGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
