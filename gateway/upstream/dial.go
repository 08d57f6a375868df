package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// dialCall is a connection in the making that several requests wait for.
type dialCall struct {
	done   chan struct{}
	failed *evidence // set before done is closed; nil if there is a connection
}

// connect returns a connection for one request: a kept one unless fresh is asked for, else a new one.
// Otherwise it returns the evidence that there is none.
func (t *target) connect(ctx context.Context, deadline time.Time, fresh bool) (conn, *evidence) {
	if !fresh {
		if c, ok := t.take(); ok {
			return c, nil
		}
	}
	ctx, cancel := within(ctx, deadline)
	defer cancel()
	for {
		call, leader := t.lead()
		if call == nil {
			return t.dial(ctx)
		}
		if leader {
			c, kept := conn{}, false
			if !fresh {
				c, kept = t.take() // another leader's may have come since
			}
			var failed *evidence
			if !kept {
				c, failed = t.dial(ctx)
			}
			t.mu.Lock()
			t.dialing = nil
			t.mu.Unlock()
			call.failed = failed
			close(call.done)
			return c, failed
		}
		select {
		case <-call.done:
			// What ended because its own request ended says nothing about this one.
			if f := call.failed; f != nil && f.ended == nil {
				return conn{}, &evidence{step: f.step, err: f.err}
			}
		case <-ctx.Done():
			return conn{}, &evidence{step: stepDial, err: context.Cause(ctx), ended: ctx.Err()}
		}
		if !fresh {
			if c, ok := t.take(); ok {
				return c, nil
			}
		}
	}
}

// lead returns the call that this request leads, or waits for; nil if it dials for itself alone.
func (t *target) lead() (call *dialCall, leader bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.single {
		return nil, false
	}
	if t.dialing != nil {
		return t.dialing, false
	}
	t.dialing = &dialCall{done: make(chan struct{})}
	return t.dialing, true
}

func (t *target) dial(ctx context.Context) (conn, *evidence) {
	began := t.up.now()
	bounded, cancel := context.WithTimeout(ctx, t.up.o.ConnectTimeout)
	defer cancel()
	c, failed := t.open(bounded)
	var cause idempotency.Cause
	var err error
	switch {
	case failed == nil:
		t.health.succeeded()
	case ctx.Err() != nil:
		failed.ended = ctx.Err()
		cause, err = classify(*failed).(NotSent).Cause, failed.err
	default:
		t.health.failed(t.up.now())
		cause, err = classify(*failed).(NotSent).Cause, failed.err
	}
	if errors.Is(err, errNoHTTP2) {
		err = errNoHTTP2 // what net/http says beside it may quote the server
	}
	t.up.o.Observer.Dialed(t.up.o.Name, t.address, t.up.now().Sub(began), cause, err)
	return c, failed
}

var errNoHTTP2 = errors.New("a connection that HTTP/2 could not begin on, or that admits no stream")

// open makes a connection and reserves it.
func (t *target) open(ctx context.Context) (conn, *evidence) {
	tcp, err := t.dialer.DialContext(ctx, "tcp", t.address)
	if err != nil {
		return conn{}, &evidence{step: stepDial, err: err}
	}
	sock := newSocket(tcp)
	var top net.Conn = sock
	http2 := t.h2c
	if t.tls != nil {
		secured := tls.Client(sock, t.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			sock.seal()
			return conn{}, &evidence{step: stepTLS, err: err}
		}
		http2 = secured.ConnectionState().NegotiatedProtocol == "h2"
		top = secured
	}
	t.mu.Lock()
	t.single = !http2
	t.mu.Unlock()

	if !http2 {
		return conn{link: newLink(top, sock)}, nil
	}
	p := newPrefaced(top, sock)
	client, err := t.up.h2.NewClientConn(context.WithValue(ctx, dialedKey{}, p), "http", t.address)
	if err != nil {
		sock.seal()
		return conn{}, &evidence{step: stepDial, err: errors.Join(errNoHTTP2, err)}
	}
	if err = p.wait(ctx); err == nil {
		err = client.Reserve()
	}
	if err != nil {
		client.Close()
		sock.seal()
		return conn{}, &evidence{step: stepDial, err: errors.Join(errNoHTTP2, err)}
	}
	t.share(client)
	return conn{client: client}, nil
}
