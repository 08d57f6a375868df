package upstream

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// target is one backend address and the connections kept to it.
type target struct {
	up        *Upstream
	dialer    *net.Dialer
	scheme    string // http or https
	authority string
	address   string      // host:port
	tls       *tls.Config // nil for cleartext
	h2c       bool
	health    health
	pass      *http.Transport // unprotected traffic

	mu      sync.Mutex
	idle    []*link // HTTP/1.1; the last one is the most recent
	shared  []*http.ClientConn
	single  bool      // connections carry one request at a time: there is no point in waiting for another's dial
	dialing *dialCall // while a connection is made that others may share
	reaper  *time.Timer
	closed  bool
}

func newTarget(u *Upstream, at *url.URL, dialer *net.Dialer) *target {
	t := &target{up: u, dialer: dialer, scheme: "http", authority: at.Host, h2c: at.Scheme == "h2c"}
	port := "80"
	if at.Scheme == "https" {
		t.scheme, port = "https", "443"
		t.tls = clientTLS(u.o.TLS, at.Hostname())
	}
	if at.Port() != "" {
		port = at.Port()
	}
	t.address = net.JoinHostPort(at.Hostname(), port)
	t.single = at.Scheme == "http"
	t.pass = t.newPassTransport(u.o)
	return t
}

func clientTLS(c *tls.Config, host string) *tls.Config {
	if c == nil {
		c = &tls.Config{}
	}
	c = c.Clone()
	if c.ServerName == "" {
		c.ServerName = host
	}
	if c.NextProtos == nil {
		c.NextProtos = []string{"h2", "http/1.1"}
	}
	return c
}

// conn is a connection that has been reserved for one request.
type conn struct {
	link   *link            // HTTP/1.1
	client *http.ClientConn // HTTP/2, where other requests share the connection
	reused bool
}

// take returns a kept connection that is fit for another request.
func (t *target) take() (conn, bool) {
	for {
		t.mu.Lock()
		for i := 0; i < len(t.shared); {
			c := t.shared[i]
			if c.Reserve() == nil {
				t.mu.Unlock()
				return conn{client: c, reused: true}, true
			}
			if c.Err() != nil {
				t.shared = slices.Delete(t.shared, i, i+1)
				continue
			}
			i++
		}
		n := len(t.idle)
		if n == 0 {
			t.mu.Unlock()
			return conn{}, false
		}
		l := t.idle[n-1]
		t.idle[n-1] = nil
		t.idle = t.idle[:n-1]
		t.mu.Unlock()
		if t.up.now().Sub(l.idleSince) < t.up.o.IdleTimeout {
			return conn{link: l, reused: true}, true
		}
		l.seal()
	}
}

// keep takes a link back, unless the target is closed.
func (t *target) keep(l *link) bool {
	l.idleSince = t.up.now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.idle = append(t.idle, l)
	if t.reaper == nil {
		t.reaper = time.AfterFunc(t.up.o.IdleTimeout, t.reap)
	}
	return true
}

// giveBack takes back a link on which nothing was sent.
func (t *target) giveBack(l *link) {
	if !l.sock.fit() || !t.keep(l) {
		l.seal()
	}
}

// reap closes what has been idle for too long.
func (t *target) reap() {
	deadline := t.up.now().Add(-t.up.o.IdleTimeout)
	t.mu.Lock()
	n := 0
	for n < len(t.idle) && !t.idle[n].idleSince.After(deadline) {
		n++
	}
	old := slices.Clone(t.idle[:n])
	t.idle = slices.Delete(t.idle, 0, n)
	t.reaper = nil
	if len(t.idle) > 0 && !t.closed {
		t.reaper = time.AfterFunc(t.idle[0].idleSince.Sub(deadline), t.reap)
	}
	t.mu.Unlock()
	for _, l := range old {
		l.seal()
	}
}

// share keeps an HTTP/2 connection.
func (t *target) share(c *http.ClientConn) {
	t.mu.Lock()
	if !t.closed {
		t.shared = append(t.shared, c)
		t.mu.Unlock()
		return
	}
	t.mu.Unlock()
	closeWhenIdle(c)
}

// retire gives an HTTP/2 connection no further requests. It closes itself when it is idle.
func (t *target) retire(c *http.ClientConn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.shared, c); i >= 0 {
		t.shared = slices.Delete(t.shared, i, i+1)
	}
}

func (t *target) close() {
	t.mu.Lock()
	t.closed = true
	idle, shared := t.idle, t.shared
	t.idle, t.shared = nil, nil
	if t.reaper != nil {
		t.reaper.Stop()
	}
	t.mu.Unlock()
	for _, l := range idle {
		l.seal()
	}
	for _, c := range shared {
		closeWhenIdle(c)
	}
	t.pass.CloseIdleConnections()
}

// closeWhenIdle closes an HTTP/2 connection once it carries no request.
func closeWhenIdle(c *http.ClientConn) {
	c.SetStateHook(func(c *http.ClientConn) {
		if c.InFlight() == 0 {
			c.Close()
		}
	})
	if c.InFlight() == 0 {
		c.Close()
	}
}
