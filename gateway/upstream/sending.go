package upstream

import (
	"crypto/tls"
	"io"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"
)

// sending is the body of a request that is passed through. When the exchange fails, net/http's RoundTrip waits for
// whoever reads the body before it says so; and that may be for ever, if the client has nothing to send just now
// and does not leave. So sending closes the body then.
//
// It hears of the failure by its own Close, which HTTP/2 calls for the stream, and over HTTP/1.1 its connection.
// Both also happen at the end of answers that began before the body had ended. Those are on their way to
// RoundTrip's caller by then, and get answerWithin to be there.
type sending struct {
	io.ReadCloser
	trace httptrace.ClientTrace

	mu      sync.Mutex
	conn    *watched
	reading bool
	closed  bool // for this connection
	settled bool // RoundTrip has returned
	failed  *time.Timer
}

const answerWithin = time.Second

func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, io.ErrUnexpectedEOF // of the exchange
	}
	s.reading = true
	s.mu.Unlock()
	n, err := s.ReadCloser.Read(p)
	s.mu.Lock()
	s.reading = false
	s.mu.Unlock()
	return n, err
}

// Close says that nobody wants any more of the body.
func (s *sending) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.reading && !s.settled && s.failed == nil {
		s.failed = time.AfterFunc(answerWithin, s.interrupt)
	}
	return nil
}

func (s *sending) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading && !s.settled {
		_ = s.ReadCloser.Close()
	}
}

// over is told the connection that the request takes now: another one where net/http tries again, which it does
// only if nothing has been read of the body.
func (s *sending) over(got httptrace.GotConnInfo) {
	on := below(got.Conn)
	if on == nil {
		return
	}
	s.mu.Lock()
	if s.conn != nil {
		s.conn.by.CompareAndSwap(s, nil) // its end is none of ours any more
	}
	s.conn, s.closed = on, false
	s.mu.Unlock()
	on.watch(s)
}

func (s *sending) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled = true
	if s.failed != nil {
		s.failed.Stop()
	}
	if s.conn != nil {
		s.conn.by.CompareAndSwap(s, nil)
	}
}

// watched is a connection that tells the body which goes over it, the latest if there are several, that it is closed. It
// knows whether it was TCP that ended it.
type watched struct {
	*net.TCPConn
	by     atomic.Pointer[sending]
	closed atomic.Bool
	ended  atomic.Bool // by its peer, in TCP: whoever reads TLS up to the close_notify does not come that far
}

func (c *watched) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if err == io.EOF {
		c.ended.Store(true)
	}
	return n, err
}

// below returns the connection that carries c, or is c itself; nil if it is none of ours.
func below(c net.Conn) *watched {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	on, _ := c.(*watched)
	return on
}

func (c *watched) watch(s *sending) {
	c.by.Store(s)
	if c.closed.Load() {
		s.Close()
	}
}

func (c *watched) Close() error {
	c.closed.Store(true)
	err := c.TCPConn.Close()
	if s := c.by.Load(); s != nil {
		s.Close()
	}
	return err
}
