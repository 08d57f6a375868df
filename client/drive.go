package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// flight is an entry in the hands of a client.
type flight struct {
	key  string
	turn chan struct{} // held by whoever drives it

	mu      sync.Mutex
	entry   Entry
	live    http.Header // credentials that the request came with
	refusal *http.Response
	ending  *Result            // once it is settled
	abort   context.CancelFunc // of the call or pause that is under way
	handed  bool               // RoundTrip has returned the answer, and it is not closed yet
}

func newFlight(e Entry) *flight {
	if e.Header == nil {
		e.Header = http.Header{}
	}
	return &flight{key: e.Key, turn: make(chan struct{}, 1), entry: e}
}

func (f *flight) setLive(h http.Header) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.live = h
}

// Result is how an entry ended.
type Result struct {
	Entry    Entry
	Outcome  Outcome
	Response *http.Response // the backend's answer, or the gateway's refusal; nil if there is none
}

// ErrTooLarge says that an answer is larger than Options.MaxAnswer. The request was executed.
var ErrTooLarge = errors.New("the answer is larger than MaxAnswer")

// ErrNotProtected says that requests are answered with success by somebody who does not sign it, while the gateway
// says that it has not seen them: they go past it, or to a route with mode off. To send more of them could execute
// each.
var ErrNotProtected = errors.New("answers come without Idempotency-State, and the gateway has not seen the requests")

// drive does what an entry needs until it is settled. The error is an *UnsettledError, or of the outbox.
func (c *Client) drive(ctx context.Context, f *flight) (Result, error) {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return Result{}, c.unsettled(f, noAnswer, context.Cause(ctx))
	}
	return c.advance(ctx, f)
}

// advance is drive for whoever has the turn.
func (c *Client) advance(ctx context.Context, f *flight) (Result, error) {
	defer f.interrupt()
	f.mu.Lock()
	f.entry.Denied = false
	f.mu.Unlock()
	again, idle, strange := false, 0, 0
	for {
		if ctx.Err() != nil && f.snapshot().State != Settled {
			return Result{}, c.unsettled(f, noAnswer, context.Cause(ctx)) // nothing is written, and nothing sent
		}
		todo, working, err := c.begin(ctx, f)
		if err != nil {
			if f.snapshot().Sends == 0 { // nothing was sent, and nothing will be
				c.drop(f)
				_ = c.o.Outbox.Remove(f.key)
			}
			return Result{}, err
		}
		if todo == finish {
			return f.end(), nil
		}
		resp, a, err := c.call(working, f, todo, again)
		next, moved := c.learn(f, todo, a, resp)
		switch {
		case next.call == finish:
			continue
		case next.call == halt:
			return Result{}, c.unsettled(f, a, errors.Join(errors.New("to repeat the call cannot help"), err))
		case errors.Is(err, ErrTooLarge):
			return Result{}, c.unsettled(f, a, err)
		case ctx.Err() != nil:
			return Result{}, c.unsettled(f, a, errors.Join(context.Cause(ctx), err))
		case todo == ask && a.state == stateUnseen && strange > 1:
			return Result{}, c.unsettled(f, a, ErrNotProtected)
		}
		again = next.authorize
		switch {
		case todo == send && a.signed:
			idle, strange = 0, 0
		case todo == send && a.status/100 == 2:
			strange++
		}
		if moved || again { // there is something to do at once, which may fail as the last time
			c.pause(working, next.floor, 0)
			continue
		}
		idle++
		c.pause(working, next.floor, idle)
	}
}

// interrupt ends the call or the pause that is under way.
func (f *flight) interrupt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.abort != nil {
		f.abort()
	}
}

// end is the result of a settled entry, with a response of its own.
func (f *flight) end() Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ending == nil { // by a wish, or before the process began
		f.ending = &Result{Outcome: f.entry.Outcome}
	}
	r := *f.ending
	r.Entry = f.entry
	if r.Response != nil {
		own := *r.Response
		own.Body = own.Body.(content).again()
		r.Response = &own
	}
	return r
}

// begin is the entry's next call, after what has to be stored before it was. What is done in the working context
// ends when somebody wishes something.
func (c *Client) begin(ctx context.Context, f *flight) (todo call, working context.Context, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, todo := begin(f.entry.Standing)
	if err := c.move(f, s); err != nil {
		return "", nil, err
	}
	if f.abort != nil {
		f.abort()
	}
	working, f.abort = context.WithCancel(ctx)
	return todo, working, nil
}

// move takes an entry to another standing, which is stored first if it has to be. f.mu is held.
func (c *Client) move(f *flight, to Standing) error {
	e := f.entry
	if e.Standing = to; to.State == Acknowledging {
		e.Header, e.Body = nil, nil
	}
	if durable(f.entry.Standing, to) {
		if err := c.o.Outbox.Put(e); err != nil {
			return fmt.Errorf("client: outbox: %w", err)
		}
	}
	f.entry = e
	return nil
}

// learn takes in what came back, and reports whether it taught anything.
func (c *Client) learn(f *flight, todo call, a answer, resp *http.Response) (next step, moved bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.entry.Standing
	s, next := learn(before, todo, a)
	if s.Refused && !before.Refused {
		f.refusal = resp
	}
	if next.call == finish && f.ending == nil {
		f.ending = &Result{Outcome: s.Outcome}
		if next.deliver && before.Refused {
			f.ending.Response = f.refusal
		} else if next.deliver {
			f.ending.Response = resp
		}
		c.budget.refill()
	}
	f.entry.Standing = s // what is learnt can be learnt again, and is not stored: see durable
	return next, s != before
}

// wish makes a user's wish durable, and lets whoever drives the entry know.
func (c *Client) wish(f *flight, wish func(Standing) Standing) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := c.move(f, wish(f.entry.Standing)); err != nil {
		return err
	}
	if f.abort != nil {
		f.abort()
	}
	return nil
}

// hand remembers that somebody reads the answer.
func (f *flight) hand() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.handed = true
}

// isHanded reports whether there is nothing more to do for an entry than to wait until its answer is read.
func (f *flight) isHanded() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.handed && f.entry.State == Settled
}

// snapshot is the entry as it is now.
func (f *flight) snapshot() Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.entry
}

func (c *Client) unsettled(f *flight, a answer, err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &UnsettledError{Key: f.key, State: f.entry.State, Status: a.status, Code: a.code, Err: err}
}

// pause waits as long as it has to before the next call.
func (c *Client) pause(ctx context.Context, floor time.Duration, idle int) {
	wait := floor
	if idle > 0 {
		wait = max(floor, jitter(c.o.Backoff, idle, c.random())) + c.budget.take(c.now())
	}
	if wait <= 0 {
		return
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
