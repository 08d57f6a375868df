package simulator

import (
	"fmt"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// effect is a line of the ledger.
type effect struct {
	at      time.Time
	attempt int
	by      string // which request, of which fingerprint
	body    string // what it answered
}

// backend executes what arrives, whoever still waits for it, and keeps a ledger that survives it. It is
// opaque: it executes every request that it gets. Only operations of a resend route are recognised.
type backend struct {
	w *world

	mu       sync.Mutex
	life     int
	cut      chan struct{} // closed when this life ends
	up       time.Time
	ledger   map[idempotency.OperationID][]effect
	underway map[idempotency.OperationID]int // requests on the wire or being executed
	serial   map[idempotency.OperationID]int
}

// dies ends all that it is about, and starts again after d. What has an effect has one.
func (b *backend) dies(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.life++
	close(b.cut)
	b.cut = make(chan struct{})
	b.up = time.Now().Add(d)
	b.w.trace.add("backend dies")
}

func (b *backend) connect() (life int, cut <-chan struct{}, up bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.life, b.cut, !b.up.After(time.Now())
}

func (b *backend) lives(life int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.life == life
}

func (b *backend) effects(id idempotency.OperationID) []effect {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]effect(nil), b.ledger[id]...)
}

func (b *backend) wire(id idempotency.OperationID, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.underway[id] += n
}

// quiet reports whether nothing of an operation is on the wire or being executed.
func (b *backend) quiet(id idempotency.OperationID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.underway[id] == 0
}

// take writes the effect into the ledger, unless the backend recognises the operation, and returns what
// it says.
func (b *backend) take(op *operation, attempt int, by string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if before := b.ledger[op.id]; op.resend && len(before) > 0 {
		return before[0].body
	}
	b.serial[op.id]++
	e := effect{time.Now(), attempt, by, fmt.Sprintf("%s|%s|%d|%d", op.name, by, attempt, b.serial[op.id])}
	b.ledger[op.id] = append(b.ledger[op.id], e)
	b.w.trace.add("backend effect %s", e.body)
	return e.body
}

// outcome is what a gateway learns of what it sent: exactly one of the three.
type outcome struct {
	answer  *idempotency.Response // whole
	refusal *idempotency.Response // an answer that says that nothing was executed
	notSent bool                  // with proof
	cause   idempotency.Cause     // of doubt
}

// course is what becomes of one request to the backend.
type course struct {
	fault   fault
	loses   bool          // it never arrives
	late    time.Duration // it arrives that much later
	before  bool          // the backend dies before the effect
	after   bool          // the backend dies after the effect
	thinks  time.Duration // before it answers
	refuses bool
	unknown bool // it answers 503; half of the time after an effect
	broken  bool // the answer is cut
	mute    bool // the answer is lost
}

func (b *backend) draw(s *stream) course {
	usual := course{thinks: s.between(100*time.Microsecond, 200*time.Millisecond)}
	if b.w.calm.Load() {
		return usual
	}
	with := func(f fault, change func(*course)) course {
		c := usual
		c.fault = f
		change(&c)
		return c
	}
	return pick(s, []weighted[course]{
		{50, usual},
		{4, with(sendingLost, func(c *course) { c.loses = true })},
		{6, with(sendingLate, func(c *course) { c.late = s.between(50*time.Millisecond, 60*time.Second) })},
		{3, with(diesBefore, func(c *course) { c.before = true })},
		{4, with(diesAfter, func(c *course) { c.after = true })},
		{8, with(answersLate, func(c *course) { c.thinks = s.between(time.Second, 30*time.Second) })},
		{4, with(answerCut, func(c *course) { c.broken = true })},
		{4, with(answerLost, func(c *course) { c.mute = true })},
		{5, with(saysNo, func(c *course) { c.refuses = true })},
		{4, with(saysUnknown, func(c *course) { c.unknown = true })},
	})
}

// send carries one request of one attempt to the backend, once, and what comes back to the gateway.
func (b *backend) send(g *gateway, op *operation, attempt int, by string, s *stream) outcome {
	there, back := s.between(100*time.Microsecond, 20*time.Millisecond), s.between(100*time.Microsecond, 20*time.Millisecond)
	life, cut, up := b.connect()
	if !up {
		time.Sleep(there)
		b.w.visits.add(notReached, dispatched, 1)
		return outcome{notSent: true}
	}
	c := b.draw(s)
	half := s.oneIn(2)
	down := s.between(100*time.Millisecond, 5*time.Second)
	if c.fault != "" {
		b.w.visits.add(c.fault, dispatched, 1)
	}
	b.w.trace.add("%s sends %s attempt %d: %s", g.name, op.name, attempt, c.fault)
	reply := make(chan outcome, 1)
	if !c.loses {
		b.wire(op.id, 1)
		b.w.others.Go(func() {
			defer b.wire(op.id, -1)
			time.Sleep(there + c.late)
			if !b.lives(life) {
				return
			}
			if c.before {
				b.dies(down)
				return
			}
			o, ok := b.execute(op, attempt, by, c, half, life)
			if c.after {
				b.dies(down)
				return
			}
			if ok {
				time.Sleep(back)
				if !c.mute {
					reply <- o
				}
			}
		})
	}
	timer := time.NewTimer(budget - s.between(0, 50*time.Millisecond))
	defer timer.Stop()
	var o outcome
	select {
	case o = <-reply:
	case <-timer.C:
		o = outcome{cause: "timeout"}
	case <-cut:
		time.Sleep(back)
		o = outcome{cause: "reset"}
	case <-g.died:
	}
	return o
}

// execute is false if the backend died before it had anything to say.
func (b *backend) execute(op *operation, attempt int, by string, c course, half bool, life int) (outcome, bool) {
	if c.refuses {
		return outcome{refusal: idempotency.NewResponse(429, nil, []byte("not now"))}, true
	}
	if c.unknown && half {
		return outcome{cause: "status"}, true
	}
	// Half of its time it thinks before the effect, half after.
	time.Sleep(c.thinks / 2)
	if !b.lives(life) {
		return outcome{}, false
	}
	body := b.take(op, attempt, by)
	if c.after {
		return outcome{}, false
	}
	time.Sleep(c.thinks / 2)
	if !b.lives(life) {
		return outcome{}, false
	}
	switch {
	case c.unknown:
		return outcome{cause: "status"}, true
	case c.broken:
		return outcome{cause: "cut"}, true
	}
	return outcome{answer: idempotency.NewResponse(201, map[string][]string{"Location": {op.name}}, []byte(body))}, true
}
