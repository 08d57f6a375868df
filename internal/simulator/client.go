package simulator

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// operation is one key of one caller.
type operation struct {
	idempotency.Operation
	id     idempotency.OperationID
	name   string
	resend bool // its backend recognises the key
}

// retention is long enough that no key ends within a run, and short enough that bodies do.
func (op *operation) retention() idempotency.Retention {
	if strings.HasSuffix(string(op.Key), "1") {
		return idempotency.Retention{Response: 45 * time.Second, Key: 24 * time.Hour}
	}
	return idempotency.Retention{Response: time.Hour, Key: 24 * time.Hour}
}

// exchange is one request of a client, however many copies of it arrive.
type exchange struct {
	w     *world
	name  string
	op    *operation
	call  call
	print byte // which request: one key may be used for another one
	reply chan reply
	once  sync.Once
	left  chan struct{} // closed when the client no longer waits
}

// by says whose request it is, as the backend's answer repeats it.
func (ex *exchange) by() string { return fmt.Sprintf("request %d", ex.print) }

func (ex *exchange) leave() (first bool) {
	ex.once.Do(func() { close(ex.left); first = true })
	return first
}

// answer sends a reply to the client; the network may lose it.
func (ex *exchange) answer(r reply, d *stream) {
	if !ex.w.calm.Load() && d.oneIn(20) {
		return
	}
	time.Sleep(d.between(100*time.Microsecond, 30*time.Millisecond))
	select {
	case ex.reply <- r:
	default: // a copy was answered before
	}
}

// client lets operations happen, and finds out what became of them.
type client struct {
	w     *world
	name  string
	s     *stream
	ops   []*operation
	print byte
	asked int
}

// asks sends one request, and waits for the answer as long as it likes. It is false without one.
func (c *client) asks(op *operation, what call) (reply, bool) {
	c.asked++
	ex := &exchange{
		w: c.w, name: fmt.Sprintf("%s#%d %s %s", c.name, c.asked, callNames[what], op.name), op: op, call: what, print: c.print,
		reply: make(chan reply, 1), left: make(chan struct{}),
	}
	copies := 1
	calm := c.w.calm.Load()
	if !calm && c.s.oneIn(12) {
		copies = 2
	}
	for n := range copies {
		d := c.w.dice.of(ex.name, uint64(n))
		delay := d.between(100*time.Microsecond, 30*time.Millisecond)
		stray := n > 0
		if !calm {
			if d.oneIn(25) {
				continue // lost
			}
			if d.oneIn(15) {
				delay, stray = d.between(100*time.Millisecond, 60*time.Second), true
			}
		}
		to := c.w.slots[d.n(len(c.w.slots))]
		c.w.others.Go(func() {
			time.Sleep(delay)
			if stray {
				c.w.strayed(op)
			}
			to.arrive(ex, d)
		})
	}
	timer := time.NewTimer(c.s.between(time.Second, 25*time.Second))
	defer timer.Stop()
	select {
	case r := <-ex.reply:
		c.w.trace.add("%s gets %+v", ex.name, r)
		return r, true
	case <-timer.C:
	case <-ex.left:
	}
	time.Sleep(c.s.between(time.Microsecond, time.Millisecond))
	return reply{}, false
}

// run goes about some intents, and sometimes about one that is long over.
func (c *client) run(intents int) {
	for range intents {
		time.Sleep(c.s.between(time.Millisecond, 4*time.Second))
		c.insist(c.ops[c.s.n(len(c.ops))], 2+c.s.n(5))
	}
}

// insist tries until the operation is settled, at most some times. It reports whether it is.
func (c *client) insist(op *operation, tries int) bool {
	what := protected
	for range tries {
		r, ok := c.asks(op, what)
		what = protected
		switch {
		case !ok:
			switch c.s.n(8) {
			case 0, 1, 2:
				what = reconcile
			case 3:
				what = cancel // it has given up
			}
		case r.mismatch:
			return true
		case r.refused:
		case r.state == idempotency.Unseen, r.state == idempotency.NotExecuted:
			if !c.w.calm.Load() && c.s.oneIn(6) {
				what = cancel
			}
		case r.state == idempotency.Executing:
			what = reconcile
		case r.state == idempotency.Unknown:
			if c.s.oneIn(2) {
				what = reconcile
			}
		case r.state == idempotency.Completed:
			if !c.w.calm.Load() && c.s.oneIn(5) {
				c.asks(op, acknowledge)
			}
			return true
		case r.state == idempotency.Cancelled, r.state == idempotency.Forgotten:
			return true
		}
		time.Sleep(c.s.between(10*time.Millisecond, 3*time.Second))
	}
	return false
}
