package upstream

import (
	"context"
	"errors"
	"time"
)

var errNoTarget = errors.New("the upstream has no targets")

// Send sends a request once. It returns when the outcome is known, at the latest a moment after its deadline,
// or after ctx ends.
//
// Only what is proven to have written nothing is tried elsewhere: a request whose kept-alive
// connection turned out to be dead, or that something of TLS has crossed, moves to a fresh one, and one
// that could not be connected to a target goes to the other targets, once each.
func (u *Upstream) Send(ctx context.Context, r *Request) Outcome {
	if len(u.targets) == 1 {
		return u.targets[0].send(ctx, r)
	}
	var out Outcome = NotSent{Cause: CauseDialFailed, Err: errNoTarget}
	u.inOrder(func(t *target) bool {
		out = t.send(ctx, r)
		return !unreachable(out) || r.ended(ctx) != nil
	})
	return out
}

// ended returns why there is no time for the attempt any more, or nil.
func (r *Request) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !r.Deadline.IsZero() && !time.Now().Before(r.Deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// within returns ctx with a deadline, if there is one.
func within(ctx context.Context, deadline time.Time) (context.Context, context.CancelFunc) {
	if deadline.IsZero() {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline)
}

func unreachable(o Outcome) bool {
	n, ok := o.(NotSent)
	return ok && (n.Cause == CauseDialFailed || n.Cause == CauseDialTimeout || n.Cause == CauseTLSFailed)
}

// mostCrossed is how many connections in a row may be given up because something of TLS crossed the request. It is rare
// for one: no more than that part of them in which it comes within some ten microseconds.
const mostCrossed = 3

func (t *target) send(ctx context.Context, r *Request) Outcome {
	c, failed := t.connect(ctx, r.Deadline, false)
	for crossed := 0; failed == nil; {
		out := t.exchange(ctx, c, r)
		n, ok := out.(NotSent)
		if !ok || n.Cause != CauseZeroBytes || r.ended(ctx) != nil {
			return out
		}
		if !c.reused {
			if crossed++; crossed > mostCrossed || !errors.Is(n.Err, errCrossed) {
				return out
			}
		}
		t.up.o.Observer.Moved(t.up.o.Name, t.address)
		c, failed = t.connect(ctx, r.Deadline, true)
	}
	return classify(*failed)
}

// exchange writes the request to c and reads the response.
func (t *target) exchange(ctx context.Context, c conn, r *Request) Outcome {
	if c.link != nil {
		return c.link.exchange(ctx, t, r)
	}
	return t.stream(ctx, c.client, r)
}
