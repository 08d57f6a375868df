package idempotency_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

// What readers ask for.
var (
	everything  = idempotency.StateSet(0)
	cancelled   = everything.With(idempotency.Cancelled)
	inDoubtOnly = everything.With(idempotency.Unknown)
	unsettled   = inDoubtOnly.With(idempotency.Executing)
)

// feedStore counts queries, and can hold back, fail or be slow.
type feedStore struct {
	*storetest.Model
	queries atomic.Int64
	callers atomic.Int64 // of the last query
	held    atomic.Bool
	broken  atomic.Bool
	frozen  atomic.Bool
	takes   time.Duration
}

func (s *feedStore) Feed(ctx context.Context, q idempotency.FeedQuery) (idempotency.FeedPage, error) {
	s.queries.Add(1)
	s.callers.Store(int64(len(q.Callers)))
	if s.broken.Load() {
		return idempotency.FeedPage{}, errors.New("broken")
	}
	if s.frozen.Load() {
		<-ctx.Done()
		return idempotency.FeedPage{}, ctx.Err()
	}
	if s.held.Load() {
		q.Limit = 1
		page, err := s.Model.Feed(ctx, q)
		page.Changes, page.Next, page.End = nil, q.After, true
		if q.After == (idempotency.Place{}) {
			page.Next = idempotency.EndOf(0)
		}
		page.AllHeld = true
		return page, err
	}
	page, err := s.Model.Feed(ctx, q)
	time.Sleep(s.takes)
	return page, err
}

const feedKeep = 10 * time.Hour

// feeding runs a test on a feed.
func feeding(t *testing.T, test func(t *testing.T, s *feedStore, f *idempotency.Feed)) {
	synctest.Test(t, func(t *testing.T) {
		s := &feedStore{Model: newModel(), takes: time.Millisecond}
		f := newFeed(s)
		defer f.Close()
		test(t, s, f)
	})
}

func newFeed(s *feedStore) *idempotency.Feed {
	return idempotency.NewFeed(s, idempotency.FeedOptions{Keep: feedKeep, Spread: func(most time.Duration) time.Duration { return most / 2 }})
}

func keyed(caller string, i int) idempotency.Operation {
	return idempotency.Operation{Caller: idempotency.Caller(caller), Key: idempotency.Key(name(i))}
}

// moves applies one commit.
func (s *feedStore) moves(t *testing.T, ts ...idempotency.Transition) {
	t.Helper()
	if _, err := s.Apply(t.Context(), ts); err != nil {
		t.Fatal(err)
	}
}

func (s *feedStore) claims(t *testing.T, o idempotency.Operation) idempotency.Attempt {
	t.Helper()
	a := idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: idempotency.Owner{Instance: [16]byte{1}, Epoch: 1}, N: 1}
	s.moves(t, idempotency.Claim{Attempt: a, Operation: o, Fingerprint: printOf(1), Budget: time.Hour, Retention: idempotency.Retention{Response: time.Hour, Key: feedKeep}})
	return a
}

func (s *feedStore) cancels(t *testing.T, o idempotency.Operation) {
	t.Helper()
	s.moves(t, idempotency.Cancel{Operation: o, Retention: idempotency.Retention{Key: feedKeep}})
}

