package idempotency

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Errors of a Committer and of what stands on it. All of them mean that nothing was sent to a backend.
var (
	// ErrOverloaded says that a queue was full. Nothing was written.
	ErrOverloaded = errors.New("too many requests wait for the store")
	// ErrStoreTimeout says that the store gave no result in time. Something may have been written, or
	// may be written later.
	ErrStoreTimeout = errors.New("the store did not answer in time")
	// ErrStopped says that the committer no longer takes work. Nothing was written.
	ErrStopped = errors.New("shutting down")
)

// Observer hears what the core does. Its methods are called on hot paths and must not block.
type Observer interface {
	// Batched is called for each Apply: which lane, how many transitions, how long, and its error.
	Batched(lane string, size int, took time.Duration, err error)
	// Moved is called for each durable move of this gateway's, with the state it led to.
	Moved(to State)
}

type noObserver struct{}

func (noObserver) Batched(string, int, time.Duration, error) {}
func (noObserver) Moved(State)                               {}

// CommitterOptions are the limits of a Committer.
type CommitterOptions struct {
	// Flushers is how many batches of one lane may be on their way at once. Default 2.
	Flushers int
	// OneLane makes claims and outcomes share a lane and its batches, outcomes first: right for a
	// store with a single writer.
	OneLane bool
	// MaxBatch is the greatest number of transitions in one commit. Default 128.
	MaxBatch int
	// MaxQueue is how many claims may wait; one more is refused. Outcomes are never refused: their
	// number is bounded by the attempts in flight. Default 8192.
	MaxQueue int
	// Timeout bounds one Apply, and how long a submitter waits for its result.
	Timeout time.Duration
	// Observer may be nil.
	Observer Observer
}

// Committer is the group commit between an engine and its store. Callers submit single transitions;
// a few flushers apply whatever waits as one batch. Nobody waits for a timer: a lone transition is
// flushed at once, and while a commit is in flight the next batch gathers. A batch never has two
// transitions of one operation; later ones wait in their order. Completions never wait behind claims.
type Committer struct {
	store    Store
	o        CommitterOptions
	claims   *lane
	outcomes *lane // the same lane as claims if OneLane
	stop     context.CancelFunc
	stopped  context.Context
	flushers sync.WaitGroup
	slow     sync.WaitGroup
}

// NewCommitter starts a committer. Stop ends it.
func NewCommitter(store Store, o CommitterOptions) *Committer {
	if o.Flushers <= 0 {
		o.Flushers = 2
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = 128
	}
	if o.MaxQueue <= 0 {
		o.MaxQueue = 8192
	}
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Observer == nil {
		o.Observer = noObserver{}
	}
	c := &Committer{store: store, o: o}
	c.stopped, c.stop = context.WithCancel(context.Background())
	c.claims = newLane("claim")
	c.outcomes = c.claims
	if !o.OneLane {
		c.outcomes = newLane("outcome")
		c.start(c.outcomes)
	}
	c.start(c.claims)
	return c
}

func (c *Committer) start(l *lane) {
	for range c.o.Flushers {
		c.flushers.Go(func() { c.run(l) })
	}
}

// Stop lets what waits be applied once more, then ends the flushers; what fails then is not tried
// again. It is safe to call twice.
func (c *Committer) Stop() {
	c.stop()
	c.claims.close()
	c.outcomes.close()
	c.flushers.Wait()
	c.slow.Wait()
}

// Submit applies t in the next batch of its lane and returns the result. If there is none within the
// timeout it returns ErrStoreTimeout, and late, unless nil, is called if a result comes after all:
// a claim is then no longer tried again, but an outcome is, for as long as the committer runs.
// A *RolledBackError means that t left no trace.
func (c *Committer) Submit(t Transition, late func(Result, error)) (Result, error) {
	it := &item{t: t, op: t.Target(), late: late, ready: make(chan struct{})}
	l, limit := c.outcomes, 0
	switch t.(type) {
	case Claim, Cancel, Acknowledge, Import:
		l, limit = c.claims, c.o.MaxQueue
		it.perishable = true
	case Complete, Release, Doubt, Resolve:
	}
	if err := l.push(it, limit); err != nil {
		return Result{}, err
	}
	timer := time.NewTimer(c.o.Timeout)
	defer timer.Stop()
	select {
	case <-it.ready:
		return it.result, it.err
	case <-timer.C:
		if it.leave() {
			return Result{}, ErrStoreTimeout
		}
		<-it.ready // it was settled at this very moment
		return it.result, it.err
	}
}

