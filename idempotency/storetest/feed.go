package storetest

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// feedPatience is how long a change may be held back by what other tests do on the same server.
const feedPatience = 2 * time.Minute

// reader follows the feed of some callers.
type reader struct {
	w       *world
	callers []idempotency.Caller
	limit   int
	after   idempotency.Place
	history idempotency.FeedHistory
}

func (w *world) reader(limit int, callers ...idempotency.Caller) *reader {
	return &reader{w: w, callers: callers, limit: limit}
}

// page reads one page, and checks what every page must be.
func (r *reader) page() idempotency.FeedPage {
	r.w.Helper()
	page, err := r.w.Store.Feed(background, idempotency.FeedQuery{Callers: r.callers, After: r.after, History: r.history, Limit: r.limit})
	if err != nil {
		r.w.Fatal("feed:", err)
	}
	if len(page.Changes) > r.limit {
		r.w.Fatalf("feed: %d changes, limit %d", len(page.Changes), r.limit)
	}
	before := r.after
	for _, c := range page.Changes {
		if c.Place.Compare(before) <= 0 || c.Place.Compare(page.Next) > 0 {
			r.w.Fatalf("feed: %v comes after %v, in a page that ends at %v", c.Place, before, page.Next)
		}
		if !slices.Contains(r.callers, c.Record.Operation.Caller) {
			r.w.Fatalf("feed: a record of %q", c.Record.Operation.Caller)
		}
		before = c.Place
	}
	if page.Next.Compare(before) < 0 {
		r.w.Fatalf("feed: the page ends at %v, before %v", page.Next, before)
	}
	r.after, r.history = page.Next, page.History
	return page
}

// rest reads everything that is committed by now.
func (r *reader) rest() (changes []idempotency.Change) {
	r.w.Helper()
	for deadline := time.Now().Add(feedPatience); time.Now().Before(deadline); {
		page := r.page()
		changes = append(changes, page.Changes...)
		if page.End && len(page.Held) == 0 && !page.AllHeld {
			return changes
		}
	}
	r.w.Fatal("feed: something is held back and does not come")
	return nil
}

// hears checks that what is new are these records, in some order, as they are found.
func (r *reader) hears(ids ...idempotency.OperationID) []idempotency.Change {
	r.w.Helper()
	changes, ids := r.rest(), slices.Clone(ids)
	heard := make([]idempotency.OperationID, len(changes))
	for i, c := range changes {
		heard[i] = c.Record.ID
		found := r.w.find(c.Record.ID)
		if found.Response != nil {
			found.Response.Body = nil
		}
		if err := sameRecord(c.Record, found); err != nil {
			r.w.Error("feed:", err)
		}
	}
	compare := func(a, b idempotency.OperationID) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(heard, compare)
	slices.SortFunc(ids, compare)
	if !slices.Equal(heard, ids) {
		r.w.Fatalf("feed: %d changes %v, want %v", len(heard), heard, ids)
	}
	return changes
}

func (w *world) operationOf(c idempotency.Caller) idempotency.Operation {
	o := w.operation()
	o.Caller = c
	return o
}

func testFeed(w *world) {
	w.in("every move", testFeedMoves)
	w.in("order", testFeedOrder)
	w.in("pages", testFeedPages)
	w.in("callers", testFeedCallers)
	w.in("many", testFeedMany)
	w.in("followed", testFeedFollowed)
	w.in("states before", testFeedBeen)
	w.in("sweep", testFeedSweep)
	w.in("purge", testFeedPurge)
	w.in("history", testFeedHistory)
}

