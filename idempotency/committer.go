package idempotency

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of a Committer and of what stands on it. All of them mean that nothing was sent to a backend.
var (
	// ErrOverloaded says that a queue was full. Nothing was written.
	ErrOverloaded = errors.New("too many requests wait for the store")
	// ErrStoreTimeout says that the store gave no result in time. Something may have been written, or
	// may be written later, unless it comes in a *RolledBackError.
	ErrStoreTimeout = errors.New("the store did not answer in time")
	// ErrStopped says that the committer, or the engine, no longer takes work. Nothing was written.
	ErrStopped = errors.New("shutting down")
)

// Observer hears what the core does. Its methods are called on hot paths and must not block.
type Observer interface {
	// Batched is called for each Apply: which lane, how many transitions, how long, and its error.
	Batched(lane string, size int, took time.Duration, err error)
	// Moved is called for the durable moves of each Apply that were this gateway's, once for each state that they led to.
	Moved(to State, n int)
	// Contradicted is called when an answer came that no move accepts: the record says that there was no
	// effect, and there was one. The answer is kept. It is an alarm.
	Contradicted(id OperationID)
}

type noObserver struct{}

func (noObserver) Batched(string, int, time.Duration, error) {}
func (noObserver) Moved(State, int)                          {}
func (noObserver) Contradicted(OperationID)                  {}

// CommitterOptions are the limits of a Committer.
type CommitterOptions struct {
	// Flushers is how many batches of one lane may be on their way at once. Default 4.
	Flushers int
	// OneLane makes claims and outcomes share a lane and its batches, outcomes first: right for a
	// store with a single writer.
	OneLane bool
	// MaxBatch is the greatest number of transitions in one commit. Default 128.
	MaxBatch int
	// MaxQueue is how many claims may wait; one more is refused. Outcomes are never refused: their
	// number is bounded by the attempts in flight. Default 8192.
	MaxQueue int
	// Timeout bounds one Apply, and how long a submitter waits for its result. Default 5 s.
	Timeout time.Duration
	// Observer hears what the batches come to. Default: nobody.
	Observer Observer
	// Pacer spreads retries. Default: by chance.
	Pacer Pacer
}

// Committer is the group commit between an engine and its store. Callers submit single transitions;
// a few flushers apply whatever waits as one batch. Nobody waits for company: a lone transition is
// flushed at once, and while a commit is in flight the next batch gathers. A batch never has two
// transitions of one operation; later ones wait in their order. Completions never wait behind claims.
type Committer struct {
	store    Store
	o        CommitterOptions
	claims   *lane
	outcomes *lane // the same lane as claims if OneLane
	stop     context.CancelFunc
	stopped  context.Context
	cut      context.CancelFunc // ends what is still being applied some time after stop
	last     context.Context
	// written, if set, is told of every record that may have changed by a batch, before anybody else.
	written atomic.Pointer[func(*Record)]
	// changed, if set, is told of the caller of every such record.
	changed  atomic.Pointer[func(Caller)]
	waiters  waiters
	flushers sync.WaitGroup
	alone    sync.WaitGroup
}

