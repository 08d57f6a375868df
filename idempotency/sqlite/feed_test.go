package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
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