// testFeedMoves makes each kind of move, and each must be heard of, once; what changes nothing, never.
func testFeedMoves(w *world) {
	w.acquire()
	r := w.reader(100, "feed-moves")
	o := w.operationOf("feed-moves")
	id := o.ID()
	r.hears()
	a := w.granted(w.claim(o))
	r.hears(id)
	w.one(w.claim(o)) // it is executing
	r.hears()
	w.must(release(a))
	r.hears(id)
	w.must(release(a)) // again
	r.hears()
	a = w.granted(w.claim(o))
	r.hears(id)
	w.must(doubt(a))
	r.hears(id)
	w.one(note(id, a.N))
	r.hears()
	w.must(resolve(id, a.N, idempotency.VerdictNotExecuted))
	r.hears(id)
	w.must(cancel(o))
	r.hears(id)
	w.one(complete(a)) // a contradiction
	r.hears(id)
	w.one(complete(a))
	r.hears()

	o = w.operationOf("feed-moves")
	a = w.granted(w.resend(o))
	w.must(doubt(a))
	r.hears(o.ID())
	w.granted(w.resend(o))
	r.hears(o.ID())
	w.must(complete(a)) // late
	r.hears(o.ID())
	w.must(idempotency.Acknowledge{Operation: o.ID()})
	r.hears(o.ID())
	w.must(idempotency.Acknowledge{Operation: o.ID()})
	r.hears()

	o = w.operationOf("feed-moves")
	w.must(cancel(o)) // a tombstone
	r.hears(o.ID())

	o = w.operationOf("feed-moves")
	w.must(complete(w.granted(w.claim(o))))
	changes := r.hears(o.ID())
	if h := changes[0].Record.Response.Header["Content-Type"]; !slices.Equal(h, []string{"application/json"}) {
		w.Errorf("feed: the answer's fields are %q", changes[0].Record.Response.Header)
	}

	o = w.operationOf("feed-moves")
	c := w.claim(o)
	c.Attempt.N = 1
	w.must(idempotency.Import{Claim: c, Response: response(), Evidence: "journal"})
	r.hears(o.ID())

	o = w.operationOf("feed-moves")
	c = w.claim(o)
	c.Attempt.N = 1
	w.must(idempotency.Import{Claim: c, Evidence: "journal"})
	r.hears(o.ID())
	w.must(resolve(o.ID(), 1, idempotency.VerdictExecuted))
	r.hears(o.ID())
	if all := w.reader(3, "feed-moves").rest(); len(all) != 6 {
		w.Errorf("feed: %d records from the start, want 6", len(all))
	}
}

// testFeedOrder checks that a record stands where it changed last.
func testFeedOrder(w *world) {
	w.acquire()
	r := w.reader(100, "feed-order")
	first, second := w.operationOf("feed-order"), w.operationOf("feed-order")
	a := w.granted(w.claim(first))
	w.granted(w.claim(second))
	w.must(complete(a))
	changes := r.hears(first.ID(), second.ID())
	if changes[0].Record.ID != second.ID() || changes[1].Record.ID != first.ID() {
		w.Error("feed: the record that changed last is not the last one")
	}
}

// testFeedPages reads one commit in parts.
func testFeedPages(w *world) {
	w.acquire()
	var claims []idempotency.Transition
	var ids []idempotency.OperationID
	for range 20 {
		o := w.operationOf("feed-pages")
		claims, ids = append(claims, w.claim(o)), append(ids, o.ID())
	}
	follower := w.reader(3, "feed-pages")
	follower.hears()
	results := w.apply(claims...)
	w.reader(7, "feed-pages").hears(ids...)
	follower.hears(ids...)
	var completes []idempotency.Transition
	for _, r := range results[:9] {
		completes = append(completes, complete(r.Record.Attempt))
	}
	w.apply(completes...)
	w.reader(4, "feed-pages").hears(ids...)
	follower.hears(ids[:9]...)
}

// testFeedCallers checks that callers do not hear of each other.
func testFeedCallers(w *world) {
	w.acquire()
	one, two, both := w.reader(10, "feed-one"), w.reader(10, "feed-two"), w.reader(10, "feed-one", "feed-two")
	both.after, both.history = one.page().Next, one.history
	a, b := w.operationOf("feed-one"), w.operationOf("feed-two")
	w.apply(w.claim(a), w.claim(b))
	one.hears(a.ID())
	two.hears(b.ID())
	both.hears(a.ID(), b.ID())
	w.reader(10, "feed-three").hears()
	page, err := w.Store.Feed(background, idempotency.FeedQuery{Limit: 1})
	if err != nil || len(page.Changes) != 0 || !page.End || page.Next != page.Last {
		w.Errorf("feed of nobody: %+v, error %v", page, err)
	}
}

