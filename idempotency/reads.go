package idempotency

import (
	"context"
	"sync"
	"time"
)

// reads gathers look-ups of single records, as a group commit gathers writes: who comes while reads are on
// their way waits for the next one, which takes all who have come by then. A lone look-up goes at once, nobody
// waits for company, and nobody is answered from a read that began before he came.
type reads struct {
	find  finder
	limit time.Duration // of one look-up, with its wait
	yield func()        // lets others run

	mu        sync.Mutex
	waiting   []*lookup
	flying    int  // look-ups that reads have taken and not answered
	running   int  // reads, also the one that is about to take what waits
	gathering bool // there is such a one
	timer     bool // one runs that will end the patience
	hurry     bool // patience has ended
}

// lookup is one who wants to know of one record.
type lookup struct {
	ctx    context.Context
	id     OperationID
	place  int // of its record among those of the read
	record *Record
	err    error
	// inCompany says that the read that failed was about others, too: what is wrong may be theirs alone.
	inCompany bool
	done      chan struct{}
}

const (
	// readsAtOnce is how many reads may be on their way: one that hangs holds those it has taken, and no others.
	readsAtOnce = 4
	// patience bounds how long look-ups wait for company while reads are on their way.
	patience = 2 * time.Millisecond
	// recordsOfRead is how many records one read is about. Each may have a whole body.
	recordsOfRead = 2 * bodiesAtOnce
)

func newReads(find finder, limit time.Duration, yield func()) *reads {
	return &reads{find: find, limit: limit, yield: yield}
}

// one reads a record. The error is the store's, or ctx's, or that the time was over.
func (r *reads) one(ctx context.Context, id OperationID) (Record, error) {
	end := time.Now().Add(r.limit)
	timer := time.NewTimer(r.limit)
	defer timer.Stop()
	l := &lookup{ctx: ctx, id: id, done: make(chan struct{})}
	r.push(l)
	select {
	case <-l.done:
	case <-ctx.Done():
		r.leave(l)
		return Record{}, ctx.Err()
	case <-timer.C:
		r.leave(l)
		return Record{}, context.DeadlineExceeded
	}
	if l.err == nil {
		return *l.record, nil
	}
	if !l.inCompany || !time.Now().Before(end) {
		return Record{}, l.err
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	records, err := r.find(ctx, []OperationID{id})
	if err != nil {
		return Record{}, err
	}
	return records[0], nil
}

func (r *reads) push(l *lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, l)
	r.call()
}

// leave takes a look-up back that no read has taken.
func (r *reads) leave(l *lookup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.waiting {
		if r.waiting[i] == l {
			r.waiting = append(r.waiting[:i], r.waiting[i+1:]...)
			return
		}
	}
}

// worthwhile reports whether a read should take what waits. While none is on its way anything is. Otherwise
// it has to be as much as all that is, as in a lane: so reads grow under load instead of their number.
func (r *reads) worthwhile() bool {
	return len(r.waiting) > 0 && r.running < readsAtOnce && !r.gathering &&
		(len(r.waiting) >= min(r.flying, recordsOfRead) || r.hurry)
}

// call begins a read if that is worthwhile, or makes sure that one is begun soon.
func (r *reads) call() {
	switch {
	case r.worthwhile():
		r.running++
		r.gathering = true
		go r.run()
	case len(r.waiting) > 0 && !r.gathering && r.running < readsAtOnce && !r.timer:
		r.timer = true
		time.AfterFunc(patience, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.timer = false
			r.hurry = len(r.waiting) > 0
			r.call()
		})
	}
}

// run reads until there is nothing worthwhile any more. It is awaited by those whose look-ups it takes, for as
// long as they have time.
func (r *reads) run() {
	for {
		r.yield() // who is about to ask comes along
		batch, ids := r.take()
		if len(batch) > 0 {
			r.read(batch, ids)
		}
		if !r.landed(len(batch)) {
			return
		}
	}
}

// take takes the look-ups that one read is about.
func (r *reads) take() (batch []*lookup, ids []OperationID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.waiting), recordsOfRead)
	batch, ids = make([]*lookup, 0, n), make([]OperationID, 0, n)
	rest := r.waiting[:0]
	for _, l := range r.waiting {
		if l.place = indexOf(ids, l.id); l.place < 0 {
			if len(ids) == recordsOfRead {
				rest = append(rest, l)
				continue
			}
			l.place, ids = len(ids), append(ids, l.id)
		}
		batch = append(batch, l)
	}
	clear(r.waiting[len(rest):])
	r.waiting = rest
	r.flying += len(batch)
	r.gathering, r.hurry = false, false
	r.call()
	return batch, ids
}

func indexOf(ids []OperationID, id OperationID) int {
	for i := range ids {
		if ids[i] == id {
			return i
		}
	}
	return -1
}

// read answers look-ups. Those who came first have the least time, and the others no more of it for that.
func (r *reads) read(batch []*lookup, ids []OperationID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(batch[0].ctx), r.limit)
	defer cancel()
	records, err := r.find(ctx, ids)
	for _, l := range batch {
		if l.err, l.inCompany = err, len(ids) > 1; err == nil {
			l.record = &records[l.place]
		}
		close(l.done)
	}
}

// landed ends a read of n look-ups, and reports whether the next one may begin in its place.
func (r *reads) landed(n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flying -= n
	r.running--
	if r.worthwhile() {
		r.running++
		r.gathering = true
		return true
	}
	r.call()
	return false
}
