package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// link is an HTTP/1.1 connection: a socket, or TLS over it. It carries one request at a time, on its
// caller's goroutine, and sends nothing twice. net/http's parser reads the messages; its client is not
// used, because it costs two goroutines for each connection and their hand-overs for each request.
//
// What a backend sends after one response is never taken for the next one. A link is kept only if nothing
// is left in its buffer, TLS is asked for what it may have decrypted before a request begins, and the
// socket refuses a request's first byte while the kernel has something. Half a TLS record, which a
// backend would have to split on purpose, can still be in between.
type link struct {
	net.Conn
	sock      *socket
	in        *bufio.Reader   // reads by way of Read, for the sake of its limit
	headLeft  int64           // how much longer a head or trailer section may become; no limit if negative
	asked     http.Request    // what the parser has to know of the request
	followed  context.Context // whose end ends what goes on: of the last exchange
	unfollow  func() bool
	idleSince time.Time // written before the target gets the link, read after it gave it away
}

// maxHead bounds, in bytes, the heads of the responses to one request together, interim ones included, and again its
// trailer section.
const maxHead = 1 << 20

var (
	errHeadTooLong = errors.New("the head or the trailer section of the response is longer than 1 MiB")
	errVersion     = errors.New("the response on an HTTP/1.1 connection says that it is of another major version")
	longAgo        = time.Unix(1, 0)
)

func newLink(top net.Conn, sock *socket) *link {
	l := &link{Conn: top, sock: sock, headLeft: -1}
	l.in = bufio.NewReader(l)
	return l
}

// Read fills the buffer.
func (l *link) Read(p []byte) (int, error) {
	switch {
	case l.headLeft < 0:
		return l.Conn.Read(p)
	case l.headLeft == 0:
		return 0, errHeadTooLong
	}
	n, err := l.Conn.Read(p[:min(int64(len(p)), l.headLeft)])
	l.headLeft -= int64(n)
	return n, err
}

// exchange writes a request and reads its response, whole. Afterwards t has the link back, or it is sealed.
func (l *link) exchange(ctx context.Context, t *target, r *Request) Outcome {
	buf := messages.Get().(*[]byte)
	defer messages.Put(buf)
	message, sent, err := compose(*buf, r, t.authority)
	*buf = message[:0]
	if err != nil {
		t.giveBack(l)
		return classify(evidence{step: stepBuild, err: err})
	}
	l.sock.SetDeadline(r.Deadline) // and none, if there was one of an exchange before
	l.sock.arm(ctx)
	l.follow(ctx)
	if err := ctx.Err(); err != nil { // perhaps before the deadline was set, which then counts for more
		return l.failed(ctx, r, nil, evidence{step: stepExchange, err: err})
	}
	if err := l.unasked(); err != nil {
		return l.failed(ctx, r, nil, evidence{step: stepExchange, err: err})
	}
	if r.Ready != nil {
		if err := r.Ready(); err != nil {
			t.giveBack(l)
			return classify(evidence{step: stepReady, err: err})
		}
	}
	if _, err := l.Conn.Write(message); err != nil {
		if _, ok := l.Conn.(*tls.Conn); ok && errors.Is(err, errDead) && l.unasked() == nil {
			err = errCrossed
		}
		return l.failed(ctx, r, nil, evidence{step: stepExchange, err: err})
	}
	rest := l.write(r.Body[sent:])
	resp, err := l.readHead(r.Method)
	if err != nil {
		return l.failed(ctx, r, rest, evidence{step: stepExchange, drained: rest.drained(), err: err})
	}
	a, cause, err := receive(resp, r, t.up.o.SpillDir)
	if cause != "" || err != nil {
		return l.failed(ctx, r, rest, evidence{step: stepRead, cause: cause, err: err})
	}
	if !rest.drained() || ctx.Err() != nil || resp.Close || l.in.Buffered() > 0 || !l.sock.fit() || !t.keep(l) {
		l.seal()
		rest.wait()
	}
	return a
}

// failed ends what is left of the exchange, and only then looks at the evidence.
func (l *link) failed(ctx context.Context, r *Request, rest remainder, e evidence) Outcome {
	e.ended = r.ended(ctx)
	if e.ended != nil && errors.Is(e.err, os.ErrDeadlineExceeded) {
		e.err = e.ended // which was what the deadline stood for
	}
	e.exclusive = true
	e.wrote = l.seal()
	e.sealed = true
	rest.wait()
	return classify(e)
}

// follow makes ctx's end end what goes on on the link. All exchanges of a gateway have one context, which ends when a drain
// has run out of time, so it is asked for once a link and not once an exchange.
func (l *link) follow(ctx context.Context) {
	if l.followed == ctx {
		return
	}
	if l.unfollow != nil {
		l.unfollow()
	}
	l.followed, l.unfollow = ctx, context.AfterFunc(ctx, func() { l.sock.abort(ctx) })
}

// seal ends the link for good and reports whether a byte of the request was written.
func (l *link) seal() (wrote bool) {
	if l.unfollow != nil {
		l.unfollow()
	}
	return l.sock.seal()
}

// unasked returns an error if TLS has something for us, or the end, before the request. Tickets and the
// like are taken in.
func (l *link) unasked() error {
	secured, ok := l.Conn.(*tls.Conn)
	if !ok {
		return nil
	}
	l.sock.glance = true
	_, err := secured.Read(make([]byte, 1))
	l.sock.glance = false
	if errors.Is(err, errNothing) {
		return nil
	}
	return errDead
}

// readHead reads the head of the response, and the interim ones before it (RFC 9110, section 15.2).
func (l *link) readHead(method string) (*http.Response, error) {
	l.asked.Method, l.headLeft = method, maxHead
	for {
		resp, err := http.ReadResponse(l.in, &l.asked)
		if err != nil {
			return nil, err
		}
		if resp.ProtoMajor != 1 {
			return nil, errVersion // the parser takes any; the rules by which its content ends are of this one
		}
		if !validStatus(resp.Status) {
			return nil, errStatus // the parser takes 099, which looks like an interim one
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			l.headLeft = -1
			if resp.Body != http.NoBody && slices.Contains(resp.TransferEncoding, "chunked") {
				resp.Body = newChunked(l, resp)
			}
			return resp, nil
		}
	}
}

// remainder is a long request's content that is written while its response may already be coming. It is
// nil if there is none.
type remainder chan error

func (l *link) write(content []byte) remainder {
	if len(content) == 0 {
		return nil
	}
	rest := make(remainder, 1)
	go func() {
		_, err := l.Conn.Write(content)
		rest <- err
		close(rest)
	}()
	return rest
}

// drained reports whether all of it has been taken by the connection. It is asked once, or after wait.
func (rest remainder) drained() bool {
	if rest == nil {
		return true
	}
	select {
	case err, first := <-rest:
		return first && err == nil
	default:
		return false
	}
}

// wait returns when nothing more is written or read of the content. The link has been sealed.
func (rest remainder) wait() {
	if rest != nil {
		for range rest {
		}
	}
}

var messages = sync.Pool{New: func() any { return new([]byte) }}
