package upstream

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// Request is one protected request, ready to go.
type Request struct {
	Method string
	// Target is the request target in origin form, path and query, byte for byte as it goes out.
	Target string
	Host   string
	// Fields are the end-to-end fields, one for each line, in the order in which they go out. Nothing is added to
	// them on the wire but the length of Body.
	Fields []Field
	// Body may still be read for a moment after Send has returned, when a backend over HTTP/2 answered
	// before it had taken all of it; it must never be changed.
	Body []byte
	// MaxBody is the greatest length of a response content that is kept in memory, MaxSpill the
	// greatest that is accepted at all; in bytes.
	MaxBody, MaxSpill int64
	// Memory is what contents in memory are taken from. Nil is unlimited.
	Memory Memory
	// Deadline ends the attempt; without one, only its context does. A connection's own deadline costs less than a
	// context's timer.
	Deadline time.Time
	// Ready is called immediately before the first byte may be written, once per connection tried. An
	// error means that nothing is sent. Nil is always ready.
	Ready func() error
}

// Field is a field line: its name, as in an http.Header, and its value. A list of them takes one piece of memory
// where an http.Header takes one for each name.
type Field struct{ Name, Value string }

// parcel is what net/http needs besides the http.Request itself, and what it leaves behind.
type parcel struct {
	url   url.URL
	body  body
	trace httptrace.ClientTrace
	begun atomic.Bool // net/http has come to the request's head: there may be a stream
}

func (p *parcel) begin(string, []string) { p.begun.Store(true) }

// prepare builds the request for an HTTP/2 connection to target t. It can be sent once only: its body has
// no second reader, and there is no GetBody.
func (t *target) prepare(ctx context.Context, r *Request) (*http.Request, *parcel, error) {
	p := new(parcel)
	p.url.Scheme, p.url.Host = t.scheme, t.authority
	if strings.HasPrefix(r.Target, "//") {
		// As an opaque part this would become an absolute URL (url.URL.RequestURI).
		path, query, found := strings.Cut(r.Target, "?")
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return nil, nil, errTarget
		}
		p.url.Path, p.url.RawPath, p.url.RawQuery, p.url.ForceQuery = decoded, path, query, found
		if p.url.RequestURI() != r.Target {
			return nil, nil, errTarget
		}
	} else if p.url.Opaque = r.Target; !strings.HasPrefix(r.Target, "/") && r.Target != "*" {
		return nil, nil, errTarget
	}

	p.trace.WroteHeaderField = p.begin
	q := blank.WithContext(httptrace.WithClientTrace(ctx, &p.trace))
	q.Method, q.URL, q.Host, q.Header = r.Method, &p.url, r.Host, make(http.Header, len(r.Fields)+1)
	for _, f := range r.Fields {
		q.Header[f.Name] = append(q.Header[f.Name], f.Value)
	}
	if _, ok := q.Header["User-Agent"]; !ok {
		q.Header["User-Agent"] = nil // keeps net/http from adding its own
	}
	delete(q.Header, "Expect")
	p.body.rest = r.Body
	if len(r.Body) > 0 {
		q.Body, q.ContentLength = &p.body, int64(len(r.Body))
	} else {
		p.body.drained.Store(true)
	}
	return q, p, nil
}

var blank = &http.Request{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}

// body is a request's content that remembers whether all of it was taken.
type body struct {
	rest    []byte
	drained atomic.Bool
}

func (b *body) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	if b.rest = b.rest[n:]; len(b.rest) == 0 {
		b.drained.Store(true)
	}
	return n, nil
}

func (b *body) Close() error { return nil }
