package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/onceway/onceway/gateway/caller"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/route"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/gateway/upstream"
	"github.com/onceway/onceway/idempotency"
)

// passing is what a passed-through request carries to the hooks of its ReverseProxy, as its context.
type passing struct {
	context.Context
	target      route.Target
	unprotected bool // optional mode, and no key
	ev          *telemetry.Event
	upload      *upload // nil without a body
}

type passingKey struct{}

func (p *passing) Value(key any) any {
	if key == (passingKey{}) {
		return p
	}
	return p.Context.Value(key)
}

// pass streams a request through, both ways, without a record.
func (g *Gateway) pass(w *recorder, r *http.Request, b *bound, t route.Target, ev *telemetry.Event, unprotected bool) {
	ev.Upstream = b.observed
	if r.ContentLength == 0 { // of what follows all the same, ReverseProxy knows nothing
		if err := checkNothing(w, r, b.timeout); err != nil {
			g.refuse(w, ev, err, nil, idempotency.Record{})
			return
		}
	}
	if unprotected {
		ev.State = problem.Unprotected
	}
	p := &passing{Context: ev.Context(), target: t, unprotected: unprotected, ev: ev}
	in := r
	r = in.WithContext(p)
	if in.Body != http.NoBody {
		p.upload = &upload{ReadCloser: in.Body, client: w.ResponseWriter}
		r.Body = p.upload // not of in, whose body net/http recognises as its own
		if in.ProtoMajor == 1 {
			// net/http would read the whole request before it lets an answer begin. HTTP/2 needs no permission.
			_ = http.NewResponseController(w).EnableFullDuplex()
			w.upload = p.upload
		}
	}
	b.proxy.ServeHTTP(w, r)
	for _, name := range answersInTrailers {
		delete(w.Header(), name)
	}
}

// flushAfter is how long what a backend has sent may wait for more of an answer whose length is known. One that
// is there as a whole goes out in one piece; one without a length, and server-sent events, are flushed at once.
const flushAfter = 10 * time.Millisecond

// answersInTrailers are the names under which ReverseProxy leaves trailers that were not announced.
var answersInTrailers = func() (names []string) {
	for name := range answers {
		names = append(names, http.TrailerPrefix+name)
	}
	return names
}()

// upgradesToWebSocket reports whether a request opens a WebSocket (RFC 6455, section 4.1). No other protocol is
// tunnelled: requests inside h2c, above all, would be neither protected nor rid of forged fields. HTTP/1.0 has no
// upgrades (RFC 9110, section 7.8).
func upgradesToWebSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor >= 1 && r.Body == http.NoBody &&
		len(r.Header["Upgrade"]) == 1 && strings.EqualFold(r.Header["Upgrade"][0], "websocket")
}

// newProxy makes the proxy of unprotected requests. It is the standard library's, which upgrades connections
// and forwards 1xx and trailers.
func (g *Gateway) newProxy(b *bound) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		BufferPool: &copyBuffers, FlushInterval: flushAfter,
		Transport:      b.up.RoundTripper(),
		ErrorLog:       telemetry.NetHTTP(g.log),
		Rewrite:        func(pr *httputil.ProxyRequest) { g.rewritePassed(pr, b.route.Idempotency.Header) },
		ModifyResponse: modifyPassed,
		ErrorHandler:   g.passFailed,
	}
}

// rewritePassed makes of an unprotected request the one that is sent to the backend. The client's key field is named key.
func (g *Gateway) rewritePassed(pr *httputil.ProxyRequest, key string) {
	p := pr.In.Context().Value(passingKey{}).(*passing)
	u := pr.Out.URL
	u.Scheme, u.Host = "", "" // the transport picks the target
	u.RawQuery, u.ForceQuery = p.target.RawQuery, p.target.Query
	u.RawPath = p.target.Path
	u.Path = p.target.Path
	if decoded, err := url.PathUnescape(p.target.Path); err == nil {
		u.Path = decoded
	}
	// net/http fills the trailers into this map when the body has ended; of a copy nobody would know.
	pr.Out.Trailer = pr.In.Trailer
	trusted := g.trusted.Peer(pr.In.RemoteAddr)
	if p.upload != nil {
		if pr.Out.Body != nil { // not of a Content-Length of 0 over HTTP/2
			pr.Out.Body = uploaded{pr.Out.Body, p.upload}
		}
		p.upload.trailer, p.upload.trusted = pr.Out.Trailer, trusted
		p.upload.cleanTrailer() // of what is only announced
		if pr.Out.Trailer != nil && pr.Out.ContentLength < 0 {
			// Of a GET over HTTP/2 net/http would look first whether there is any content, and go on without an answer
			// after a while: it would lose the trailers of empty content, and read them while they are filled in.
			pr.Out.TransferEncoding = []string{"chunked"}
		}
	}
	if pr.Out.Body == nil {
		pr.Out.Trailer = nil // over HTTP/2 net/http would wait for them to be sent behind a body, and not end the request
	}
	h := pr.Out.Header
	if !upgradesToWebSocket(pr.In) {
		delete(h, "Connection")
		delete(h, "Upgrade")
	}
	delete(h, "Http2-Settings")
	if pr.In.Header[key] != nil {
		h[key] = pr.In.Header[key] // whatever the client's Connection names
	}
	for name := range h {
		if isOurs(name) && name != "Content-Length" && name != "Traceparent" && name != "Tracestate" {
			delete(h, name)
		}
	}
	caller.SetForwarded(h, pr.In, trusted)
	p.ev.Inject(h)
	hideFromRetries(pr.Out)
}

