package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Options describe one upstream. The zero value of a field is its default.
type Options struct {
	Name string
	// Targets are http, https or h2c URLs of which scheme and authority count; h2c is HTTP/2 over TCP
	// with prior knowledge (RFC 9113, section 3.3). At least one.
	Targets []*url.URL
	// Timeout is the whole attempt's. The caller applies it to Send's context; here it only bounds how
	// long a peer may leave bytes unacknowledged, and how long passed-through requests wait for a
	// response head. 30s.
	Timeout        time.Duration
	ConnectTimeout time.Duration // resolving, dialling, TLS handshake and, on HTTP/2, the server's SETTINGS together, per target. 5s
	IdleTimeout    time.Duration // must be shorter than the backend's. 30s
	MaxInFlight    int           // slots that Acquire gives. 512
	TLS            *tls.Config   // for https targets; nil trusts the system's roots
	SpillDir       string        // for long responses; the system's temporary directory
	Observer       Observer      // may be nil
}

// Observer is told what Outcomes do not show. Its methods must not block.
type Observer interface {
	// Dialed reports one attempt to connect to a target, for example "10.0.0.1:9000". If it succeeded, the cause is
	// empty and err is nil; otherwise err says why, in words that hold nothing of the traffic. What passes through unprotected is not reported: there each request says so itself.
	Dialed(upstream, target string, took time.Duration, cause idempotency.Cause, err error)
	// Moved reports that a kept-alive connection died before a byte of a request was written to it, or that
	// something of TLS crossed the request, so that it moved to a fresh one.
	Moved(upstream, target string)
}

// Upstream is a set of interchangeable targets. It is safe for concurrent use.
type Upstream struct {
	o        Options
	targets  []*target
	next     atomic.Uint32 // round robin
	inFlight atomic.Int64
	release  func() // made once, so that Acquire allocates nothing
	h2       *http.Transport
	now      func() time.Time
}

// New returns an upstream. It connects to nothing yet.
func New(o Options) *Upstream {
	o.Timeout = orDefault(o.Timeout, 30*time.Second)
	o.ConnectTimeout = orDefault(o.ConnectTimeout, 5*time.Second)
	o.IdleTimeout = orDefault(o.IdleTimeout, 30*time.Second)
	if o.MaxInFlight <= 0 {
		o.MaxInFlight = 512
	}
	if o.Observer == nil {
		o.Observer = unobserved{}
	}
	u := &Upstream{o: o, now: time.Now}
	u.release = func() { u.inFlight.Add(-1) }
	u.h2 = newTransport(o)
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         limitUnacknowledged(o.Timeout),
	}
	for _, at := range o.Targets {
		u.targets = append(u.targets, newTarget(u, at, dialer))
	}
	return u
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// Name returns Options.Name.
func (u *Upstream) Name() string { return u.o.Name }

// Acquire takes a slot without waiting. If ok, release must be called exactly once; otherwise it is nil.
func (u *Upstream) Acquire() (release func(), ok bool) {
	if u.inFlight.Add(1) > int64(u.o.MaxInFlight) {
		u.inFlight.Add(-1)
		return nil, false
	}
	return u.release, true
}

// InFlight returns the number of slots taken.
func (u *Upstream) InFlight() int { return int(u.inFlight.Load()) }

// Close closes idle connections, and each other one when its request is done. It waits for nothing.
func (u *Upstream) Close() {
	for _, t := range u.targets {
		t.close()
	}
}

// inOrder calls try with each target at most once until it returns true: first the live ones, then the
// others, because a refused connection is a proof and no attempt at all is none.
func (u *Upstream) inOrder(try func(*target) (done bool)) {
	n := uint32(len(u.targets))
	if n == 1 {
		try(u.targets[0])
		return
	}
	first, now := u.next.Add(1), u.now()
	var skipped uint64
	for i := range n {
		at := (first + i) % n
		if t := u.targets[at]; at < 64 && !t.health.alive(now) {
			skipped |= 1 << at
		} else if try(t) {
			return
		}
	}
	for i := range n {
		at := (first + i) % n
		if at < 64 && skipped&(1<<at) != 0 && try(u.targets[at]) {
			return
		}
	}
}

type dialedKey struct{}

// newTransport returns a transport that is used for its client connections only. They are dialled, and
// secured, by this package, and look unencrypted to net/http.
func newTransport(o Options) *http.Transport {
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols:              &p,
		Proxy:                  nil,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 1 << 20,
		IdleConnTimeout:        o.IdleTimeout,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second, WriteByteTimeout: 10 * time.Second},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return ctx.Value(dialedKey{}).(net.Conn), nil
		},
	}
}

type unobserved struct{}

func (unobserved) Dialed(string, string, time.Duration, idempotency.Cause, error) {}
func (unobserved) Moved(string, string)                                           {}
