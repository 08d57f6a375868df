package idempotency

import (
	"sync"
	"time"
)

// lane is a queue of items in which every operation is busy with at most one item at a time, whether
// that one waits or is on its way to the store. Further items of the operation stand behind it.
type lane struct {
	name   string
	most   int           // items in one batch
	yield  func()        // lets others run
	slow   chan struct{} // a slot for each item that may be tried by itself at a time
	mu     sync.Mutex
	more   sync.Cond
	first  []*item                 // outcomes: taken before the others
	then   []*item                 // claims
	behind map[OperationID][]*item // of every busy operation, what stands behind
	claims int                     // perishable items that wait, also behind others
	flying int                     // items that flushers have taken and not landed
	timer  bool                    // one runs that will end the patience
	hurry  bool                    // patience has ended
	closed bool
}

// patience bounds how long items wait for company while other batches are on their way.
const patience = 2 * time.Millisecond

func newLane(name string, slow, most int) *lane {
	l := &lane{name: name, most: most, slow: make(chan struct{}, slow), behind: make(map[OperationID][]*item)}
	l.more.L = &l.mu
	return l
}

// push queues it. A limit above 0 is the number of perishable items that may wait.
func (l *lane) push(it *item, limit int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrStopped
	}
	if limit > 0 && l.claims >= limit {
		return ErrOverloaded
	}
	if it.perishable {
		l.claims++
	}
	if queue, busy := l.behind[it.op]; busy {
		l.behind[it.op] = append(queue, it)
		return nil
	}
	l.behind[it.op] = nil
	l.enqueue(it)
	return nil
}

func (l *lane) enqueue(it *item) {
	if it.perishable {
		l.then = append(l.then, it)
	} else {
		l.first = append(l.first, it)
	}
	l.call()
}

// worthwhile reports whether a flusher should take what is queued. While nothing is on its way, anything
// is. Otherwise a further batch has to be at least as large as all that fly: so a lone request is flushed
// at once, a few requests fly side by side, and under load batches grow instead of their number.
func (l *lane) worthwhile() bool {
	queued := len(l.first) + len(l.then)
	return queued > 0 && (queued >= min(l.flying, l.most) || l.hurry || l.closed)
}

// call wakes a flusher if there is something worthwhile, or makes sure that one is woken soon: a batch
// that hangs must not hold others.
func (l *lane) call() {
	switch {
	case l.worthwhile():
		l.more.Signal()
	case len(l.first)+len(l.then) > 0 && !l.timer:
		l.timer = true
		time.AfterFunc(patience, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.timer = false
			if len(l.first)+len(l.then) > 0 {
				l.hurry = true
				l.more.Signal()
			}
		})
	}
}

// take waits until there is something worthwhile and moves it to batch. It returns an empty
// batch once the lane is closed and nothing of it is queued or under way, so that what stands behind
// another item is taken too.
func (l *lane) take(batch []*item) []*item {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for !l.worthwhile() {
			if l.closed && len(l.behind) == 0 {
				return batch
			}
			l.more.Wait()
		}
		// Whoever is about to submit comes first: it costs a lone request nothing, and batches a third.
		l.mu.Unlock()
		l.yield()
		l.mu.Lock()
		if l.worthwhile() {
			break
		}
	}
	batch, l.first = shift(batch, l.first, l.most)
	queued := len(l.then)
	batch, l.then = shift(batch, l.then, l.most-len(batch))
	l.claims -= queued - len(l.then)
	l.flying += len(batch)
	l.hurry = false
	l.call()
	return batch
}

// landed ends the flight of n items.
func (l *lane) landed(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying -= n
	l.call()
}

func shift(batch, queue []*item, n int) ([]*item, []*item) {
	n = min(n, len(queue))
	batch = append(batch, queue[:n]...)
	rest := copy(queue, queue[n:])
	clear(queue[rest:])
	return batch, queue[:rest]
}

// settle frees the operations of items that are done with.
func (l *lane) settle(items []*item) {
	if len(items) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range items {
		queue := l.behind[it.op]
		if len(queue) == 0 {
			delete(l.behind, it.op)
			continue
		}
		l.behind[it.op] = queue[1:]
		l.enqueue(queue[0])
	}
	if l.closed && len(l.behind) == 0 {
		l.more.Broadcast()
	}
}

// close ends the lane: nothing more is taken in, and takers return when it is empty.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.more.Broadcast()
}
