package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/sqlite"
)

// A file that is copied while nobody has it open, used on, and then put back: what was read after the copy was
// made must be told from what is written now in the same numbers. What was read before stays good.
func TestACopyThatIsPutBackKnowsNothingOfWhatCameLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.Rename(migrated(t), path); err != nil {
		t.Fatal(err)
	}
	serial := 0
	write := func(s *sqlite.Store) {
		t.Helper()
		serial++
		o := idempotency.Operation{Caller: "caller", Key: idempotency.Key("key-" + time.Duration(serial).String())}
		_, err := s.Apply(t.Context(), []idempotency.Transition{idempotency.Cancel{Operation: o, Retention: idempotency.Retention{Key: time.Hour}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	read := func(s *sqlite.Store, after idempotency.FeedPage) (idempotency.FeedPage, error) {
		return s.Feed(t.Context(), idempotency.FeedQuery{Callers: []idempotency.Caller{"caller"}, After: after.Next, History: after.History, Limit: 100})
	}
	// session opens the file, writes n times, reads, and closes it.
	session := func(n int) idempotency.FeedPage {
		t.Helper()
		s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for range n {
			write(s)
		}
		page, err := read(s, idempotency.FeedPage{})
		if err != nil {
			t.Fatal(err)
		}
		return page
	}
	early := session(2)
	saved, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before, err := read(s, early)
	if err != nil || len(before.Changes) != 0 {
		t.Fatalf("after another opening: %d changes, error %v", len(before.Changes), err)
	}
	s.Close()
	later := session(3)

	if err := os.WriteFile(path, saved, 0o600); err != nil {
		t.Fatal(err)
	}
	session(5) // the numbers are given once more
	s, err = sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := read(s, later); !errors.Is(err, idempotency.ErrFeedLost) {
		t.Errorf("a place from after the copy: error %v", err)
	}
	page, err := read(s, early)
	if err != nil || len(page.Changes) != 5 {
		t.Errorf("a place from before the copy: %d changes, want 5; error %v", len(page.Changes), err)
	}
	// A copy of a file in use ends in the middle of an opening.
	beyond := early
	beyond.Next = idempotency.EndOf(early.Next.Commit + 1)
	if _, err := read(s, beyond); !errors.Is(err, idempotency.ErrFeedLost) {
		t.Errorf("a place from beyond the end of its opening: error %v", err)
	}
}

// Commits that are too young to be looked at are not read either: the first of them ends the walk. Only a clock
// that was set back puts an old one behind it; and what a clock says that was ahead ends no walk.
func TestTheWalkAlongTheFeedEndsAtWhatIsYoung(t *testing.T) {
	path := migrated(t)
	now := time.Now()
	s := open(t, path, sqlite.Options{Clock: func() time.Time { return now }})
	write := func(t *testing.T, moves ...idempotency.Transition) {
		t.Helper()
		if _, err := s.Apply(t.Context(), moves); err != nil {
			t.Fatal(err)
		}
	}
	owner, err := s.Acquire(t.Context(), idempotency.Instance{ID: [16]byte{1}}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	keep := idempotency.Retention{Key: 1000 * time.Hour}
	var ends []idempotency.Transition
	for i, later := range []time.Duration{0, 10 * time.Hour, 0, 2 * time.Hour, 0} {
		o := idempotency.Operation{Caller: "caller", Key: idempotency.Key(strconv.Itoa(i))}
		claim := idempotency.Claim{
			Attempt: idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: owner}, Operation: o, Retention: keep,
			Fingerprint: idempotency.Fingerprinted{Method: "POST"}.Fingerprint(), Method: "POST", TargetURI: "/", Budget: 100 * time.Hour,
		}
		now = now.Add(later)
		write(t, claim)
		now = now.Add(-later)
		claim.Attempt.N = 1
		ends = append(ends, idempotency.Release{Attempt: claim.Attempt, Retention: keep})
	}
	now = now.Add(2 * time.Hour)
	write(t, ends...) // all have changed since

	if _, _, err := s.Purge(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := rawFile(t, path).QueryRowContext(t.Context(), `SELECT count(*) FROM changes`).Scan(&left); err != nil || left != 4 {
		t.Errorf("%d commits are left, want four: those of ten and two hours later, what is behind, and the last; error %v", left, err)
	}
}

// A clock that was ahead for a moment does not put off the next walk until it gets there again.
func TestTheWalkAlongTheFeedGoesOnAfterTheClockIsSetBack(t *testing.T) {
	path := migrated(t)
	now := time.Now()
	s := open(t, path, sqlite.Options{Clock: func() time.Time { return now }, CompactEvery: time.Nanosecond})
	purge := func() {
		t.Helper()
		if _, _, err := s.Purge(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(1000 * time.Hour)
	purge()
	now = now.Add(-1000 * time.Hour)

	cancel := func(key idempotency.Key) {
		t.Helper()
		o := idempotency.Operation{Caller: "caller", Key: key}
		if _, err := s.Apply(t.Context(), []idempotency.Transition{idempotency.Cancel{Operation: o, Retention: idempotency.Retention{Key: time.Minute}}}); err != nil {
			t.Fatal(err)
		}
	}
	cancel("a")
	now = now.Add(2 * time.Hour)
	cancel("b")
	purge() // removes the first record, and with it what the feed has of it
	var left int
	if err := rawFile(t, path).QueryRowContext(t.Context(), `SELECT count(*) FROM changes`).Scan(&left); err != nil || left != 1 {
		t.Errorf("the feed has %d commits, want that of the one record; error %v", left, err)
	}
}
