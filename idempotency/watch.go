package idempotency

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// watches are the operations that somebody waits for here. Whatever the number of those who wait, an
// operation has one watch, and all watches are looked at together: a wait costs the store no more than its
// first look and its share of queries that read many records each, some times a second.
//
// What this gateway writes itself is looked at again at once; the store is asked in between for what others
// write. While nobody waits nothing runs.
//
// A look that fails is no news: what was seen last stands, until looks have failed for so long that the store is
// called away.
type watches struct {
	look func(ctx context.Context, ids []OperationID) ([]Record, error)
	// away is how long looks must have failed before those who wait are told.
	away time.Duration
	// spread returns a part of d that differs between gateways, so that they do not ask in step.
	spread func(OperationID, time.Duration) time.Duration

	some atomic.Int64 // watches; so that a write costs nothing in the usual case of none
	// marks are the dirty flags of all watches by OperationID, so that whoever writes never waits for the lock:
	// it is held while all watches are walked through.
	marks sync.Map
	mu    sync.Mutex
	of    map[OperationID]*watch
	over  chan struct{} // of the loop, while it runs; closed when it ends
	wake  chan struct{}
	left  chan struct{} // the last one has left: there is nothing to pause for
	// round numbers the looks. Whoever begins to wait believes only looks that began later than that.
	round uint64
}

// watch is one operation that is waited for.
type watch struct {
	dirty   atomic.Bool // this gateway has written since the last look began
	waiting int
	due     time.Time
	pause   time.Duration

	// What the last look found that did not fail, and its round. News is closed and made anew with each look that
	// found something else than the one before, or came long after the last time, or failed like all for too long.
	round  uint64
	rec    Record
	err    error     // of the last look
	since  time.Time // when the first look began of those that have failed since
	news   chan struct{}
	told   time.Time
	heard  uint64 // the round of the last news
	joined uint64 // when somebody last began to wait
}

// Pauses between looks at one operation. The last one bounds how long a change made elsewhere goes
// unnoticed: with its spread of a quarter, and the time of a query, less than 300 ms.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 160 * time.Millisecond
	// finalPause is for records that are final: they change only by being forgotten, which may take longer to
	// be seen elsewhere, and each look reads a whole answer.
	finalPause = 2 * time.Second
	// leastPause is between two looks at different operations, so that many of them share their looks, whatever
	// is written meanwhile.
	leastPause = 5 * time.Millisecond
	// retell is when those who wait judge again although nothing has changed: what is enough may depend on time.
	retell = 500 * time.Millisecond
	// watchedAtOnce is how many records one query reads that had no answer when they were last looked at. Of
	// the others it is bodiesAtOnce.
	watchedAtOnce = 128
)

func newWatches(look func(context.Context, []OperationID) ([]Record, error), away time.Duration, spread func(OperationID, time.Duration) time.Duration) *watches {
	return &watches{look: look, away: away, spread: spread, of: make(map[OperationID]*watch), wake: make(chan struct{}, 1), left: make(chan struct{}, 1)}
}

// seat is a place at a watch.
type seat struct {
	ws    *watches
	id    OperationID
	w     *watch
	since uint64    // the round when it was taken
	taken time.Time // the same, by the clock
}

// sit takes a place at the watch of an operation. It is left by leave. Changes are noticed from now on, but
// looked for only once somebody waits.
func (ws *watches) sit(id OperationID) *seat {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w := ws.of[id]
	if w == nil {
		w = &watch{pause: firstPause, due: time.Now().Add(firstPause), news: make(chan struct{})}
		ws.of[id] = w
		ws.marks.Store(id, &w.dirty)
		ws.some.Store(int64(len(ws.of)))
	}
	w.waiting++
	w.joined = ws.round
	return &seat{ws: ws, id: id, w: w, since: ws.round, taken: time.Now()}
}

func (s *seat) leave() {
	ws := s.ws
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if s.w.waiting--; s.w.waiting == 0 {
		delete(ws.of, s.id)
		ws.marks.Delete(s.id)
		ws.some.Store(int64(len(ws.of)))
		if len(ws.of) == 0 && ws.over != nil {
			select {
			case ws.left <- struct{}{}:
			default:
			}
			ws.call()
		}
	}
}

// wait returns the first look that is enough. False says that the timer or ctx ended first; then it returns the
// last look, if there was one. The error is that of looks which have failed for too long.
func (s *seat) wait(ctx context.Context, timer <-chan time.Time, enough func(Record) bool) (rec Record, found bool, err error) {
	for {
		rec, fresh, news, err := s.latest()
		switch {
		case err != nil:
			return rec, false, err
		case !fresh:
			rec = Record{}
		case enough(rec):
			return rec, true, nil
		}
		select {
		case <-news:
		case <-timer:
			return rec, false, nil
		case <-ctx.Done():
			return rec, false, nil
		}
	}
}