// testFeedBeen checks that a reader can tell in which states a record was.
func testFeedBeen(w *world) {
	w.acquire()
	r := w.reader(10, "feed-been")
	plain, doubtful, released := w.operationOf("feed-been"), w.operationOf("feed-been"), w.operationOf("feed-been")
	w.must(complete(w.granted(w.claim(plain))))
	a := w.granted(w.claim(doubtful))
	w.must(doubt(a))
	w.must(complete(a))
	w.must(idempotency.Acknowledge{Operation: doubtful.ID()})
	w.must(release(w.granted(w.claim(released))))
	w.must(complete(w.granted(w.claim(released))))
	been := map[idempotency.OperationID]idempotency.StateSet{}
	for _, c := range r.hears(plain.ID(), doubtful.ID(), released.ID()) {
		been[c.Record.ID] = c.Record.Been
	}
	for _, c := range []struct {
		id    idempotency.OperationID
		state idempotency.State
		want  bool
	}{
		{plain.ID(), idempotency.Executing, true},
		{plain.ID(), idempotency.Unknown, false},
		{plain.ID(), idempotency.NotExecuted, false},
		{doubtful.ID(), idempotency.Unknown, true},
		{doubtful.ID(), idempotency.Completed, true},
		{doubtful.ID(), idempotency.NotExecuted, false},
		{released.ID(), idempotency.NotExecuted, true},
		{released.ID(), idempotency.Unknown, false},
	} {
		if got := been[c.id].Has(c.state); got != c.want {
			w.Errorf("feed: record %v has been %v: %v, want %v", c.id, c.state, got, c.want)
		}
	}
}

// testFeedSweep checks that the doubt about a lost owner is heard of once it is written, and the answer
// that comes all the same.
func testFeedSweep(w *world) {
	w.acquire()
	r := w.reader(10, "feed-sweep")
	o := w.operationOf("feed-sweep")
	a := w.granted(w.claim(o))
	r.hears(o.ID())
	w.pass(5 * step) // longer than a lease
	if _, err := w.Store.Sweep(background); err != nil {
		w.Fatal(err)
	}
	r.hears(o.ID())
	w.one(complete(a))
	if c := r.hears(o.ID())[0]; !c.Record.Been.Has(idempotency.Unknown) || c.Record.State != idempotency.Completed {
		w.Errorf("feed: the record is %v, and has been %b", c.Record.State, c.Record.Been)
	}
	// An answer that comes before the sweep finds the record in doubt, too.
	o = w.operationOf("feed-sweep")
	a = w.granted(w.claim(o))
	w.pass(5 * step)
	w.one(complete(a))
	if c := r.hears(o.ID())[0]; !c.Record.Been.Has(idempotency.Unknown) {
		w.Errorf("feed: the record was in doubt, and has been %b", c.Record.Been)
	}
}

// testFeedPurge checks that what is left is heard of from however old a place.
func testFeedPurge(w *world) {
	w.acquire()
	r := w.reader(10, "feed-purge")
	start := *r
	r.hears()
	old := *r
	done, open := w.operationOf("feed-purge"), w.operationOf("feed-purge")
	w.must(complete(w.granted(w.claim(done))))
	w.must(doubt(w.granted(w.claim(open))))
	w.pass(Keep.Key + Grace + 2*step)
	for range 3 {
		if _, _, err := w.Store.Purge(background, 1000); err != nil {
			w.Fatal(err)
		}
	}
	late := w.operationOf("feed-purge")
	w.granted(w.claim(late))
	for _, r := range []reader{start, old} {
		changes := r.hears(open.ID(), late.ID())
		if changes[0].Record.ID != open.ID() {
			w.Error("feed: the order has changed")
		}
	}
}

// testFeedHistory checks that a place of another history is refused.
func testFeedHistory(w *world) {
	w.acquire()
	r := w.reader(10, "feed-history")
	w.granted(w.claim(w.operationOf("feed-history")))
	r.rest()
	other := r.history
	other[3] ^= 1
	for name, q := range map[string]idempotency.FeedQuery{
		"other history": {Callers: r.callers, After: r.after, History: other, Limit: 1},
		"in the future": {Callers: r.callers, After: idempotency.EndOf(1 << 60), History: r.history, Limit: 1},
	} {
		if _, err := w.Store.Feed(background, q); !errors.Is(err, idempotency.ErrFeedLost) {
			w.Errorf("%s: error %v", name, err)
		}
	}
	secret, err := w.Store.FeedSecret(background)
	again, _ := w.Store.FeedSecret(background)
	if err != nil || len(secret) < 32 || !bytes.Equal(secret, again) {
		w.Errorf("secret of %d and %d bytes, error %v", len(secret), len(again), err)
	}
	if _, err := w.Store.FeedLag(background); err != nil {
		w.Error("lag:", err)
	}
}

