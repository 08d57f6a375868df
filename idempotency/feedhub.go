package idempotency

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrFeedClosed says that this gateway is going.
var ErrFeedClosed = errors.New("the gateway is going")

// feedHub asks the store for all who follow together: whatever their number, it is one query at a time. Each
// caller who is followed has one stream, in which changes are kept for a while; a reader goes along it at his
// own pace and keeps nothing but his place. So memory is bounded by what is kept, and a reader who does not
// come in time is cut: his cursor brings him back.
//
// While nobody follows nothing runs.
type feedHub struct {
	query  func(ctx context.Context, q FeedQuery) (FeedPage, error)
	spread func(most time.Duration) time.Duration
	turns  chan struct{} // of readers who catch up by themselves
	ctx    context.Context
	cancel context.CancelFunc
	most   int // changes that are kept

	some    atomic.Int64 // streams; so that a write costs nothing in the usual case of none
	dirty   sync.Map     // Caller to *atomic.Bool, so that whoever writes waits for no lock
	wake    chan struct{}
	mu      sync.Mutex
	streams map[Caller]*feedStream
	kept    []keptChange // of all streams, in the order in which they came
	bytes   int          // of what is kept
	seats   int
	over    chan struct{} // of the loop, while it runs; closed when it ends
	closed  bool
	asked   time.Time // when the store last answered
	broken  error     // why it did not since
}

// feedStream is what is kept of one caller's changes.
type feedStream struct {
	caller  Caller
	dirty   atomic.Bool
	seats   int
	idle    time.Time // since when nobody has a seat
	ready   chan struct{}
	isReady bool
	history FeedHistory
	from    Place // it has every change after this one …
	to      Place // … up to this one
	changes []Change
	end     bool // nothing is known to come after to
	behind  bool // somebody has looked who had not caught up
	news    chan struct{}
	err     error // why it is over
}

const (
	// feedPause is the longest between two queries: with its spread of a quarter and the time of a query, what
	// another gateway writes is heard of within 300 ms.
	feedPause = 160 * time.Millisecond
	// feedLeast is between two queries whatever is written meanwhile, and the first pause before what is held
	// back is looked for again.
	feedLeast = 10 * time.Millisecond
	// feedStale is how long after the store's last answer nobody is told any more that he has caught up.
	feedStale = 2 * time.Second
	// feedAtOnce is how many changes one query reads.
	feedAtOnce = 1000
	// feedKept and feedKeptBytes bound what is kept for all readers together.
	feedKept      = 16 << 10
	feedKeptBytes = 32 << 20
	// feedLinger is how long a stream is kept up that nobody reads: for who asks again at once.
	feedLinger = 2 * time.Second
	// feedTurns is how many readers catch up by themselves at a time.
	feedTurns = 4
)

