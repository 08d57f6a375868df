package upstream

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

var errUnsolicited = errors.New("data arrived that nobody had asked for")

// link is an HTTP/1.1 connection as net/http sees it: the socket, or TLS over it. It carries one
// request at a time.
//
// net/http reads ahead. So that what a backend sends after one response can never be taken for the
// next one, a link goes back to its target only when net/http has begun to wait for bytes with nothing
// left in its buffer, and it refuses bytes that arrive before any of the request has been written.
type link struct {
	net.Conn
	sock   *socket // its lock guards armed, reading and returning as well
	client *http.ClientConn
	target *target
	probe  prober

	armed     bool // a request has the link
	reading   bool // net/http waits for bytes
	returning bool // the exchange is over; the link goes back when net/http waits for bytes

	idleSince time.Time // guarded by the target
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

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// ReadFrom spares net/http a buffer for each longer request.
func (l *link) ReadFrom(r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{l.Conn}, r, buf[:])
}

// arm gives the link to a request: from here its bytes count.
func (l *link) arm() {
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

// fit reports whether an idle link may get another request: nothing has arrived on it, not even its
// end, and net/http thinks so too. It reserves the client connection.
func (l *link) fit() bool { return l.probe.quiet() && l.client.Reserve() == nil }
