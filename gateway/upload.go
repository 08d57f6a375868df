package gateway

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/onceway/onceway/gateway/caller"
)

// upload is the body of an HTTP/1 request that may be answered before it has ended. With full duplex on,
// net/http leaves such a body alone; and where the transport still waits for more of it when the handler ends,
// net/http interrupts that and takes whatever comes next for a further request, although it is the rest of the
// body. So an answer that begins before we have seen the end is the connection's last.
type upload struct {
	io.ReadCloser
	client  http.ResponseWriter
	ended   atomic.Bool
	closed  atomic.Bool
	trailer http.Header // of the request: net/http fills it when the body ends
	trusted bool        // the peer
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err == io.EOF {
		u.cleanTrailer()
		u.ended.Store(true)
	} else if err != nil && u.closed.Load() {
		err = io.ErrUnexpectedEOF // of the exchange with the backend, and not what the client did
	}
	return n, err
}

// Close ends a Read that waits for the client, as [upstream.Upstream.RoundTripper] wants it. The request then
// has no end that could be seen, so that its answer is the connection's last.
func (u *upload) Close() error {
	u.closed.Store(true)
	return http.NewResponseController(u.client).SetReadDeadline(longAgo)
}

var longAgo = time.Unix(1, 0)

// cleanTrailer leaves no trailer that a backend might take for a field of ours.
func (u *upload) cleanTrailer() {
	for name := range u.trailer {
		if isOurs(name) || hopByHop[name] || !caller.Passes(name, u.trusted) {
			delete(u.trailer, name)
		}
	}
}

// unfinished reports whether there is an upload whose end has not been seen.
func (u *upload) unfinished() bool { return u != nil && !u.ended.Load() }

// uploaded is an upload that is read as ReverseProxy does, until its handler has returned, and closed, as ReverseProxy
// prevents it.
type uploaded struct {
	io.Reader
	io.Closer
}