func newFeedHub(query func(context.Context, FeedQuery) (FeedPage, error), spread func(time.Duration) time.Duration) *feedHub {
	h := &feedHub{query: query, spread: spread, turns: make(chan struct{}, feedTurns), most: feedKept,
		wake: make(chan struct{}, 1), streams: make(map[Caller]*feedStream)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// turn waits for a place among those who catch up.
func (h *feedHub) turn(ctx context.Context) (release func(), err error) {
	select {
	case h.turns <- struct{}{}:
		return func() { <-h.turns }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// changed says that this gateway has written something about a caller's record.
func (h *feedHub) changed(c Caller) {
	if h.some.Load() == 0 {
		return
	}
	if dirty, ok := h.dirty.Load(c); ok && !dirty.(*atomic.Bool).Swap(true) {
		h.call()
	}
}

// call wakes the loop.
func (h *feedHub) call() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// feedSeat is a reader's place at a stream.
type feedSeat struct {
	hub    *feedHub
	stream *feedStream
	left   bool
}

// sit takes a seat. Its stream becomes ready with the next query.
func (h *feedHub) sit(c Caller) *feedSeat {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.streams[c]
	if s == nil {
		s = &feedStream{caller: c, ready: make(chan struct{}), news: make(chan struct{})}
		if h.closed {
			s.fail(ErrFeedClosed)
			return &feedSeat{hub: h, stream: s, left: true}
		}
		h.streams[c] = s
		h.dirty.Store(c, &s.dirty)
		h.some.Store(int64(len(h.streams)))
		h.call()
	}
	s.seats++
	h.seats++
	if h.over == nil {
		h.over = make(chan struct{})
		go h.run()
	}
	return &feedSeat{hub: h, stream: s}
}

func (s *feedSeat) leave() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.left {
		return
	}
	s.left = true
	h.seats--
	if s.stream.seats--; s.stream.seats == 0 {
		s.stream.idle = time.Now()
	}
}

// begins returns after which place the stream has everything.
func (s *feedSeat) begins() Place {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.stream.from
}

// feedNews is what a stream has for a reader.
type feedNews struct {
	covered bool // the stream has everything after where he is
	changes []Change
	to      Place
	end     bool            // nothing is known to come after that
	more    <-chan struct{} // closed when there is more
	broken  error           // why the store does not answer
}

// look returns what comes after a position, which is one unless the reader has not begun; with latest only what
// is a record's last change as far as the stream knows. The error is why the stream is over.
func (s *feedSeat) look(p position, begun, latest bool) (n feedNews, err error) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	w := s.stream
	if w.err != nil {
		return n, w.err
	}
	if !begun || p.history != w.history || p.place.Compare(w.from) < 0 {
		return n, nil
	}
	i, found := slices.BinarySearchFunc(w.changes, p.place, func(c Change, p Place) int { return c.Place.Compare(p) })
	if found {
		i++
	}
	rest := w.changes[i:]
	if latest {
		rest = lastOfEach(rest)
	}
	n = feedNews{covered: true, to: w.to, end: w.end && time.Since(s.hub.asked) < feedStale, more: w.news, broken: s.hub.broken}
	w.behind = w.behind || !n.end
	if n.changes = slices.Clone(rest[:min(feedAtOnce, len(rest))]); len(n.changes) < len(rest) {
		n.to, n.end = n.changes[len(n.changes)-1].Place, false
	}
	return n, nil
}

// lastOfEach returns, in their order, the changes after which none of the same record follows.
func lastOfEach(changes []Change) []Change {
	seen := make(map[OperationID]bool, len(changes))
	var last []Change
	for _, c := range slices.Backward(changes) {
		if !seen[c.Record.ID] {
			seen[c.Record.ID] = true
			last = append(last, c)
		}
	}
	slices.Reverse(last)
	return last
}

// fail ends a stream, which then tells why.
func (s *feedStream) fail(err error) {
	s.err = err
	s.tell()
	if !s.isReady {
		s.isReady = true
		close(s.ready)
	}
}

func (s *feedStream) tell() {
	close(s.news)
	s.news = make(chan struct{})
}

// size returns how many follow, and how much is kept.
func (h *feedHub) size() (readers, changes int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seats, len(h.kept)
}

// close ends all streams, and returns when nothing runs any more.
func (h *feedHub) close() {
	h.mu.Lock()
	h.closed = true
	h.cancel()
	h.drop(ErrFeedClosed)
	over := h.over
	h.mu.Unlock()
	if over != nil {
		h.call()
		<-over
	}
}

// drop ends all streams.
func (h *feedHub) drop(err error) {
	for c, s := range h.streams {
		s.fail(err)
		delete(h.streams, c)
		h.dirty.Delete(c)
	}
	h.kept, h.bytes = nil, 0
	h.some.Store(0)
}

// run asks for all until nobody follows.
func (h *feedHub) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var at FeedQuery // where the streams that are ready end
	begun, heldPause := false, feedLeast
	for {
		callers, idle := h.next(at, begun)
		if idle {
			return
		}
		q := FeedQuery{Limit: 1} // where the feed ends
		if begun {
			q = FeedQuery{Callers: callers, After: at.After, History: at.History, Limit: feedAtOnce}
		}
		page, err := h.query(h.ctx, q)
		pause := feedPause*3/4 + h.spread(feedPause/2)
		switch {
		case errors.Is(err, ErrFeedLost):
			h.lost()
			begun, pause = false, 0
		case err != nil: // those who follow wait: the next query may be answered
			h.unanswered(err)
		default:
			h.publish(page)
			at.After, at.History = page.Next, page.History
			switch {
			case !begun || !page.End:
				begun, pause = true, 0
			case len(page.Held) > 0 || page.AllHeld:
				pause, heldPause = min(pause, heldPause), min(heldPause*3/2, feedPause)
			default:
				heldPause = feedLeast
			}
		}
		if pause == 0 {
			continue
		}
		timer.Reset(min(pause, feedLeast))
		<-timer.C
		timer.Reset(max(pause-feedLeast, 0))
		select {
		case <-timer.C:
		case <-h.wake:
		}
	}
}

// next returns who is followed, drops what nobody needs any more, and lets new streams begin where the query
// that comes next begins.
func (h *feedHub) next(at FeedQuery, begun bool) (callers []Caller, idle bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, dropped := time.Now(), false
	for c, s := range h.streams {
		if s.seats == 0 && now.Sub(s.idle) > feedLinger {
			s.err, dropped = ErrFeedClosed, true
			delete(h.streams, c)
			h.dirty.Delete(c)
			continue
		}
		s.dirty.Store(false)
		if begun && !s.isReady {
			s.isReady, s.history, s.from, s.to = true, at.History, at.After, at.After
			close(s.ready)
		}
		callers = append(callers, c)
	}
	if dropped {
		h.kept = slices.DeleteFunc(h.kept, func(k keptChange) bool {
			if k.stream.err != nil {
				h.bytes -= k.bytes
			}
			return k.stream.err != nil
		})
	}
	h.some.Store(int64(len(h.streams)))
	if len(h.streams) == 0 {
		close(h.over)
		h.over = nil
		return nil, true
	}
	slices.Sort(callers) // a run can be repeated
	return callers, false
}

// unanswered notes that nobody knows what has come. Whoever has only just come is told why; the others wait.
func (h *feedHub) unanswered(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken = err
	for c, s := range h.streams {
		if s.end = false; !s.isReady {
			s.fail(err)
			delete(h.streams, c)
			h.dirty.Delete(c)
		}
	}
	h.some.Store(int64(len(h.streams)))
}

// publish gives a page to the streams that it was asked for, and tells those who wait for what is in it.
func (h *feedHub) publish(page FeedPage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked, h.broken = time.Now(), nil
	told := map[*feedStream]bool{}
	for _, c := range page.Changes {
		s := h.streams[c.Record.Operation.Caller]
		if s == nil || !s.isReady || c.Place.Compare(s.to) <= 0 {
			continue
		}
		s.changes = append(s.changes, c)
		k := keptChange{s, sizeOf(&c.Record)}
		h.kept, h.bytes, told[s] = append(h.kept, k), h.bytes+k.bytes, true
	}
	for c, s := range h.streams {
		if s.isReady && page.Next.Compare(s.to) >= 0 {
			if s.to, s.end = page.Next, page.End && !page.AllHeld && !page.Held[c]; s.end && s.behind {
				s.behind, told[s] = false, true
			}
		}
	}
	for len(h.kept) > h.most || h.bytes > feedKeptBytes {
		h.evict()
	}
	for s := range told {
		s.tell()
	}
}

// evict forgets the oldest change that is kept. Who has not come for it reads it from the store.
func (h *feedHub) evict() {
	k := h.kept[0]
	h.kept[0] = keptChange{}
	h.kept, h.bytes = h.kept[1:], h.bytes-k.bytes
	k.stream.from = k.stream.changes[0].Place
	k.stream.changes[0] = Change{}
	k.stream.changes = k.stream.changes[1:]
}

// keptChange is the oldest change of a stream that is kept before the others of the hub.
type keptChange struct {
	stream *feedStream
	bytes  int
}

// sizeOf estimates the memory of a record.
func sizeOf(r *Record) int {
	n := 600 + len(r.Operation.Caller) + len(r.Operation.Key) + len(r.Target)
	if r.Response != nil {
		for name, values := range r.Response.Header {
			for _, v := range values {
				n += 64 + len(name) + len(v)
			}
		}
	}
	return n
}

// lost ends all streams: the store's history is another one, and what readers know of it has expired.
func (h *feedHub) lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drop(ErrCursorExpired)
}