func opened(t *testing.T, f *idempotency.Feed, caller string, states idempotency.StateSet, cursor string) *idempotency.Reading {
	t.Helper()
	r, err := f.Open(t.Context(), idempotency.Caller(caller), states, cursor)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func keysOf(items []idempotency.Item) (keys []string) {
	for _, i := range items {
		keys = append(keys, string(i.Record.Operation.Key))
	}
	return keys
}

// reads reads until it has caught up.
func reads(t *testing.T, r *idempotency.Reading, limit int) (keys []string) {
	t.Helper()
	for {
		items, caughtUp, err := r.Read(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, keysOf(items)...); caughtUp {
			return keys
		}
	}
}

func TestCursors(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		for i := range 3 {
			s.cancels(t, keyed("one", i))
		}
		r := opened(t, f, "one", cancelled, "")
		items, _, err := r.Read(t.Context(), 2)
		if err != nil || len(items) != 2 {
			t.Fatalf("%d items, error %v", len(items), err)
		}
		cursor := r.Cursor()
		if got := reads(t, opened(t, newFeed(s), "one", cancelled, cursor), 10); !slices.Equal(got, []string{name(2)}) {
			t.Errorf("another gateway goes on with %v", got)
		}
		if got := reads(t, opened(t, f, "one", cancelled, r.CursorAfter(items[0])), 10); !slices.Equal(got, []string{name(1), name(2)}) {
			t.Errorf("after the first of two it goes on with %v", got)
		}
		raw, _ := base64.RawURLEncoding.DecodeString(cursor)
		altered := map[string]string{"nonsense": "nonsense", "not base64": "*", "longer": cursor + "AA", "shorter": cursor[:len(cursor)-4], "other spelling": cursor + "="}
		for i := range raw {
			b := slices.Clone(raw)
			b[i] ^= 1
			altered[fmt.Sprintf("byte %d", i)] = base64.RawURLEncoding.EncodeToString(b)
		}
		for what, c := range altered {
			if _, err := f.Open(t.Context(), "one", cancelled, c); !errors.Is(err, idempotency.ErrCursorExpired) {
				t.Errorf("%s: error %v", what, err)
			}
		}
		for what, open := range map[string]func() (*idempotency.Reading, error){
			"other caller": func() (*idempotency.Reading, error) {
				return f.Open(t.Context(), "two", cancelled, cursor)
			},
			"any state": func() (*idempotency.Reading, error) { return f.Open(t.Context(), "one", everything, cursor) },
			"one state more": func() (*idempotency.Reading, error) {
				return f.Open(t.Context(), "one", cancelled.With(idempotency.NotExecuted), cursor)
			},
		} {
			if _, err := open(); !errors.Is(err, idempotency.ErrCursorExpired) {
				t.Errorf("%s: error %v", what, err)
			}
		}
		s.Replace()
		if _, _, err := opened(t, f, "one", cancelled, cursor).Read(t.Context(), 1); !errors.Is(err, idempotency.ErrCursorExpired) {
			t.Errorf("after the store was replaced: error %v", err)
		}
		time.Sleep(feedKeep + 2*time.Second)
		if _, err := f.Open(t.Context(), "one", cancelled, cursor); !errors.Is(err, idempotency.ErrCursorExpired) {
			t.Errorf("after its time: error %v", err)
		}
	})
}

// Who asks for a state gets the list of what is in it, on however many pages, and from then on hears also of
// what leaves it; and never of what was not in it.
func TestWhatLeavesAStateIsReported(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		keep := idempotency.Retention{Response: time.Hour, Key: feedKeep}
		if _, err := s.Acquire(t.Context(), idempotency.Instance{ID: [16]byte{1}}, time.Hour); err != nil {
			t.Fatal(err)
		}
		var inDoubt []idempotency.Attempt
		for i := range 6 {
			a := s.claims(t, keyed("one", i))
			switch i % 3 {
			case 0:
				s.moves(t, idempotency.Complete{Attempt: a, Response: answer("x"), Retention: keep})
			case 1:
				s.moves(t, idempotency.Doubt{Attempt: a, Cause: "timeout", Retention: keep})
				inDoubt = append(inDoubt, a)
			}
		}
		// One that has left it before anybody asked.
		gone := s.claims(t, keyed("one", 6))
		s.moves(t, idempotency.Doubt{Attempt: gone, Cause: "timeout", Retention: keep})
		s.moves(t, idempotency.Complete{Attempt: gone, Response: answer("x"), Retention: keep})

		r := opened(t, f, "one", inDoubtOnly, "")
		if got := reads(t, r, 1); !slices.Equal(got, []string{name(1), name(4)}) {
			t.Errorf("listed: %v", got)
		}
		several := opened(t, f, "one", unsettled, "")
		if got := reads(t, several, 1); !slices.Equal(got, []string{name(1), name(2), name(4), name(5)}) {
			t.Errorf("in several states: %v", got)
		}
		s.moves(t, idempotency.Complete{Attempt: inDoubt[0], Response: answer("x"), Retention: keep})
		s.moves(t, idempotency.Complete{Attempt: s.claims(t, keyed("one", 7)), Response: answer("x"), Retention: keep})
		s.moves(t, idempotency.Doubt{Attempt: s.claims(t, keyed("one", 8)), Cause: "timeout", Retention: keep})
		r = opened(t, f, "one", inDoubtOnly, r.Cursor())
		if got := reads(t, r, 10); !slices.Equal(got, []string{name(1), name(8)}) {
			t.Errorf("then: %v", got)
		}
		several = opened(t, f, "one", unsettled, several.Cursor())
		if got := reads(t, several, 10); !slices.Equal(got, []string{name(1), name(7), name(8)}) {
			t.Errorf("then, of several states: %v", got)
		}
	})
}