// testFeedMany lists a caller who has too many records to look at all of them, while others write.
func testFeedMany(w *world) {
	w.acquire()
	const batches, size = 22, 100
	r := w.reader(300, "feed-many")
	follower := *r
	follower.rest()
	seen := map[idempotency.OperationID]idempotency.State{}
	var completes []idempotency.Transition
	for i := range batches {
		ts := []idempotency.Transition{w.claim(w.operationOf("feed-other"))}
		for range size {
			o := w.operationOf("feed-many")
			seen[o.ID()] = idempotency.Executing
			ts = append(ts, w.claim(o))
		}
		results := w.apply(ts...)
		if i%7 == 0 {
			for _, r := range results[1:9] {
				completes = append(completes, complete(r.Record.Attempt))
				seen[r.Record.ID] = idempotency.Completed
			}
		}
	}
	w.apply(completes...)
	for name, r := range map[string]*reader{"from the start": r, "from before": &follower} {
		at := map[idempotency.OperationID]idempotency.State{}
		for _, c := range r.rest() {
			if _, twice := at[c.Record.ID]; twice {
				w.Errorf("%s: a record is there twice", name)
			}
			at[c.Record.ID] = c.Record.State
		}
		if len(at) != len(seen) {
			w.Errorf("%s: %d records, want %d", name, len(at), len(seen))
		}
		for id, want := range seen {
			if at[id] != want {
				w.Errorf("%s: record %v is %v, want %v", name, id, at[id], want)
			}
		}
	}
}

// testFeedFollowed lets a reader follow while several gateways write: at the end he must have heard of each
// record as it is.
func testFeedFollowed(w *world) {
	w.acquire()
	handles := []Store{w.Store}
	if w.Second != nil {
		handles = append(handles, w.Second(w.T))
	}
	const writers, rounds = 4, 25
	var claims [writers][rounds][]idempotency.Transition
	var ids []idempotency.OperationID
	for i := range claims {
		for j := range claims[i] {
			for range 1 + (i+j)%3 {
				c := w.claim(w.operationOf("feed-followed"))
				claims[i][j], ids = append(claims[i][j], c), append(ids, c.Target())
			}
		}
	}
	r := w.reader(5, "feed-followed")
	heard := map[idempotency.OperationID]idempotency.Record{}
	hear := func(changes []idempotency.Change) {
		for _, c := range changes {
			if before := heard[c.Record.ID]; c.Record.Revision <= before.Revision {
				w.Errorf("feed: revision %d after %d", c.Record.Revision, before.Revision)
			}
			heard[c.Record.ID] = c.Record
		}
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range writers {
		wg.Go(func() {
			for j, batch := range claims[i] {
				if err := live(handles[(i+j)%len(handles)], batch, j); err != nil {
					w.Error(err)
				}
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	for writing := true; writing; {
		select {
		case <-done:
			writing = false
		default:
			hear(r.page().Changes)
		}
	}
	hear(r.rest())
	for _, id := range ids {
		if found := w.find(id); heard[id].Revision != found.Revision || heard[id].State != found.State {
			w.Errorf("feed: record %v was heard of last as %v, revision %d; it is %v, revision %d", id, heard[id].State, heard[id].Revision, found.State, found.Revision)
		}
	}
}

// live leads a batch of claims to one of several ends.
func live(s Store, claims []idempotency.Transition, way int) error {
	results, err := applyTo(s, claims)
	if err != nil {
		return err
	}
	for step := range 2 {
		var next []idempotency.Transition
		for _, r := range results {
			a := r.Record.Attempt
			switch (way + step) % 4 {
			case 0:
				next = append(next, complete(a))
			case 1:
				next = append(next, doubt(a))
			case 2:
				next = append(next, release(a))
			}
		}
		if _, err := applyTo(s, next); err != nil {
			return err
		}
	}
	return nil
}
