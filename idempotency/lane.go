package idempotency

import (
	"slices"
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
	flying []*flying               // batches on their way, in the order of their start
	pace   pace
	timer  bool // one runs that will look for flights that are late
	closed bool
}

// flying is a batch on its way.
type flying struct {
	items int
	since time.Time
	late  bool // others no longer wait for it
}

const (
	// lateness is how long others wait for a batch that is on its way: one that hangs must not hold them.
	lateness = 10 * time.Millisecond
	// ofABatch is about what a batch takes a store that is near, however few its items are.
	ofABatch = time.Millisecond
	// worthItsOwn is how many items are worth a batch beside others to a store that is near: beside what so many
	// take, what the batch takes is little.
	worthItsOwn = 64
)

// pace is how far away a store is: how soon it has answered a small batch of late.
type pace struct {
	now, before time.Duration // the shortest of this period and of the one before; 0: none yet
	n           int           // answers in this period
}

const (
	// pacePeriod is for how many answers a pace lasts.
	pacePeriod = 256
	// smallBatch is how many items a batch may have for which a store that is near needs hardly more than for one.
	smallBatch = 32
)

func (p *pace) note(took time.Duration) {
	if p.n++; p.n == pacePeriod {
		p.n, p.before, p.now = 0, p.now, 0
	}
	if p.now == 0 || took < p.now {
		p.now = max(took, 1)
	}
}

// shortest is 0 if there was no answer yet.
func (p *pace) shortest() time.Duration {
	if p.now == 0 || p.before != 0 && p.before < p.now {
		return p.before
	}
	return p.now
}

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
// is: so a lone request is flushed at once. A further batch has to be as large as all that fly. As it costs a
// store as much as the first one, it also has to be large, or the store has to be far away: then most of a
// flight is waiting, which several can do at once. How far is told by the soonest answer, which load hardly delays.
func (l *lane) worthwhile() bool {
	queued := len(l.first) + len(l.then)
	if queued == 0 {
		return false
	}
	beside, items := 0, 0
	for _, f := range l.flying {
		if !f.late {
			beside++
			items += f.items
		}
	}
	if beside > int(l.pace.shortest()/ofABatch) {
		items = max(items, worthItsOwn)
	}
	return queued >= min(items, l.most) || l.closed
}

// call wakes a flusher if there is something worthwhile, or makes sure that one is woken soon.
func (l *lane) call() {
	switch {
	case l.worthwhile():
		l.more.Signal()
	case len(l.first)+len(l.then) > 0 && !l.timer:
		for _, f := range l.flying {
			if !f.late {
				l.timer = true
				time.AfterFunc(lateness-time.Since(f.since), l.overdue)
				return
			}
		}
	}
}

// overdue notes what is late.
func (l *lane) overdue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = false
	for _, f := range l.flying {
		f.late = f.late || time.Since(f.since) >= lateness
	}
	l.call()
}

// take waits until there is something worthwhile and moves it to batch. It returns an empty
// batch once the lane is closed and nothing of it is queued or under way, so that what stands behind
// another item is taken too.
func (l *lane) take(batch []*item) ([]*item, *flying) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for !l.worthwhile() {
			if l.closed && len(l.behind) == 0 {
				return batch, nil
			}
			l.call()
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
	f := &flying{items: len(batch), since: time.Now()}
	l.flying = append(l.flying, f)
	l.call()
	return batch, f
}

// landed ends a flight of a flusher, who then takes what is worthwhile now.
func (l *lane) landed(f *flying) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flying = slices.DeleteFunc(l.flying, func(other *flying) bool { return other == f })
}

// answered notes how soon the store has applied a batch.
func (l *lane) answered(items int, took time.Duration) {
	if items > smallBatch {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pace.note(took)
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
