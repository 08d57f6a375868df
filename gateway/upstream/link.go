package upstream

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// link is an HTTP/1.1 connection as net/http sees it: a socket, or TLS over it. It carries one request
// at a time.
//
// net/http reads ahead. So that what a backend sends after one response is not taken for the next one,
// a link goes back to its target only when net/http waits for bytes with nothing left in its buffer,
// and nothing in the kernel's. Half a TLS record, which a backend would have to split on purpose, can
// still be in between.
type link struct {
	net.Conn
	sock      *socket
	client    *http.ClientConn
	withBody  atomic.Bool // the next write is the head of a request whose content follows at once
	held      []byte      // that head; only net/http's writing goroutine touches it
	idleSince time.Time   // written before the target gets the link, read after it gave it away
}

func newLink(top net.Conn, sock *socket, t *target) *link {
	l := &link{Conn: top, sock: sock}
	sock.mu.Lock()
	sock.exclusive, sock.onIdle = true, func() bool { return t.keep(l) }
	sock.mu.Unlock()
	return l
}

// Read refuses what came before the request, which TLS may have decrypted already.
func (l *link) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if n > 0 && !l.sock.begun() {
		return 0, errUnsolicited
	}
	return n, err
}

func (l *link) Close() error { return l.sock.Close() }

// Write holds the head of a request until its content comes. net/http flushes the one before the other
// unless it knows the reader's type; two writes are two system calls here, and wake the backend twice.
func (l *link) Write(p []byte) (int, error) {
	if l.withBody.Swap(false) {
		l.held = append(l.held[:0], p...)
		return len(p), nil
	}
	if len(l.held) == 0 {
		return l.Conn.Write(p)
	}
	p = append(l.held, p...)
	n, err := l.Conn.Write(p)
	n = max(n-len(l.held), 0)
	l.held = l.held[:0]
	return n, err
}

var copyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// ReadFrom writes a request's content, the first of it together with what is held, and spares net/http a
// buffer.
func (l *link) ReadFrom(r io.Reader) (int64, error) {
	buf := copyBuffers.Get().(*[32 << 10]byte)
	defer copyBuffers.Put(buf)
	n, err := r.Read(buf[:])
	if n > 0 {
		if n, werr := l.Write(buf[:n]); werr != nil {
			return int64(n), werr
		}
	}
	if err == io.EOF {
		return int64(n), nil
	}
	if err != nil {
		return int64(n), err
	}
	rest, err := io.CopyBuffer(struct{ io.Writer }{l}, r, buf[:])
	return int64(n) + rest, err
}

// seal ends the link for good and reports whether a byte of the request was written.
func (l *link) seal() (wrote bool) {
	wrote = l.sock.seal()
	l.client.Close()
	return wrote
}
