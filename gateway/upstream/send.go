package upstream

import (
	"context"
	"errors"
)

var errNoTarget = errors.New("the upstream has no targets")

// Send sends a request once. It returns when the outcome is known, at the latest a moment after ctx
// ends: ctx belongs to this attempt alone, carries its deadline, and is to be cancelled afterwards.
//
// Only what is proven to have written nothing is tried elsewhere: a request whose kept-alive
// connection turned out to be dead moves to a fresh one, and one that could not be connected to a
// target goes to the other targets, once each.
func (u *Upstream) Send(ctx context.Context, r *Request) Outcome {
	var out Outcome = NotSent{Cause: CauseDialFailed, Err: errNoTarget}
	u.inOrder(func(t *target) bool {
		out = t.send(ctx, r)
		return !unreachable(out) || ctx.Err() != nil
	})
	return out
}

func unreachable(o Outcome) bool {
	n, ok := o.(NotSent)
	return ok && (n.Cause == CauseDialFailed || n.Cause == CauseDialTimeout || n.Cause == CauseTLSFailed)
}

func (t *target) send(ctx context.Context, r *Request) Outcome {
	c, failed := t.connect(ctx, false)
	if failed != nil {
		return classify(*failed)
	}
	out := t.exchange(ctx, c, r)
	if n, ok := out.(NotSent); !ok || n.Cause != CauseZeroBytes || !c.reused || ctx.Err() != nil {
		return out
	}
	t.up.o.Observer.Moved(t.up.o.Name, t.address)
	if c, failed = t.connect(ctx, true); failed != nil {
		return classify(*failed)
	}
	return t.exchange(ctx, c, r)
}

// exchange writes the request to c and reads the response.
func (t *target) exchange(ctx context.Context, c conn, r *Request) Outcome {
	req, content, err := t.prepare(ctx, r)
	if err != nil {
		c.client.Release()
		t.giveBack(c)
		return classify(evidence{step: stepBuild, err: err})
	}
	if c.link != nil {
		c.link.sock.arm()
	}
	if r.Ready != nil {
		if err := r.Ready(); err != nil {
			c.client.Release()
			t.giveBack(c)
			return classify(evidence{step: stepReady, err: err})
		}
	}

	if c.link != nil {
		c.link.withBody.Store(len(r.Body) > 0)
	}
	resp, err := c.client.RoundTrip(req)
	if err != nil {
		return t.failed(ctx, c, content, evidence{step: stepExchange, err: err})
	}
	a, cause, err := receive(resp, r, t.up.o.SpillDir)
	if cause != "" || err != nil {
		out := t.failed(ctx, c, content, evidence{step: stepRead, cause: cause, err: err})
		resp.Body.Close()
		return out
	}
	if c.link != nil && content.drained.Load() {
		c.link.sock.release()
	} else if c.link != nil {
		c.link.seal()
	}
	return a
}

// giveBack returns a connection on which nothing was sent.
func (t *target) giveBack(c conn) {
	if c.link != nil {
		c.link.sock.release()
	}
}

// failed ends what is left of the exchange, and only then looks at the evidence.
func (t *target) failed(ctx context.Context, c conn, content *body, e evidence) Outcome {
	e.ended = ctx.Err()
	e.wrote = true
	if c.link != nil {
		e.exclusive = true
		e.wrote = c.link.seal()
		e.sealed = true
	}
	e.drained = content.drained.Load()
	out := classify(e)
	if u, ok := out.(Unknown); ok && c.link == nil && u.Timeout {
		t.retire(c.client) // whether the stream or the connection is stuck cannot be seen from here
	}
	return out
}