// follows follows until the test ends, and sends what it hears.
func follows(t *testing.T, r *idempotency.Reading) <-chan string {
	heard := make(chan string, 1000)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Leave()
		for ctx.Err() == nil {
			items, _, err := r.Follow(ctx, 10, nil)
			if err != nil {
				heard <- err.Error()
				return
			}
			for _, k := range keysOf(items) {
				heard <- k
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return heard
}

func TestFollowersHearInTime(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		s.cancels(t, keyed("one", 0))
		heard := follows(t, opened(t, f, "one", everything, ""))
		if got := <-heard; got != name(0) {
			t.Fatalf("first %s", got)
		}
		for i := 1; i < 20; i++ {
			time.Sleep(time.Duration(i) * 37 * time.Millisecond)
			begun, most := time.Now(), 300*time.Millisecond
			s.cancels(t, keyed("two", i))
			s.cancels(t, keyed("one", i))
			if i%2 == 0 {
				f.Changed("one")
				most = 50 * time.Millisecond
			}
			if got := <-heard; got != name(i) || time.Since(begun) > most {
				t.Errorf("%s instead of %s after %v, want at most %v", got, name(i), time.Since(begun), most)
			}
		}
		s.broken.Store(true)
		s.cancels(t, keyed("one", 20))
		time.Sleep(5 * time.Second)
		s.broken.Store(false)
		if got := <-heard; got != name(20) {
			t.Errorf("%s after the store was away", got)
		}
		s.held.Store(true)
		s.cancels(t, keyed("one", 21))
		time.Sleep(5 * time.Second)
		if len(heard) > 0 {
			t.Error("what was held back was shown")
		}
		s.held.Store(false)
		if got := <-heard; got != name(21) {
			t.Errorf("%s after it was held back", got)
		}
		s.Replace()
		if got := <-heard; got != idempotency.ErrCursorExpired.Error() {
			t.Errorf("%s after the store was replaced", got)
		}
	})
}

// Two thousand follow, each a caller of its own: the store is asked for all of them together, and only while
// somebody follows.
func TestManyFollowersShareQueries(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		const followers = 2000
		caller := func(i int) string { return fmt.Sprintf("caller-%d", i) }
		ctx, cancel := context.WithCancel(t.Context())
		heard, done := make(chan string, followers), make(chan struct{}, followers)
		for i := range followers {
			r := opened(t, f, caller(i), everything, "")
			go func() {
				defer func() { done <- struct{}{} }()
				defer r.Leave()
				for ctx.Err() == nil {
					items, _, err := r.Follow(ctx, 10, nil)
					if err != nil {
						t.Error(err)
					}
					for _, item := range items {
						if string(item.Record.Operation.Caller) != caller(i) {
							t.Errorf("%s hears of %s", caller(i), item.Record.Operation.Caller)
						}
						heard <- caller(i)
					}
				}
			}()
		}
		time.Sleep(10 * time.Second)
		readers, _ := f.Following()
		if first := s.queries.Load(); readers != followers || first > followers+200 {
			t.Errorf("%d follow after %d queries", readers, first)
		}
		before := s.queries.Load()
		for i := range followers {
			s.cancels(t, keyed(caller(i), i))
			f.Changed(idempotency.Caller(caller(i)))
			if i%100 == 0 {
				time.Sleep(100 * time.Millisecond)
			}
		}
		for range followers {
			<-heard
		}
		if n := s.queries.Load() - before; n > 300 || s.callers.Load() != followers {
			t.Errorf("%d queries in two seconds, the last one for %d callers", n, s.callers.Load())
		}
		cancel()
		for range followers {
			<-done
		}
		time.Sleep(10 * time.Second)
		before = s.queries.Load()
		time.Sleep(time.Minute)
		if readers, changes := f.Following(); readers != 0 || changes != 0 || s.queries.Load() != before {
			t.Errorf("with nobody following: %d readers, %d changes kept, %d queries in a minute", readers, changes, s.queries.Load()-before)
		}
	})
}