// latest returns the last look, whether it began after the seat was taken, and what ends with the next news. The
// error is that of looks which have failed for too long; who has come since has heard from the store by himself.
func (s *seat) latest() (rec Record, fresh bool, news <-chan struct{}, err error) {
	ws := s.ws
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.over == nil {
		ws.over = make(chan struct{})
		for _, calls := range []chan struct{}{ws.left, ws.wake} { // that went to the loop before
			select {
			case <-calls:
			default:
			}
		}
		go ws.run()
	}
	if s.w.err != nil && time.Since(latest(s.w.since, s.taken)) >= ws.away {
		err = s.w.err
	}
	return s.w.rec, s.w.round > s.since, s.w.news, err
}

// changed says that this gateway has written something about an operation. It is on the way of every write:
// it takes no lock that anybody holds for long, and walks through nothing.
func (ws *watches) changed(id OperationID) {
	if ws.some.Load() == 0 {
		return
	}
	if dirty, ok := ws.marks.Load(id); ok {
		dirty.(*atomic.Bool).Store(true)
		ws.call()
	}
}

// call wakes the loop.
func (ws *watches) call() {
	select {
	case ws.wake <- struct{}{}:
	default:
	}
}

// run looks at what is due until nobody waits any more.
func (ws *watches) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		fresh, answered, pause, idle := ws.next(time.Now())
		if idle {
			return
		}
		for ids := range slices.Chunk(fresh, watchedAtOnce) {
			ws.lookAt(ids)
		}
		for ids := range slices.Chunk(answered, bodiesAtOnce) {
			ws.lookAt(ids)
		}
		timer.Reset(leastPause)
		select {
		case <-timer.C:
		case <-ws.left:
		}
		if pause > leastPause {
			timer.Reset(pause - leastPause)
			select {
			case <-timer.C:
			case <-ws.wake:
			}
		}
	}
}

// close returns when nothing looks at the store any more, unless somebody begins to wait again.
func (ws *watches) close() {
	ws.mu.Lock()
	over := ws.over
	ws.mu.Unlock()
	if over != nil {
		<-over
	}
}

// next returns what to look at now, without and with an answer when last seen, and when to come back. What is
// due soon is looked at with the rest.
func (ws *watches) next(now time.Time) (fresh, answered []OperationID, pause time.Duration, idle bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.of) == 0 {
		close(ws.over)
		ws.over = nil
		return nil, nil, 0, true
	}
	someDue := false
	for _, w := range ws.of {
		if w.dirty.Swap(false) {
			w.due, w.pause = time.Time{}, firstPause
		}
		someDue = someDue || !w.due.After(now)
	}
	pause = lastPause
	for id, w := range ws.of {
		if someDue && !w.due.After(now.Add(w.pause/2)) {
			if w.rec.State == Completed {
				answered = append(answered, id)
			} else {
				fresh = append(fresh, id)
			}
			w.due = now.Add(w.pause*3/4 + ws.spread(id, w.pause/2))
			w.pause = min(w.pause*3/2, w.longest())
		}
		pause = min(pause, w.due.Sub(now))
	}
	for _, ids := range [][]OperationID{fresh, answered} {
		slices.SortFunc(ids, func(a, b OperationID) int { return bytes.Compare(a[:], b[:]) }) // a run can be repeated
	}
	return fresh, answered, max(pause, leastPause), false
}

// longest returns how long the pause between two looks may become.
func (w *watch) longest() time.Duration {
	if w.rec.State.Final() {
		return finalPause
	}
	return lastPause
}

func (ws *watches) lookAt(ids []OperationID) {
	ws.mu.Lock()
	ws.round++
	round := ws.round
	ws.mu.Unlock()
	begun := time.Now()
	records, err := ws.look(context.Background(), ids)
	now := time.Now()
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for i, id := range ids {
		w := ws.of[id]
		if w == nil {
			continue
		}
		var news bool
		if err != nil {
			if w.err == nil {
				w.since = begun
			}
			news = now.Sub(w.since) >= ws.away
		} else {
			rec := records[i]
			same := w.round > 0 && rec.Revision == w.rec.Revision && rec.State == w.rec.State
			news = !same || w.heard <= w.joined || now.Sub(w.told) >= retell
			w.round, w.rec = round, rec
		}
		w.err = err
		if news {
			w.told, w.heard = now, round
			close(w.news)
			w.news = make(chan struct{})
		}
	}
}
