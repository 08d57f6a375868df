package idempotency

import (
	"context"
	"errors"
	"time"
)

// Feed lets callers read what changed of their records, and follow it. It reads the store, and knows nothing
// itself: whatever it keeps for those who follow is there to spare queries. The end of a context ends waits, and
// no query.
type Feed struct {
	store  FeedStore
	secret feedSecret
	keep   time.Duration // how old a cursor may become
	limit  time.Duration // of each query
	now    func() time.Time
	seen   func(*Record) // hears of what is read before readers do; may be nil
	hub    *feedHub
}

// FeedOptions of a Feed.
type FeedOptions struct {
	Keep    time.Duration    // how long records are kept; older cursors have expired. Required
	Timeout time.Duration    // of each query. Default 5 s
	Now     func() time.Time // Default time.Now
	// Spread returns a part of most; so that gateways do not ask in step. Default: by chance.
	Spread func(most time.Duration) time.Duration
}

// NewFeed returns a feed. Close ends it.
func NewFeed(store FeedStore, o FeedOptions) *Feed {
	if o.Timeout <= 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Spread == nil {
		o.Spread = func(most time.Duration) time.Duration { return chance{}.Spread(OperationID{}, most) }
	}
	f := &Feed{store: store, secret: feedSecret{store: store}, keep: o.Keep, limit: o.Timeout, now: o.Now}
	f.hub = newFeedHub(f.query, o.Spread)
	return f
}

// Changed says that this gateway has written something about a caller's record. It does not block.
func (f *Feed) Changed(c Caller) { f.hub.changed(c) }

// Close ends what runs for those who follow: they are told ErrFeedClosed.
func (f *Feed) Close() { f.hub.close() }

// Following returns how many follow, and how many changes are kept for them.
func (f *Feed) Following() (readers, changes int) { return f.hub.size() }

func (f *Feed) query(ctx context.Context, q FeedQuery) (FeedPage, error) {
	ctx, cancel := context.WithTimeout(ctx, f.limit)
	defer cancel()
	page, err := f.store.Feed(ctx, q)
	if f.seen != nil {
		for i := range page.Changes {
			f.seen(&page.Changes[i].Record)
		}
	}
	return page, err
}

// Reading is one reader's way along the feed of one caller. It is used by one goroutine.
type Reading struct {
	feed   *Feed
	caller Caller
	states StateSet // none: whatever it is
	secret []byte
	at     position
	begun  bool
	seat   *feedSeat
	// caughtUp is what the last Follow, Await or Poll said.
	caughtUp bool
}

// Item is a record that has changed, and the cursor that goes on after it.
type Item struct {
	Record Record // without the body of its answer
	place  Place
}

// Open begins to read, behind a cursor or, if that is empty, at the start: only records in one of some
// states, unless that is none, and such as may have left them. The error is ErrCursorExpired or the store's.
func (f *Feed) Open(ctx context.Context, caller Caller, states StateSet, cursor string) (*Reading, error) {
	r := &Reading{feed: f, caller: caller, states: states}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.limit)
	defer cancel()
	ok := cursor == ""
	for _, fresh := range []bool{false, true} {
		var err error
		if r.secret, err = f.secret.get(ctx, fresh); err != nil {
			return nil, err
		}
		if ok {
			return r, nil
		}
		if r.at, ok = parseCursor(cursor, r.secret, caller, states); ok {
			break
		}
	}
	if !ok || f.now().Sub(r.at.issued) > f.keep {
		return nil, ErrCursorExpired
	}
	r.begun = r.at.place != (Place{})
	return r, nil
}

// Cursor returns where the reading is.
func (r *Reading) Cursor() string {
	p := r.at
	p.issued = r.feed.now()
	return p.cursor(r.secret, r.caller, r.states)
}

// CursorAfter returns the cursor that goes on after one of the items that were read last.
func (r *Reading) CursorAfter(i Item) string {
	p := r.at
	p.place, p.issued = i.place, r.feed.now()
	return p.cursor(r.secret, r.caller, r.states)
}

// pagesAtOnce is how many pages of the store one Read may look at, where few of them are asked for.
const pagesAtOnce = 8

// Read reads at most limit items. CaughtUp says that these were all that had been committed when it began;
// without it there may be more, although there are fewer items than the limit, or none. The error is
// ErrCursorExpired or the store's.
func (r *Reading) Read(ctx context.Context, limit int) (items []Item, caughtUp bool, err error) {
	items, end, held, err := r.read(ctx, limit)
	return items, end && !held, err
}

// read also says whether these were all that can be read now, and whether more is held back.
func (r *Reading) read(ctx context.Context, limit int) (items []Item, end, held bool, err error) {
	for range pagesAtOnce {
		page, err := r.page(ctx, limit+1) // so that the last page says that it is
		if err != nil {
			return nil, false, false, err
		}
		whole := r.take(&items, page.Changes, page.Next, limit)
		if !whole || page.End || len(items) >= limit {
			return items, whole && page.End, page.AllHeld || page.Held[r.caller], nil
		}
	}
	return items, false, false, nil
}