// What is kept for a reader who does not come for it is bounded. He reads the rest by himself, in order, and
// holds up nobody.
func TestASlowFollowerReadsByHimself(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		f.KeepChanges(10)
		quick := follows(t, opened(t, f, "one", everything, ""))
		slow := opened(t, f, "one", everything, "")
		defer slow.Leave()
		if _, _, err := slow.Poll(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 30 {
			s.cancels(t, keyed("one", i))
			if got := <-quick; got != name(i) {
				t.Errorf("the quick one hears %s", got)
			}
			want = append(want, name(i))
		}
		if _, changes := f.Following(); changes > 10 {
			t.Errorf("%d changes are kept", changes)
		}
		var got []string
		for range 30 {
			items, _, err := slow.Follow(t.Context(), 7, time.After(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, keysOf(items)...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the slow one hears %v", got)
		}
	})
}

// Who comes back in time, with his cursor, costs no query of his own.
func TestComingBackSoonCostsNoQuery(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		follows(t, opened(t, f, "one", everything, ""))
		r := opened(t, f, "one", everything, "")
		if _, _, err := r.Poll(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		cursor := r.Cursor()
		r.Leave()
		s.cancels(t, keyed("one", 1))
		time.Sleep(time.Second)
		before := s.queries.Load()
		for range 100 {
			r := opened(t, f, "one", everything, cursor)
			items, caughtUp, err := r.Poll(t.Context(), 10)
			if err != nil || !caughtUp || !slices.Equal(keysOf(items), []string{name(1)}) {
				t.Fatalf("%v, %v, error %v", keysOf(items), caughtUp, err)
			}
			r.Leave()
		}
		if n := s.queries.Load() - before; n > 1 {
			t.Errorf("%d queries", n)
		}
	})
}

// Who comes while the store does not answer is told so; who follows already waits for it, and is not told that
// all is known.
func TestFollowWithoutAStore(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		r := opened(t, f, "one", everything, "")
		defer r.Leave()
		if _, caughtUp, err := r.Poll(t.Context(), 10); err != nil || !caughtUp {
			t.Fatalf("caught up: %v, error %v", caughtUp, err)
		}
		s.broken.Store(true)
		late := opened(t, f, "two", everything, "")
		if _, _, err := late.Follow(t.Context(), 10, nil); err == nil || errors.Is(err, idempotency.ErrCursorExpired) {
			t.Errorf("who comes late: error %v", err)
		}
		late.Leave()
		if _, caughtUp, err := r.Follow(t.Context(), 10, time.After(time.Second)); err != nil || caughtUp {
			t.Errorf("who follows: caught up: %v, error %v", caughtUp, err)
		}
		s.broken.Store(false)
		again := opened(t, f, "two", everything, "")
		defer again.Leave()
		for _, r := range []*idempotency.Reading{r, again} {
			if _, caughtUp, err := r.Follow(t.Context(), 10, time.After(time.Second)); err != nil || !caughtUp {
				t.Errorf("when it is back: caught up: %v, error %v", caughtUp, err)
			}
		}
	})
}

// Who was told that there is more, and has it all although nothing else comes, hears of that at once.
func TestFollowersHearThatTheyHaveCaughtUp(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		follows(t, opened(t, f, "two", everything, "")) // keeps the feed going
		time.Sleep(time.Second)
		r := opened(t, f, "one", everything, "")
		defer r.Leave()
		wants := func(when string, want bool) {
			t.Helper()
			begun := time.Now()
			items, caughtUp, err := r.Follow(t.Context(), 10, time.After(15*time.Second))
			if soon := time.Since(begun) < 500*time.Millisecond; err != nil || len(items) > 0 || caughtUp != want || soon != want {
				t.Errorf("%s: caught up: %v, after %v, %d items, error %v", when, caughtUp, time.Since(begun), len(items), err)
			}
		}
		wants("at first", true)
		cursor := r.Cursor()
		r.Leave()
		time.Sleep(5 * time.Second) // until nothing is kept for it any more
		r = opened(t, f, "one", everything, cursor)
		defer r.Leave()
		if _, caughtUp, err := r.Poll(t.Context(), 10); err != nil || caughtUp {
			t.Fatalf("before anybody has asked for it: caught up: %v, error %v", caughtUp, err)
		}
		wants("when somebody has", true)
		s.held.Store(true)
		wants("while something is held back", false)
		s.held.Store(false)
		wants("when it is not any more", true)
	})
}

