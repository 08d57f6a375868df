package upstream

import (
	"errors"
	"math"
	"net"
	"sync"
	"syscall"
)

var errSealed = errors.New("connection is sealed")

// socket is a TCP connection that knows how many bytes the kernel took from us.
//
// The count is evidence only once it can no longer grow: [socket.seal] refuses further writes and
// closes the connection, under the lock that every write passes, and reads the count after that.
type socket struct {
	net.Conn
	mu      sync.Mutex
	sealed  bool
	writing int   // writes inside the kernel
	written int64 // bytes that the kernel took
	mark    int64 // what written was when the current request got the connection; never, if it is shared
	dead    bool  // a write failed after the mark
}

const never = math.MaxInt64

func newSocket(c net.Conn) *socket { return &socket{Conn: c, mark: never} }

// Write hides from its caller that the peer is gone once a part of the request was written: a backend
// may answer and close before it has read the whole request, and net/http would throw that answer
// away. The reader finds out for itself, because the connection is over for it as well.
func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.sealed {
		s.mu.Unlock()
		return 0, errSealed
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
// mark. A write that is under way counts as written. It is safe to call again, and gives the answer of
// a count that can only have grown by such a write.
func (s *socket) seal() (wrote bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sealed {
		s.sealed = true
		s.Conn.Close()
	}
	return s.writing > 0 || s.written > s.mark
}

func peerGone(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
