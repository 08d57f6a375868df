package upstream

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var (
	errUnsolicited = errors.New("data arrived that nobody had asked for")
	errDead        = errors.New("the kept-alive connection had ended, or something had arrived on it")
)

// link is an HTTP/1.1 connection as net/http sees it: the socket, or TLS over it. It carries one
// request at a time.
//
// net/http reads ahead. So that what a backend sends after one response is not taken for the next one,
// a link goes back to its target only when net/http has begun to wait for bytes with nothing left in
// its buffer; before the first byte of another request it asks the kernel whether anything has come,
// the connection's end included; and it refuses bytes that come before that. What remains are the few
// instructions between that look and the write: HTTP/1.1 has no remedy for them.
type link struct {
	net.Conn
	sock   *socket // its lock guards armed, reading and returning as well
	client *http.ClientConn
	target *target
	probe  prober

	armed     bool // a request has the link
	reading   bool // net/http waits for bytes
	returning bool // the exchange is over; the link goes back when net/http waits for bytes

	check     atomic.Bool // the next write is the first of a request on a kept-alive connection
	used      bool        // whoever has the link has these two
	idleSince time.Time
}

func newLink(top net.Conn, sock *socket, t *target) *link {
	l := &link{Conn: top, sock: sock, target: t}
	if c, ok := sock.Conn.(syscall.Conn); ok {
		l.probe.init(c)
	}
	return l
}

func (l *link) Close() error { return l.sock.Close() }

func (l *link) Read(p []byte) (int, error) {
	l.sock.mu.Lock()
	l.reading = true
	back := l.returning
	l.returning = false
	l.sock.mu.Unlock()
	if back {
		l.target.keep(l)
	}

	n, err := l.Conn.Read(p)

	l.sock.mu.Lock()
	l.reading = false
	solicited := l.armed && (l.sock.writing > 0 || l.sock.written > l.sock.mark)
	l.sock.mu.Unlock()
	if n > 0 && !solicited {
		return 0, errUnsolicited
	}
	return n, err
}

func (l *link) Write(p []byte) (int, error) {
	if l.check.Load() {
		if !l.probe.quiet() {
			return 0, errDead
		}
		l.check.Store(false)
	}
	return l.Conn.Write(p)
}

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// ReadFrom spares net/http a buffer for each longer request.
func (l *link) ReadFrom(r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{l}, r, buf[:])
}

// arm gives the link to a request: from here its bytes count.
func (l *link) arm() {
	l.check.Store(l.used)
	l.used = true
	l.sock.mu.Lock()
	l.armed, l.sock.mark = true, l.sock.written
	l.sock.mu.Unlock()
}

// release ends a whole exchange. The link goes back to its target if and when it is fit for another.
func (l *link) release() {
	l.sock.mu.Lock()
	back := l.reading && !l.sock.sealed && !l.sock.dead
	l.armed, l.returning = false, !back
	l.sock.mu.Unlock()
	if back {
		l.target.keep(l)
	}
}

// seal ends the link for good and reports whether a byte of the request was written.
func (l *link) seal() (wrote bool) {
	wrote = l.sock.seal()
	l.client.Close()
	return wrote
}
