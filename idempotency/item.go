package idempotency

import "sync"

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
	ready   chan struct{} // closed when result and err are set
}

type itemState uint8

const (
	waiting itemState = iota
	finished
	abandoned
)

func newItem(t Transition, late func(Result, error)) *item {
	it := &item{t: t, op: t.Target(), late: late, ready: make(chan struct{})}
	switch t.(type) {
	case Claim, Note, Cancel, Acknowledge, Import:
		it.perishable = true
	case Complete, Release, Doubt, Resolve:
	}
	return it
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
	if !left {
		it.state = finished
		it.result, it.err = r, err
		close(it.ready)
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
		close(it.ready)
	}
	it.mu.Unlock()
	if it.late != nil && !untouched {
		it.late(Result{}, ErrStopped)
	}
}
