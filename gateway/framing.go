package gateway

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/onceway/onceway/gateway/problem"
)

// isFramed reports whether it is known how long the body is. Over HTTP/1.0 only a Content-Length says so: net/http
// drops a Transfer-Encoding unseen, and takes the content for what follows the request (RFC 9112, section 6.1).
func isFramed(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) || len(r.Header["Content-Length"]) > 0
}

// checkHead returns an error if a request over HTTP/2 is malformed by its method, its :path or its :authority (RFC 9113,
// section 8.3.1) in a way that net/http refuses over HTTP/1.1 only. It could not be sent to a backend, or would be read
// there as another one.
func checkHead(r *http.Request) error {
	switch {
	case r.ProtoMajor != 2:
		return nil
	case r.RequestURI[0] != '/' && r.RequestURI != "*":
		return errPath
	case !httpguts.ValidHeaderFieldName(r.Method):
		return errMethod
	case !httpguts.ValidHostHeader(r.Host):
		return errAuthority
	}
	return nil
}

var (
	errPath      = errors.New("the :path does not begin with /")
	errMethod    = errors.New("the :method is not a token")
	errAuthority = errors.New("the :authority has bytes that no host has")
)

// checkLength returns an error if a request over HTTP/2 is malformed by its Content-Length (RFC 9113, section 8.1.1). net/http
// takes one that it cannot read for 0, so that the content would be left out, and does not look at one where no content
// follows. What follows, it compares.
func checkLength(r *http.Request) error {
	lines := r.Header["Content-Length"]
	if r.ProtoMajor != 2 || len(lines) == 0 {
		return nil
	}
	if n, err := strconv.ParseUint(lines[0], 10, 63); err != nil || len(lines) > 1 || int64(n) != r.ContentLength {
		return errLength
	}
	return nil
}

var errLength = errors.New("the Content-Length is not that of the content")

// checkNothing returns a refusal if content follows, or no end, where a request over HTTP/2 says that there is none.
func checkNothing(w *recorder, r *http.Request, within time.Duration) error {
	if r.ProtoMajor != 2 || r.Header["Content-Length"] == nil {
		return nil
	}
	deadline := http.NewResponseController(w.ResponseWriter)
	_ = deadline.SetReadDeadline(time.Now().Add(within))
	if err := checkEnd(r); err != nil {
		return err
	}
	_ = deadline.SetReadDeadline(time.Time{})
	return nil
}

// checkEnd returns a refusal unless the end of a request over HTTP/2 comes where its Content-Length says. As long as it
// has not come, the client can still take the request back, or make it malformed. Over HTTP/1.1 the length is the end.
func checkEnd(r *http.Request) error {
	if r.ProtoMajor != 2 {
		return nil
	}
	if _, err := io.CopyN(io.Discard, r.Body, 1); err != io.EOF {
		return &refusal{problem.NewRequestMalformed("The body is not as long as Content-Length says, or did not end in time. Nothing was sent to the backend.")}
	}
	return nil
}