func TestFollowEnds(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		r := opened(t, f, "one", everything, "")
		defer r.Leave()
		if _, caughtUp, err := r.Poll(t.Context(), 10); err != nil || !caughtUp {
			t.Fatalf("caught up: %v, error %v", caughtUp, err)
		}
		begun := time.Now()
		items, caughtUp, err := r.Follow(t.Context(), 10, time.After(time.Second))
		if err != nil || len(items) > 0 || !caughtUp || time.Since(begun) != time.Second {
			t.Errorf("by its timer: %d items, %v, error %v, after %v", len(items), caughtUp, err, time.Since(begun))
		}
		heard := follows(t, opened(t, f, "one", everything, ""))
		time.Sleep(time.Second)
		f.Close()
		if got := <-heard; got != idempotency.ErrFeedClosed.Error() {
			t.Errorf("by the gateway's end: %s", got)
		}
		if _, _, err := opened(t, f, "one", everything, "").Poll(t.Context(), 1); !errors.Is(err, idempotency.ErrFeedClosed) {
			t.Errorf("afterwards: error %v", err)
		}
		f.Close()
	})
}

// What is kept for those who follow has every change of a record; a list, and whoever comes back, has the last one only.
func TestAListThatWaitsHasEachRecordOnce(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		r := opened(t, f, "one", everything, "")
		reads(t, r, 10)
		cursor := r.Cursor()
		other := opened(t, f, "one", everything, cursor)
		defer other.Leave()
		if _, _, err := other.Poll(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			a := s.claims(t, keyed("one", i))
			time.Sleep(time.Second) // the stream has it
			s.moves(t, idempotency.Complete{Attempt: a, Response: answer("made"), Retention: idempotency.Retention{Response: time.Hour, Key: feedKeep}})
			time.Sleep(time.Second)
		}
		back := opened(t, f, "one", everything, cursor)
		defer back.Leave()
		items, _, err := back.Poll(t.Context(), 10)
		if got := keysOf(items); err != nil || !slices.Equal(got, []string{name(0), name(1), name(2)}) {
			t.Errorf("who comes back hears of %v, error %v", got, err)
		}
		for _, limit := range []int{1, 2, 10} {
			list := opened(t, f, "one", everything, cursor)
			var keys []string
			for caughtUp := false; !caughtUp; {
				var items []idempotency.Item
				var err error
				if items, caughtUp, err = list.Await(t.Context(), limit, time.After(time.Minute)); err != nil {
					t.Fatal(err)
				}
				for _, i := range items {
					if i.Record.State != idempotency.Completed {
						t.Errorf("pages of %d: %s is %v", limit, i.Record.Operation.Key, i.Record.State)
					}
				}
				keys = append(keys, keysOf(items)...)
			}
			list.Leave()
			if want := []string{name(0), name(1), name(2)}; !slices.Equal(keys, want) {
				t.Errorf("pages of %d: %v, want %v", limit, keys, want)
			}
		}
	})
}

// A list that waited in vain for the store is not told that nothing has changed.
func TestAListThatWaitsForABrokenStore(t *testing.T) {
	feeding(t, func(t *testing.T, s *feedStore, f *idempotency.Feed) {
		r := opened(t, f, "one", everything, "")
		reads(t, r, 10)
		cursor := r.Cursor()
		r = opened(t, f, "one", everything, cursor)
		defer r.Leave()
		if items, caughtUp, err := r.Await(t.Context(), 10, time.After(time.Second)); len(items) > 0 || !caughtUp || err != nil {
			t.Errorf("%d items, caught up %v, error %v", len(items), caughtUp, err)
		}
		s.broken.Store(true)
		if items, caughtUp, err := r.Await(t.Context(), 10, time.After(time.Second)); len(items) > 0 || caughtUp || err == nil {
			t.Errorf("%d items, caught up %v, error %v", len(items), caughtUp, err)
		}
		s.broken.Store(false)
		time.Sleep(time.Second)
		s.frozen.Store(true) // the last answer is no news any more
		time.Sleep(3 * time.Second)
		if _, caughtUp, err := r.Await(t.Context(), 10, time.After(time.Second)); caughtUp || err != nil {
			t.Errorf("caught up %v with a frozen store, error %v", caughtUp, err)
		}
	})
}