// modifyPassed leaves of an answer to an unprotected request what the client may see, or returns an error if that is nothing.
func modifyPassed(resp *http.Response) error {
	if !passes(resp) {
		return errNoAnswer
	}
	if resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		resp.Body.Close()
		resp.Body = http.NoBody // over HTTP/2 net/http misses what a length in the head names
	}
	if resp.ContentLength < 0 || resp.StatusCode == http.StatusNoContent {
		delete(resp.Header, "Content-Length") // of HTTP/2: more than one, or none that net/http believes; or none that may be
	}
	for name := range answers {
		delete(resp.Header, name)
	}
	for name := range resp.Trailer {
		if answers[name] {
			delete(resp.Trailer, name) // not announced; see answersInTrailers
		}
	}
	p := resp.Request.Context().Value(passingKey{}).(*passing)
	if p.unprotected {
		resp.Header.Set(problem.HeaderState, problem.Unprotected.String())
	}
	return nil
}

var errNoAnswer = errors.New("no answer to this request")

// passes reports whether a client can be given an answer at all. Of a 101 that nobody asked for ReverseProxy would leave
// the connection open; and at a status that is none net/http panics, as if we had made it up.
func passes(resp *http.Response) bool {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		asked := resp.Request.Header.Get("Upgrade")
		return asked != "" && strings.EqualFold(asked, resp.Header.Get("Upgrade"))
	}
	return resp.StatusCode >= 200 && resp.StatusCode <= 999
}

// copyBuffers are what bodies stream through. Without a pool every request allocates its own, which was
// four fifths of all memory that a plain GET cost.
var copyBuffers bufferPool

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte {
	if b, ok := p.pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }

// hideFromRetries keeps http.Transport from sending a request again that is not idempotent: it takes
// an Idempotency-Key for the promise that it may. The field goes out in lower case instead, which is the
// same field to every backend, and which Transport does not look for.
func hideFromRetries(r *http.Request) {
	for _, name := range [...]struct{ canonical, lower string }{
		{"Idempotency-Key", "idempotency-key"},
		{"X-Idempotency-Key", "x-idempotency-key"},
	} {
		if values, ok := r.Header[name.canonical]; ok {
			delete(r.Header, name.canonical)
			r.Header[name.lower] = values
		}
	}
}

// passFailed answers for a backend that did not. For an unprotected request there is no record to ask.
func (g *Gateway) passFailed(w http.ResponseWriter, r *http.Request, err error) {
	p, ok := r.Context().Value(passingKey{}).(*passing)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	if errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
	g.log.LogAttrs(p.ev.Context(), slog.LevelWarn, "pass-through failed", slog.String("error", passError(err)))
	var unreached *upstream.Unreached
	pr := ofUnprotected(problem.NewOutcomeUnknown(false, "The backend did not answer this unprotected request. It may have been executed."), r.Method)
	if errors.As(err, &unreached) {
		pr = problem.NewBackendUnreachable("The backend could not be reached. Nothing was executed.")
		pr.State = problem.Unprotected
	}
	g.writeProblem(w, p.ev, pr)
}

// ofUnprotected makes a problem that of an unprotected request of which nobody can know whether it was executed: what
// is not safe must not be sent again.
func ofUnprotected(p problem.Problem, method string) problem.Problem {
	p.State, p.Next = problem.Unprotected, problem.Stop
	if route.IsSafe(method) {
		p.Next = problem.Resend
	}
	return p
}

// passError says what went wrong in words that hold nothing of the traffic. The texts of net/http quote
// what it could not read, which is the backend's or the client's; those of the network name addresses.
func passError(err error) string {
	var op *net.OpError
	var unreached *upstream.Unreached
	var timeout net.Error
	switch {
	case errors.As(err, &op):
		return op.Error()
	case errors.As(err, &unreached):
		return unreached.Error() // of the handshake: what is wrong with a certificate, above all
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended before the answer"
	}
	return fmt.Sprintf("not an answer that can be passed on (%T)", err)
}
