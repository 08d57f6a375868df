package gateway

import (
	"bufio"
	"crypto/tls"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/onceway/onceway/gateway/cors"
)

// recorder remembers the status for the event, and bounds how long a client may take with an answer of
// ours: net/http reads what is left of a body before it answers, and waits for ever for a client that
// does not read. What streams through has no such bounds. Unwrap lets http.ResponseController through.
//
// It also sees to it that no byte of a body is ever taken for a further request: see upload.
type recorder struct {
	http.ResponseWriter
	body    io.Reader // of the request, where what is not read of it stands in the way of the answer
	status  int
	streams bool    // passed through
	upload  *upload // the body of what is passed through, if net/http does not look after it
	last    bool    // answer of this connection
	unread  bool    // there is a request body, and it has not been read to its end
	bounded bool    // a write deadline is set

	continued bool // net/http sends no 100 by itself any more

	// What pages may know of the answer.
	request  *http.Request
	pages    *cors.Policy
	readable bool // every field of it
}

func newRecorder(w http.ResponseWriter, r *http.Request) *recorder {
	out := &recorder{ResponseWriter: w, unread: r.ContentLength != 0, request: r}
	if r.ProtoMajor == 1 && r.Header.Get("Expect") == "" { // HTTP/2 ends the stream, and who expects is told
		out.body = r.Body
	}
	return out
}

// How long, and how far, a refused client may go on sending a body that nobody wants: net/http reads 256 KiB
// of it before the answer, we read on after it. Where we stopped, whatever comes further would be
// answered by a reset, and that may destroy the answer before the client has read it (RFC 9112 section 9.6).
const (
	lingerFor   = 5 * time.Second // each
	lingerBytes = 64 << 20

	lingerBeforeEnd = 500 * time.Millisecond // where only our return tells the client that this was the answer
)

func (w *recorder) WriteHeader(status int) {
	if status < 200 {
		if !w.request.ProtoAtLeast(1, 1) {
			return // RFC 9110, section 15.2: HTTP/1.0 knows none
		}
		if status == http.StatusSwitchingProtocols {
			return // RFC 9113, section 8.6: HTTP/2 knows none; that of HTTP/1.1 goes out behind Hijack
		}
		fromBackend(w.Header())
		w.continueBefore(status)
		if w.request.ProtoMajor == 2 {
			// Where the client resets the stream, net/http returns before it has written the fields. Of those that hold
			// a Content-Length it makes a copy, without it; they may be changed then.
			w.Header()["Content-Length"] = noLength
		}
	} else {
		w.status = status
		w.pages.Answer(w.Header(), w.request, w.readable)
		if !w.streams && !w.bounded {
			w.bound()
		}
		if w.streams && w.Header()["Content-Type"] == nil {
			w.Header()["Content-Type"] = nil // or net/http would guess
		}
		if w.last || w.upload.unfinished() || !w.request.ProtoAtLeast(1, 1) { // see isFramed: what follows may be content
			w.Header().Set("Connection", "close") // over HTTP/2 a GOAWAY
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

var noLength = []string{"0"}

// continueBefore sends the 100 that a client waits for, before another interim answer. When the body is read, net/http
// sends it of its own accord, from another goroutine, and may do so in the middle of that answer.
func (w *recorder) continueBefore(status int) {
	if w.upload == nil || w.continued || w.request.Header["Expect"] == nil {
		return
	}
	w.continued = true
	if status == http.StatusContinue {
		return // the backend's
	}
	h := w.Header()
	fields := maps.Clone(h)
	clear(h)
	w.ResponseWriter.WriteHeader(http.StatusContinue)
	maps.Copy(h, fields)
}

// bound gives a client a minute, and a second for each 64 KiB, to take the answer.
func (w *recorder) bound() {
	w.bounded = true
	now := time.Now()
	c := http.NewResponseController(w.ResponseWriter)
	if w.unread {
		_ = c.SetReadDeadline(now.Add(lingerFor))
	}
	within := 5 * time.Minute // for a length that is not known
	if lengths := w.Header()["Content-Length"]; len(lengths) == 1 {
		if n, err := strconv.ParseInt(lengths[0], 10, 64); err == nil {
			within = time.Minute + time.Duration(n>>16)*time.Second
		}
	}
	_ = c.SetWriteDeadline(now.Add(within))
}

// finish hands the answer to the kernel and takes the deadline off: the connection may have further
// requests.
func (w *recorder) finish() {
	within := lingerFor
	if w.upload.unfinished() && w.status != 0 {
		w.unread, w.body = true, w.upload.ReadCloser // whose trailers are not for us
		if w.Header()["Content-Length"] == nil {
			within = lingerBeforeEnd
		}
	} else if !w.bounded {
		return
	}
	c := http.NewResponseController(w.ResponseWriter)
	_ = c.Flush()
	if w.unread && w.body != nil {
		_ = c.SetReadDeadline(time.Now().Add(within))
		_, _ = io.CopyN(io.Discard, w.body, lingerBytes) // nothing, if net/http has read it all
	}
	_ = c.SetWriteDeadline(time.Time{})
}

// abandon is for an answer that is to be cut: net/http would wait for the rest of the request first.
func (w *recorder) abandon() {
	if w.upload.unfinished() {
		_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now())
		_, _ = w.upload.ReadCloser.Read(make([]byte, 1)) // when whoever reads it now has stopped
	}
	if !w.request.ProtoAtLeast(1, 1) && w.Header()["Content-Length"] == nil {
		w.reset()
	}
}

// reset ends the connection by a reset, and without the farewell of TLS. To HTTP/1.0, content without a length ends with
// its connection, and an orderly end would make a part of it the whole (RFC 9112, section 8). That is no rare client: by
// default nginx asks its backends so.
func (w *recorder) reset() {
	conn, _, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return
	}
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// Hijack is for ReverseProxy, which would lose what net/http has read behind the head of a request that opens a
// WebSocket. No client should send that before it has the answer (RFC 6455, section 4.1), but a gap would be worse.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if n := rw.Reader.Buffered(); n > 0 {
		conn = readAhead{conn, io.MultiReader(io.LimitReader(rw, int64(n)), conn)}
	}
	return conn, rw, nil
}

// readAhead is a connection of which something has been read already.
type readAhead struct {
	net.Conn
	from io.Reader
}

func (c readAhead) Read(p []byte) (int, error) { return c.from.Read(p) }

func (c readAhead) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return http.ErrNotSupported
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
