package limit

import (
	"context"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Options are the limits of each caller; 0 is off.
type Options struct {
	PerSecond int // attempts that begin
	Burst     int // of them at once, after a while without; default PerSecond
	InFlight  int // attempts that run on this gateway
	Unsettled int // operations in doubt, and attempts that run on this gateway

	// InDoubt counts a caller's operations in doubt, at most most; needed by Unsettled.
	InDoubt func(ctx context.Context, who idempotency.Caller, most int) (int, error)
	Now     func() time.Time // default time.Now; only ever compared with itself
}

// Callers holds callers to their limits. A nil *Callers has none. It is safe for concurrent use.
type Callers struct {
	o    Options
	rate float64
	most float64

	mu      sync.Mutex
	of      map[idempotency.Caller]*caller
	sweepAt int // the number of callers at which those are forgotten of whom there is nothing to know
}

// caller is what is known of one.
type caller struct {
	bucket
	users   int // of this struct: it must not be forgotten
	running int // attempts

	counting sync.Mutex // held while the store is asked: once, for all that wait for the answer
	inDoubt  int
	counted  time.Time // when inDoubt was right, at the latest
	doubts   int       // of attempts here, ever
}

// The number of operations in doubt is asked for again when it is older than that: as long as it allows more,
// and as soon as it does not.
const (
	recountAllowed = time.Second
	recountRefused = 250 * time.Millisecond
)

const sweepAtLeast = 1024

// New returns nil if o limits nothing.
func New(o Options) *Callers {
	if o.PerSecond <= 0 && o.InFlight <= 0 && o.Unsettled <= 0 {
		return nil
	}
	if o.Burst <= 0 {
		o.Burst = o.PerSecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Callers{o: o, rate: float64(o.PerSecond), most: float64(o.Burst), of: make(map[idempotency.Caller]*caller), sweepAt: sweepAtLeast}
}

// Exceeded says which limit refuses.
type Exceeded struct {
	Limit string // requests_per_second, in_flight or unsettled
	Value int
}

func (e *Exceeded) Error() string { return "this caller's limit is reached: " + e.Limit }

// Admit takes what an attempt of a caller needs, or says that a limit refuses it by an *Exceeded. With open
// the operation is in doubt already, and one more attempt makes it no more: it may resolve it. The leave has to
// be given back, by Unused or by Ended. If the store cannot count, the last count stands.
func (cs *Callers) Admit(ctx context.Context, who idempotency.Caller, open bool) (*Leave, error) {
	if cs == nil {
		return nil, nil
	}
	c := cs.enter(who)
	if cs.o.Unsettled > 0 && !open {
		cs.count(ctx, who, c)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	refused := &Exceeded{}
	switch {
	case cs.o.InFlight > 0 && c.running >= cs.o.InFlight:
		refused = &Exceeded{"in_flight", cs.o.InFlight}
	case cs.o.Unsettled > 0 && !open && c.inDoubt+c.running >= cs.o.Unsettled:
		refused = &Exceeded{"unsettled", cs.o.Unsettled}
	case cs.o.PerSecond > 0 && !cs.token(c):
		refused = &Exceeded{"requests_per_second", cs.o.PerSecond}
	default:
		c.running++
		return &Leave{cs, c}, nil
	}
	c.users--
	return nil, refused
}

// Allow takes a token alone, and reports whether there was one.
func (cs *Callers) Allow(who idempotency.Caller) bool {
	if cs == nil || cs.o.PerSecond <= 0 {
		return true
	}
	c := cs.enter(who)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.users--
	return cs.token(c)
}

func (cs *Callers) token(c *caller) bool {
	c.fill(cs.o.Now(), cs.rate, cs.most)
	return c.take()
}

// enter returns what is known of a caller, who will be known until users is counted down again.
func (cs *Callers) enter(who idempotency.Caller) *caller {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.of[who]
	if c == nil {
		if len(cs.of) >= cs.sweepAt {
			cs.sweep()
		}
		c = &caller{bucket: bucket{cs.most, cs.o.Now()}}
		cs.of[who] = c
	}
	c.users++
	return c
}

// sweep forgets the callers of whom all would be the same if they came for the first time. It looks at as many
// as have come since it last did, or so.
func (cs *Callers) sweep() {
	now := cs.o.Now()
	for who, c := range cs.of {
		if c.fill(now, cs.rate, cs.most); c.users == 0 && c.tokens >= cs.most && now.Sub(c.counted) > recountAllowed {
			delete(cs.of, who)
		}
	}
	cs.sweepAt = max(sweepAtLeast, 2*len(cs.of))
}

// count asks the store what the caller has in doubt, unless that is known.
func (cs *Callers) count(ctx context.Context, who idempotency.Caller, c *caller) {
	c.counting.Lock()
	defer c.counting.Unlock()
	cs.mu.Lock()
	begun, doubts, within := cs.o.Now(), c.doubts, recountAllowed
	if c.inDoubt+c.running >= cs.o.Unsettled {
		within = recountRefused
	}
	known := !c.counted.IsZero() && begun.Sub(c.counted) < within
	cs.mu.Unlock()
	if known {
		return
	}
	n, err := cs.o.InDoubt(ctx, who, cs.o.Unsettled)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.counted = begun; err != nil {
		c.counted = cs.o.Now() // a store that does not answer is not asked by everybody who comes
		return
	}
	// What came into doubt here meanwhile may be in n or not: for a moment it counts twice.
	c.inDoubt = n + c.doubts - doubts
}

// Leave is what an attempt has taken. A nil *Leave has taken nothing.
type Leave struct {
	of *Callers
	c  *caller
}

// Unused gives everything back: there was no attempt.
func (l *Leave) Unused() {
	if l != nil {
		l.back(func() { l.c.give(l.of.most) })
	}
}

// Ended says that the attempt is over, and whether it left the operation in doubt.
func (l *Leave) Ended(inDoubt bool) {
	if l != nil && inDoubt {
		l.back(func() { l.c.inDoubt, l.c.doubts = l.c.inDoubt+1, l.c.doubts+1 })
	} else if l != nil {
		l.back(func() {})
	}
}

func (l *Leave) back(and func()) {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.c.running--
	l.c.users--
	and()
}
