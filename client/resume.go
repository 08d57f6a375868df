package client

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// mostKeys is how many keys one query may name.
const mostKeys = 100

// Resume settles what is in the outbox, except what somebody else is settling or reading at this moment, and gives
// each result to each, one at a time. An entry is forgotten when each returns nil; its error leaves it in the outbox and is
// returned. each may be nil.
//
// What is in doubt is asked for first, with one call for a hundred entries: state first, then decide. The error is
// nil if everything is settled. It wraps an *UnsettledError for each entry that is not, and ErrDamaged for what
// could not be read from the outbox.
func (c *Client) Resume(ctx context.Context, each func(Result) error) error {
	mine := c.idle()
	halted := c.askFirst(ctx, mine)
	var mu sync.Mutex // of errs, and each
	errs := []error{c.damaged}
	var work sync.WaitGroup
	slots := make(chan struct{}, c.o.Parallel)
	for _, f := range mine {
		if err := halted[f]; err != nil {
			<-f.turn
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
			continue
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			erasing := f.snapshot().State == Acknowledging
			result, err := c.advance(ctx, f)
			<-f.turn // each may acknowledge
			mu.Lock()
			defer mu.Unlock()
			if err == nil && each != nil && !erasing {
				err = each(result)
			}
			if err == nil {
				err = c.forget(f)
			}
			errs = append(errs, err)
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

// idle takes the turn of every entry that nobody works on, the oldest first.
func (c *Client) idle() (mine []*flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.flights {
		if f.isHanded() {
			continue
		}
		select {
		case f.turn <- struct{}{}:
			mine = append(mine, f)
		default:
		}
	}
	slices.SortFunc(mine, func(a, b *flight) int { return a.snapshot().Created.Compare(b.snapshot().Created) })
	return mine
}

// askFirst asks for the entries in doubt, a hundred of one gateway at a time, until it gets answers. It returns why
// those that cannot go on cannot.
func (c *Client) askFirst(ctx context.Context, mine []*flight) (halted map[*flight]error) {
	halted = map[*flight]error{}
	gateways := map[string][]*flight{}
	for _, f := range mine {
		if e := f.snapshot(); e.State == Doubt {
			gateways[origin(e)] = append(gateways[origin(e)], f)
		}
	}
	for _, of := range gateways {
		for some := range slices.Chunk(of, mostKeys) {
			if err := c.askFor(ctx, some); err != nil {
				for _, f := range some {
					halted[f] = c.unsettled(f, noAnswer, err)
				}
			}
		}
	}
	return halted
}

// askFor asks for some entries at once, until there is an answer of the gateway, or none will help.
func (c *Client) askFor(ctx context.Context, some []*flight) error {
	again := false
	for idle := 1; ; idle++ {
		answers, err := c.query(ctx, some, again)
		signed, refused, floor := false, false, noAnswer.floor
		again = false
		for _, f := range some {
			a := answers[f.key]
			next, _ := c.learn(f, ask, a, nil)
			signed, floor = signed || a.signed && a.state != stateRejected, max(floor, next.floor)
			refused, again = refused || next.call == halt, again || next.authorize
		}
		switch {
		case refused:
			return errors.Join(errors.New("to repeat the call cannot help"), err)
		case signed && !again:
			return nil
		}
		if !again {
			c.pause(ctx, floor, idle)
		}
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}