func (r *Reading) page(ctx context.Context, limit int) (FeedPage, error) {
	page, err := r.feed.query(context.WithoutCancel(ctx), FeedQuery{Callers: []Caller{r.caller}, After: r.at.place, History: r.at.history, Limit: limit})
	if errors.Is(err, ErrFeedLost) {
		return page, ErrCursorExpired
	}
	if err == nil && !r.begun {
		r.begun, r.at.listed = true, page.Last.Commit
	}
	r.at.history = page.History
	return page, err
}

// take goes over changes up to a place, and reports whether all that are asked for had room.
func (r *Reading) take(items *[]Item, changes []Change, to Place, limit int) bool {
	for _, c := range changes {
		if c.Place.Compare(r.at.place) <= 0 {
			continue
		}
		if r.asks(c) {
			if len(*items) == limit {
				return false
			}
			*items = append(*items, Item{Record: c.Record, place: c.Place})
		}
		r.at.place = c.Place
	}
	if to.Compare(r.at.place) > 0 {
		r.at.place = to
	}
	return true
}

// asks reports whether the reader is to hear of a change: of a record in a state that he asks for, and once
// he has the list also of one that was in such a state before.
func (r *Reading) asks(c Change) bool {
	return r.states == 0 || r.states.Has(c.Record.Believed()) || c.Place.Commit > r.at.listed && c.Record.Been&r.states != 0
}

// Pauses between looks at what is committed but cannot be read yet.
const (
	firstHeldPause = 5 * time.Millisecond
	lastHeldPause  = 80 * time.Millisecond
)

// ReadHeld is Read, and waits up to patience for what is committed and held back by an earlier commit that
// may still come: most often that takes some milliseconds.
func (r *Reading) ReadHeld(ctx context.Context, limit int, patience time.Duration) (items []Item, caughtUp bool, err error) {
	end := time.Now().Add(patience)
	for pause := firstHeldPause; ; pause = min(2*pause, lastHeldPause) {
		items, caughtUp, err = r.Read(ctx, limit)
		if err != nil || caughtUp || len(items) > 0 || time.Now().Add(pause).After(end) {
			return items, caughtUp, err
		}
		select {
		case <-ctx.Done():
			return items, caughtUp, nil
		case <-time.After(pause):
		}
	}
}

// Follow reads what comes: it returns as soon as there are items, at most limit, or with none when the reader has
// caught up and the call before did not say so, or when the timer or ctx ends. CaughtUp is as in Read, as of a moment
// ago. The error is ErrCursorExpired, ErrFeedClosed or the store's. A reading that follows must be left.
func (r *Reading) Follow(ctx context.Context, limit int, timer <-chan time.Time) (items []Item, caughtUp bool, err error) {
	return r.follow(ctx, limit, timer, false, false)
}

// Await is Follow for a list: of each record it returns the last change only. Without a single item it is an
// error that the store did not answer in the end.
func (r *Reading) Await(ctx context.Context, limit int, timer <-chan time.Time) (items []Item, caughtUp bool, err error) {
	return r.follow(ctx, limit, timer, false, true)
}

// Poll is Follow for what has come by now: of each record the last change only, as whoever comes back needs it.
func (r *Reading) Poll(ctx context.Context, limit int) (items []Item, caughtUp bool, err error) {
	return r.follow(ctx, limit, nil, true, false)
}

func (r *Reading) follow(ctx context.Context, limit int, timer <-chan time.Time, over, list bool) (items []Item, caughtUp bool, err error) {
	defer func() { r.caughtUp = caughtUp }()
	if r.seat == nil {
		r.seat = r.feed.hub.sit(r.caller)
	}
	select {
	case <-r.seat.stream.ready: // before reading by himself, so that no change falls between the two
	case <-timer:
		return nil, false, nil
	case <-ctx.Done():
		return nil, false, nil
	}
	latest := list || over
	for {
		news, err := r.seat.look(r.at, r.begun, latest)
		if err != nil {
			return nil, false, err
		}
		if news.covered {
			caughtUp = r.take(&items, news.changes, news.to, limit) && news.end
		} else if items, caughtUp, err = r.catchUp(ctx, limit); err != nil {
			return nil, false, err
		}
		switch {
		case len(items) == 0 && over && list && news.broken != nil:
			return nil, false, news.broken
		case len(items) > 0, over && (news.covered || caughtUp), caughtUp && !r.caughtUp && !list, ctx.Err() != nil:
			return items, caughtUp, nil
		}
		if !news.covered {
			continue
		}
		select {
		case <-news.more:
		case <-timer:
			over = true
		case <-ctx.Done():
		}
	}
}

// catchUp reads without the stream, which begins later, or goes on later because the reader did not come for
// what was kept; when it is the reader's turn.
func (r *Reading) catchUp(ctx context.Context, limit int) (items []Item, caughtUp bool, err error) {
	release, err := r.feed.hub.turn(ctx)
	if err != nil {
		return nil, false, nil // it is ctx that ended
	}
	defer release()
	begins := r.seat.begins()
	items, end, held, err := r.read(ctx, limit)
	if end && begins.Compare(r.at.place) > 0 {
		r.at.place = begins // that was earlier than this look, and there is nothing in between
	}
	return items, end && !held, err
}

// Leave ends following.
func (r *Reading) Leave() {
	if r.seat != nil {
		r.seat.leave()
		r.seat = nil
	}
}
