package idempotency

import (
	"sync"
	"time"
)

// item is one submitted transition.
type item struct {
	t          Transition
	op         OperationID
	perishable bool // not begun any more once its submitter has left
	late       func(Result, error)

	mu      sync.Mutex
	state   itemState
	trying  bool    // a batch with it is on its way
	unclear bool    // a batch with it had an unknown outcome
	result  *Result // shared with its batch; nobody changes it
	err     error
	ready   chan struct{} // its waiter's: gets one token when result and err are set; nil if nobody waits
}

type itemState uint8

const (
	waiting itemState = iota
	finished
	abandoned
)

func newItem(t Transition, late func(Result, error)) *item {
	it := &item{t: t, op: t.Target(), late: late}
	switch t.(type) {
	case Claim, Note, Cancel, Acknowledge, Import:
		it.perishable = true
	case Complete, Release, Doubt, Resolve:
	}
	return it
}

// await returns nil when result and err are set, or why they are not in time.
func (it *item) await(w *waiter) error {
	select {
	case <-w.ready:
		return nil
	case <-w.timer.C:
	}
	switch left, untouched := it.leave(); {
	case untouched:
		return &RolledBackError{Err: ErrStoreTimeout}
	case left:
		return ErrStoreTimeout
	}
	<-w.ready // it was finished at this very moment
	return nil
}

// leave is the submitter's: it reports whether it left before the item was finished, and whether the
// item is then certain never to be written.
func (it *item) leave() (left, untouched bool) {
	it.mu.Lock()
	defer it.mu.Unlock()
	if it.state == waiting {
		it.state = abandoned
	}
	left = it.state == abandoned
	return left, left && it.perishable && !it.trying && !it.unclear
}

// begin reports whether the item is still to be applied, and notes that it is.
func (it *item) begin() bool {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.trying = !it.perishable || it.state != abandoned
	return it.trying
}

// failed notes that a batch with the item came to nothing, or may have.
func (it *item) failed(err error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.trying = false
	it.unclear = it.unclear || !isRolledBack(err)
}

// finish gives the item its result, or calls late if nobody waits for it.
func (it *item) finish(r *Result, err error) {
	it.mu.Lock()
	if err != nil && it.perishable && it.unclear {
		err = ErrStoreTimeout // this try left no trace, but an earlier one may have
	}
	left := it.state == abandoned
	if it.state == waiting {
		it.state = finished
		it.result, it.err = r, err
		it.ready <- struct{}{}
	}
	it.mu.Unlock()
	if left && it.late != nil {
		it.late(*r, err)
	}
}

// giveUp ends an item that is not done when the committer stops.
func (it *item) giveUp() {
	it.mu.Lock()
	untouched := it.perishable && !it.unclear
	if it.state == waiting {
		it.state = finished
		it.result, it.err = new(Result), ErrStoreTimeout
		if untouched {
			it.err = &RolledBackError{Err: ErrStopped}
		}
		it.ready <- struct{}{}
	}
	it.mu.Unlock()
	if it.late != nil && !untouched {
		it.late(Result{}, ErrStopped)
	}
}

// waiter is what a submitter waits with. It is used again, one submitter after the other: when one is done with
// it, the token of its item has been taken, or will never come.
type waiter struct {
	ready chan struct{}
	timer *time.Timer
}

// waiters belong to one committer, so that its timers are of the same clock.
type waiters struct{ pool sync.Pool }

// get returns a waiter whose timer runs.
func (ws *waiters) get(timeout time.Duration) *waiter {
	w, ok := ws.pool.Get().(*waiter)
	if !ok {
		return &waiter{make(chan struct{}, 1), time.NewTimer(timeout)}
	}
	w.timer.Reset(timeout)
	return w
}

func (ws *waiters) put(w *waiter) {
	w.timer.Stop()
	ws.pool.Put(w)
}
