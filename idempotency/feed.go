package idempotency

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"time"
)

// The feed is what changed, in an order in which nothing appears before a place that somebody has read past:
// a store's commits, as far as no earlier one can still come. A record stands in it once, where it changed
// last. So whoever reads on from where he was hears of each record that has changed since, at its latest
// state, and reading from the start is the list of all.
//
// What changes by age alone, a completed record that is forgotten or a lease that runs out, nobody writes, so
// it is not in the feed: a record says itself when its content expires, and the doubt about a lost owner is
// written by the next sweep.

// Place is a place in the feed, between changes or on one. The zero place is the start.
type Place struct {
	Commit uint64 // in the store's order of commits, from 1 on; 0 for what is older than the feed
	// ID orders the changes of one commit. In commit 0 it may mean something else to the store.
	ID OperationID
}

// Compare orders places.
func (p Place) Compare(q Place) int {
	if c := cmp.Compare(p.Commit, q.Commit); c != 0 {
		return c
	}
	return bytes.Compare(p.ID[:], q.ID[:])
}

// EndOf returns the place after everything in a commit.
func EndOf(commit uint64) Place {
	p := Place{Commit: commit}
	for i := range p.ID {
		p.ID[i] = 0xff
	}
	return p
}

// FeedHistory names what a store's commits are numbered in. A store that was restored, or whose server
// was replaced, begins another one, in which a place of the former says nothing.
type FeedHistory [16]byte

// Change is a record, where it changed last.
type Change struct {
	Place  Place
	Record Record // whatever its response's Replayable says, without the body
}

// FeedQuery asks for what has changed of some callers' records.
type FeedQuery struct {
	Callers []Caller
	After   Place
	History FeedHistory // of After; not looked at for the start
	Limit   int         // of changes; at least 1
}

// FeedPage is a part of the feed.
type FeedPage struct {
	Changes []Change // in order
	Next    Place    // where to go on. It may be further than the last change, or as far as before
	// End says that there is nothing after Next now. Without it there may be more, although the page is not
	// full, or empty.
	End bool
	// Held are those of the callers of whom something is committed that the page must not show yet: an
	// earlier commit may still come. Of all of them, if AllHeld.
	Held     map[Caller]bool
	AllHeld  bool
	Last     Place // the last place that can be read now
	History  FeedHistory
	Observed time.Time
}

// ErrFeedLost says that a place is none of the store's present history.
var ErrFeedLost = errors.New("the store's history is another one than that of the place in its feed")

// FeedStore reads the feed.
type FeedStore interface {
	// Feed reads a page, at one instant. What it looks at is bounded, so that a page may be empty and not the
	// end. The error is ErrFeedLost, or the store's.
	Feed(ctx context.Context, q FeedQuery) (FeedPage, error)
	// FeedSecret returns what this store's cursors are signed with: 32 or more bytes, the same for all gateways.
	FeedSecret(ctx context.Context) ([]byte, error)
	// FeedLag returns for how long the oldest change has been committed that cannot be shown yet; 0 if there
	// is none.
	FeedLag(ctx context.Context) (time.Duration, error)
}
