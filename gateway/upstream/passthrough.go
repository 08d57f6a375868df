package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
)

// RoundTripper returns the transport for traffic that needs no protection: pooled, with keep-alive,
// HTTP/2 where the target offers it, upgrades over HTTP/1.1, nothing from the environment, nothing
// decompressed. It chooses a live target for each request and ignores the request URL's scheme and
// host. It may send a request again under net/http's rules, so no protected request may use it.
//
// Close of a request's body must end a Read of it that waits, and is called only for that: when the exchange with
// the backend has failed meanwhile.
func (u *Upstream) RoundTripper() http.RoundTripper { return passThrough{u} }

// Target returns scheme (http or https) and authority of the target whose turn it is.
func (u *Upstream) Target() *url.URL {
	t := u.choose()
	return &url.URL{Scheme: t.scheme, Host: t.authority}
}

type passThrough struct{ u *Upstream }

// Unreached is the error of a request that was passed through and never had a connection: the backend has nothing of it.
type Unreached struct{ Err error }

func (e *Unreached) Error() string { return "no connection: " + e.Err.Error() }
func (e *Unreached) Unwrap() error { return e.Err }

func (p passThrough) RoundTrip(r *http.Request) (*http.Response, error) {
	t := p.u.choose()
	if t.tls == nil {
		resp, err := t.roundTrip(r)
		if isDial(err) {
			err = &Unreached{err}
		}
		return resp, err
	}
	// How a handshake fails looks like how a connection fails under a request. That there was no connection is what tells.
	var got connected
	got.trace.GotConn = got.note
	resp, err := t.roundTrip(r.WithContext(httptrace.WithClientTrace(r.Context(), &got.trace)))
	switch on := got.last.Load(); {
	case err == nil && on != nil && endsWithConnection(resp):
		resp.Body = &unframed{resp.Body, on}
	case err != nil && !got.any.Load():
		if r.Context().Err() == nil && !isDial(err) {
			t.health.failed(t.up.now())
		}
		err = &Unreached{err}
	}
	return resp, err
}

// connected knows whether a request had a connection, and which one, the last if there were several. net/http says so
// before it writes anything of it.
type connected struct {
	trace httptrace.ClientTrace
	any   atomic.Bool
	last  atomic.Pointer[watched]
}

func (c *connected) note(got httptrace.GotConnInfo) {
	c.any.Store(true)
	c.last.Store(below(got.Conn))
}

// endsWithConnection reports whether nothing but the connection's end says where the content ends (RFC 9112, section 6.3,
// rule 8). An answer to a HEAD has no content, and its connection may go on, or end in any way.
func endsWithConnection(resp *http.Response) bool {
	return resp.ProtoMajor == 1 && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && resp.Body != http.NoBody &&
		resp.StatusCode != http.StatusSwitchingProtocols
}

// unframed is content over TLS that ends with its connection. It is whole only if TLS says so, by a close_notify (RFC 9112,
// section 9.8): the end of TCP is nobody's word, and crypto/tls does not tell the two apart.
type unframed struct {
	io.ReadCloser
	on *watched
}

func (u *unframed) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err == io.EOF && u.on.ended.Load() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func isDial(err error) bool {
	var n *net.OpError
	return errors.As(err, &n) && n.Op == "dial"
}

func (t *target) roundTrip(r *http.Request) (*http.Response, error) {
	at := *r.URL
	at.Scheme, at.Host = t.scheme, t.authority
	ctx := r.Context()
	if t.h2c || t.tls != nil { // others may share the connection
		var i *interim
		i, ctx = newInterim(ctx)
		defer i.finish()
	}
	if r.Body == nil {
		r = r.WithContext(ctx)
		r.URL = &at
		return t.pass.RoundTrip(r)
	}
	s := &sending{ReadCloser: r.Body}
	s.trace.GotConn = s.over
	r = r.WithContext(httptrace.WithClientTrace(ctx, &s.trace))
	r.URL, r.Body = &at, s
	defer s.settle()
	return t.pass.RoundTrip(r)
}

func (u *Upstream) choose() (chosen *target) {
	u.inOrder(func(t *target) bool {
		chosen = t
		return true
	})
	return chosen
}

func (t *target) newPassTransport(o Options) *http.Transport {
	var p http.Protocols
	p.SetHTTP1(!t.h2c)
	p.SetHTTP2(!t.h2c)
	p.SetUnencryptedHTTP2(t.h2c)
	return &http.Transport{
		Protocols:             &p,
		Proxy:                 nil,
		DisableCompression:    true,
		TLSClientConfig:       t.tls.Clone(), // net/http changes it
		TLSHandshakeTimeout:   o.ConnectTimeout,
		ResponseHeaderTimeout: o.Timeout,
		IdleConnTimeout:       o.IdleTimeout,
		MaxIdleConns:          0,
		MaxIdleConnsPerHost:   o.MaxInFlight,
		HTTP2:                 t.up.h2.HTTP2,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			bounded, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
			defer cancel()
			c, err := t.dialer.DialContext(bounded, network, address)
			switch {
			case err == nil:
				t.health.succeeded()
				return &watched{TCPConn: c.(*net.TCPConn)}, nil
			case ctx.Err() == nil:
				t.health.failed(t.up.now())
			}
			return c, err
		},
	}
}
