package idempotency

import "sync"

// lane is a queue of items in which every operation is busy with at most one item at a time, whether
// that one waits or is on its way to the store. Further items of the operation stand behind it.
type lane struct {
	name   string
	slow   chan struct{} // a slot for each item that may be tried by itself at a time
	mu     sync.Mutex
	more   sync.Cond
	first  []*item                 // outcomes: taken before the others
	then   []*item                 // claims
	behind map[OperationID][]*item // of every busy operation, what stands behind
	claims int                     // perishable items that wait, also behind others
	closed bool
}

func newLane(name string, slow int) *lane {
	l := &lane{name: name, slow: make(chan struct{}, slow), behind: make(map[OperationID][]*item)}
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
	l.more.Signal()
}

// take waits until something is queued and moves at most n items to batch. It returns an empty batch
// once the lane is closed and nothing of it is queued or under way, so that what stands behind another
// item is taken too.
func (l *lane) take(batch []*item, n int) []*item {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.first)+len(l.then) == 0 {
		if l.closed && len(l.behind) == 0 {
			return batch
		}
		l.more.Wait()
	}
	batch, l.first = shift(batch, l.first, n)
	queued := len(l.then)
	batch, l.then = shift(batch, l.then, n-len(batch))
	l.claims -= queued - len(l.then)
	return batch
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