// NewCommitter starts a committer. Stop ends it.
func NewCommitter(store Store, o CommitterOptions) *Committer {
	if o.Flushers <= 0 {
		o.Flushers = 4
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
	if o.Pacer == nil {
		o.Pacer = chance{}
	}
	c := &Committer{store: store, o: o}
	c.stopped, c.stop = context.WithCancel(context.Background())
	c.last, c.cut = context.WithCancel(context.Background())
	c.claims = newLane("claim", o.Flushers, o.MaxBatch)
	c.outcomes = c.claims
	if !o.OneLane {
		c.outcomes = newLane("outcome", o.Flushers, o.MaxBatch)
		c.start(c.outcomes)
	}
	c.start(c.claims)
	return c
}

func (c *Committer) start(l *lane) {
	l.yield = c.o.Pacer.Yield
	for range c.o.Flushers {
		c.flushers.Go(func() { c.run(l) })
	}
}

// Stop lets what waits be applied once more, then ends the flushers; what fails then is not tried
// again. It takes one timeout, and what the store needs to notice its end. It is safe to call twice.
func (c *Committer) Stop() {
	c.stop()
	c.claims.close()
	c.outcomes.close()
	end := time.AfterFunc(c.o.Timeout, c.cut)
	defer end.Stop()
	c.flushers.Wait()
	c.alone.Wait()
	c.cut()
}

// Submit applies t in the next batch of its lane and returns the result. The error is one of
//
//   - ErrOverloaded or ErrStopped: t was not taken in;
//   - a *RolledBackError: the store refuses t. A claim left no trace; an outcome left none on its last try;
//   - ErrStoreTimeout: there is no result so far. A claim is not begun any more, but a try that is on
//     its way may still be written; an outcome is tried again for as long as the committer runs.
//
// After ErrStoreTimeout late, unless nil, is called when a claim has a result after all, and in any
// case once for an outcome: with its result, or the error that ends it. It must not block.
func (c *Committer) Submit(t Transition, late func(Result, error)) (Result, error) {
	return c.submit(newItem(t, late))
}

// restore is Submit of an import that is tried for as long as an outcome is.
func (c *Committer) restore(t Import, late func(Result, error)) (Result, error) {
	it := newItem(t, late)
	it.perishable = false
	return c.submit(it)
}

func (c *Committer) submit(it *item) (Result, error) {
	w := c.waiters.get(c.o.Timeout)
	it.ready = w.ready
	err := c.push(it)
	if err == nil {
		err = it.await(w)
	}
	c.waiters.put(w)
	if err != nil {
		return Result{}, err
	}
	return *it.result, it.err
}

// post is Submit of what nobody waits for, and what is to be written all the same. The error is ErrStopped;
// then late is not called.
func (c *Committer) post(t Transition, late func(Result, error)) error {
	it := newItem(t, late)
	it.state, it.perishable = abandoned, false
	return c.push(it)
}

func (c *Committer) push(it *item) error {
	if it.perishable {
		return c.claims.push(it, c.o.MaxQueue)
	}
	return c.outcomes.push(it, 0)
}

func (c *Committer) run(l *lane) {
	batch := make([]*item, 0, c.o.MaxBatch)
	for {
		var f *flying
		batch, f = l.take(batch[:0])
		taken := len(batch)
		if taken == 0 {
			return
		}
		c.flush(l, batch)
		l.landed(f)
		clear(batch[:taken])
	}
}

// triesTogether is how often a batch of unknown outcome is applied before its items part. One that
// makes every try fail without a word why must not hold the others for ever.
const triesTogether = 3

// flush applies a batch until its outcome is known. A batch whose outcome is unknown is applied again
// as it is, less the claims that nobody waits for any more. One that rolls back is applied item by
// item, so that the one to blame fails alone. What cannot be written now goes on by itself, and the
// flusher takes the next batch.
func (c *Committer) flush(l *lane, batch []*item) {
	slices.SortFunc(batch, func(a, b *item) int { return bytes.Compare(a.op[:], b.op[:]) })
	var err error
	for try := range triesTogether {
		if try > 0 && !c.pause(batch[0].op, try-1) {
			break
		}
		if batch, err = c.attempt(l, batch); len(batch) == 0 {
			return
		}
		if isRolledBack(err) {
			break
		}
	}
	// Outcomes first: a claim that waits for a foreign lock takes its time.
	slices.SortStableFunc(batch, func(a, b *item) int {
		switch {
		case a.perishable == b.perishable:
			return 0
		case a.perishable:
			return 1
		}
		return -1
	})
	single := len(batch) > 1 && isRolledBack(err)
	for _, it := range batch {
		one := []*item{it}
		if single {
			if one, err = c.attempt(l, one); len(one) == 0 {
				continue
			}
			single = isRolledBack(err) // once the store does not answer, do not ask it for each of the others
		}
		c.alone.Go(func() { c.insist(l, it) })
	}
}

// insist goes on with an item whose operation is blocked, or whose outcome is unknown, until it is done.
// Few of a lane are with the store at a time.
func (c *Committer) insist(l *lane, it *item) {
	rest := []*item{it}
	for try := 0; len(rest) > 0; try++ {
		if !c.pause(it.op, try) {
			it.giveUp()
			l.settle(rest)
			return
		}
		l.slow <- struct{}{}
		rest, _ = c.attempt(l, rest)
		<-l.slow
	}
}

// attempt applies what is still wanted of a batch once. It returns the items that are not done, and why.
func (c *Committer) attempt(l *lane, batch []*item) ([]*item, error) {
	batch = begin(l, batch)
	if len(batch) == 0 {
		return nil, nil
	}
	results, err := c.apply(l, batch)
	if err == nil {
		c.tell(batch, results)
		written, changed := c.written.Load(), c.changed.Load()
		for i, it := range batch {
			// Told first: who hears of a refused claim may begin to wait, and there is nothing new for him.
			if _, claim := it.t.(Claim); written != nil && (results[i].Applied || !claim) {
				(*written)(&results[i].Record)
				if changed != nil {
					(*changed)(results[i].Record.Operation.Caller)
				}
			}
			it.finish(&results[i], nil)
		}
		l.settle(batch)
		return nil, nil
	}
	for _, it := range batch {
		it.failed(err)
	}
	var rolledBack *RolledBackError
	if len(batch) == 1 && errors.As(err, &rolledBack) && !rolledBack.Blocked {
		batch[0].finish(new(Result), err)
		l.settle(batch)
		return nil, nil
	}
	return batch, err
}

// tell lets the observer know what a batch came to, before its submitters do.
func (c *Committer) tell(batch []*item, results []Result) {
	var moved [len(stateNames)]int
	for i, it := range batch {
		if _, note := it.t.(Note); note {
			// It moved nothing.
		} else if results[i].Applied {
			moved[results[i].Record.State]++
		} else if contradicts(it.t, results[i].Record) {
			c.o.Observer.Contradicted(it.op)
		}
	}
	for to, n := range moved {
		if n > 0 {
			c.o.Observer.Moved(State(to), n)
		}
	}
}

// begin drops the claims that nobody waits for any more.
func begin(l *lane, batch []*item) []*item {
	var gone []*item
	keep := batch[:0]
	for _, it := range batch {
		if it.begin() {
			keep = append(keep, it)
		} else {
			gone = append(gone, it)
		}
	}
	l.settle(gone)
	return keep
}

func (c *Committer) apply(l *lane, batch []*item) ([]Result, error) {
	ts := make([]Transition, len(batch))
	for i, it := range batch {
		ts[i] = it.t
	}
	// Not derived from any request: a client that leaves must not cancel other clients' commits.
	ctx, cancel := context.WithTimeout(c.last, c.o.Timeout)
	defer cancel()
	start := time.Now()
	results, err := c.store.Apply(ctx, ts)
	switch {
	case err == nil:
		err = check(batch, results)
	case isRolledBack(err) && ctx.Err() != nil:
		// Its time ran out: that refuses no item.
		err = fmt.Errorf("%w: %v", ErrStoreTimeout, err)
	}
	took := time.Since(start)
	if err == nil {
		l.answered(len(ts), took)
	}
	c.o.Observer.Batched(l.name, len(ts), took, err)
	return results, err
}

// check refuses results that are not about the items one by one: what is told to a caller must be its own.
func check(batch []*item, results []Result) error {
	if len(results) != len(batch) {
		return fmt.Errorf("the store returned %d results for %d transitions", len(results), len(batch))
	}
	for i, it := range batch {
		if results[i].Record.ID != it.op {
			return errors.New("the store returned a result for another operation")
		}
	}
	return nil
}

// pause waits before a batch is tried again: 25 ms, doubled up to 1 s, with full jitter above half so
// that gateways do not come back in step. It returns false when the committer stops.
func (c *Committer) pause(about OperationID, try int) bool {
	d := min(25*time.Millisecond<<min(try, 6), time.Second)
	timer := time.NewTimer(d/2 + c.o.Pacer.Spread(about, d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.stopped.Done():
		return false
	}
}