func (c *Committer) run(l *lane) {
	batch := make([]*item, 0, c.o.MaxBatch)
	for {
		batch = l.take(batch[:0], c.o.MaxBatch)
		if len(batch) == 0 {
			return
		}
		c.flush(l, batch)
	}
}

// flush applies a batch until its outcome is known. A batch whose outcome is unknown is applied again
// as it is, less the claims that nobody waits for any more.
func (c *Committer) flush(l *lane, batch []*item) {
	slices.SortFunc(batch, func(a, b *item) int { return bytes.Compare(a.op[:], b.op[:]) })
	for try := 0; ; try++ {
		var gone []*item
		batch, gone = split(batch)
		l.settle(gone)
		if len(batch) == 0 {
			return
		}
		results, err := c.apply(l, batch)
		if err == nil {
			c.deliver(l, batch, results)
			return
		}
		var rolledBack *RolledBackError
		if errors.As(err, &rolledBack) {
			c.flushSingly(l, batch, rolledBack)
			return
		}
		if !c.pause(try) {
			for _, it := range batch {
				it.finish(Result{}, ErrStoreTimeout)
			}
			l.settle(batch)
			return
		}
	}
}

// flushSingly finds the item that made a batch roll back, so that it fails alone. One that a foreign
// lock blocks goes on trying in a goroutine of its own.
func (c *Committer) flushSingly(l *lane, batch []*item, cause *RolledBackError) {
	if len(batch) > 1 {
		for _, it := range batch {
			c.flush(l, []*item{it})
		}
		return
	}
	it := batch[0]
	if cause.Blocked && c.stopped.Err() == nil {
		c.slow.Go(func() {
			if !c.pause(0) {
				it.finish(Result{}, cause)
				l.settle([]*item{it})
				return
			}
			c.flush(l, []*item{it})
		})
		return
	}
	it.finish(Result{}, cause)
	l.settle(batch)
}

func (c *Committer) apply(l *lane, batch []*item) ([]Result, error) {
	ts := make([]Transition, len(batch))
	for i, it := range batch {
		ts[i] = it.t
	}
	// Not derived from any request: a client that leaves must not cancel other clients' commits.
	ctx, cancel := context.WithTimeout(context.Background(), c.o.Timeout)
	defer cancel()
	start := time.Now()
	results, err := c.store.Apply(ctx, ts)
	if err == nil && len(results) != len(ts) {
		err = errors.New("the store returned a wrong number of results")
	}
	c.o.Observer.Batched(l.name, len(ts), time.Since(start), err)
	return results, err
}

func (c *Committer) deliver(l *lane, batch []*item, results []Result) {
	for i, it := range batch {
		if results[i].Applied {
			c.o.Observer.Moved(results[i].Record.State)
		}
		it.finish(results[i], nil)
	}
	l.settle(batch)
}

// pause waits before a batch is tried again: 25 ms, doubled up to 1 s, with full jitter above half so
// that gateways do not come back in step. It returns false when the committer stops.
func (c *Committer) pause(try int) bool {
	d := min(25*time.Millisecond<<min(try, 6), time.Second)
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.stopped.Done():
		return false
	}
}

// split separates the items that are to be applied from perishable ones whose submitter has left.
func split(batch []*item) (keep, gone []*item) {
	for _, it := range batch {
		if it.perishable && it.left() {
			gone = append(gone, it)
		}
	}
	if gone == nil {
		return batch, nil
	}
	for _, it := range batch {
		if !slices.Contains(gone, it) {
			keep = append(keep, it)
		}
	}
	return keep, gone
}

// item is one submitted transition.
type item struct {
	t          Transition
	op         OperationID
	perishable bool // not applied any more once its submitter has left
	late       func(Result, error)

	mu     sync.Mutex
	state  itemState
	result Result
	err    error
	ready  chan struct{} // closed when result and err are set
}

type itemState uint8

const (
	waiting itemState = iota
	finished
	abandoned
)

// leave is the submitter's: it reports whether it left before the item was finished.
func (it *item) leave() bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.state == waiting {
		it.state = abandoned
	}
	return it.state == abandoned
}

func (it *item) left() bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	return it.state == abandoned
}

// finish gives the item its result, or calls late if nobody waits for it.
func (it *item) finish(r Result, err error) {
	it.mu.Lock()
	left := it.state == abandoned
	if !left {
		it.state = finished
		it.result, it.err = r, err
		close(it.ready)
	}
	it.mu.Unlock()
	if left && it.late != nil {
		it.late(r, err)
	}
}
