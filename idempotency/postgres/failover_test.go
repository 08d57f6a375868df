package postgres

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
	"github.com/onceway/onceway/internal/pgtest"
)

// changes collects what a store says of its servers.
type changes struct {
	mu  sync.Mutex
	all [][2]string
}

func (c *changes) add(former, now string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, [2]string{former, now})
}

func (c *changes) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}

func openWatched(t *testing.T, dsn string) (*Store, *changes) {
	t.Helper()
	c := &changes{}
	s, err := Open(context.Background(), dsn, Options{StoreTimeout: 10 * time.Second, Lease: storetest.Lease, Retention: storetest.Keep, Changed: c.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, c
}

func datedClaim(owner idempotency.Owner, at time.Time) idempotency.Claim {
	c := newClaims(1, owner)[0].(idempotency.Claim)
	c.KeyDate = at
	return c
}

// What was restored from a dump is another store, also on the same server: the dump may lack what was claimed
// after it was made, and the numbers of the feed go on.
func TestStoreRestoredOnItsServerHasChanged(t *testing.T) {
	for name, restore := range map[string]func(t *testing.T, dsn string) string{
		"in its place": func(t *testing.T, dsn string) string {
			execute(t, openAdmin(t, dsn), `ALTER TABLE store_identity RENAME TO former;
				CREATE TABLE store_identity (LIKE former INCLUDING ALL); INSERT INTO store_identity SELECT * FROM former; DROP TABLE former`)
			return dsn
		},
		"under another name": func(t *testing.T, dsn string) string {
			copied := pgtest.New(t)
			migrate(t, copied)
			from := queryOne[string](t, openAdmin(t, dsn), "SELECT identity FROM store_identity")
			admin := openAdmin(t, copied)
			execute(t, admin, "INSERT INTO store_identity (identity, changed_at) VALUES ('"+from+"', '-infinity')")
			return copied
		},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := newDatabase(t)
			s, _ := openWatched(t, dsn)
			page, err := s.Feed(context.Background(), idempotency.FeedQuery{Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			s.Close()
			restored, news := openWatched(t, restore(t, dsn))
			if news.len() != 1 {
				t.Errorf("the change was told as %v", news.all)
			}
			after := idempotency.FeedQuery{Limit: 1, History: page.History, After: idempotency.EndOf(1)}
			if _, err := restored.Feed(context.Background(), after); !errors.Is(err, idempotency.ErrFeedLost) {
				t.Errorf("a place of the former is gone on from: %v", err)
			}
		})
	}
}

// On a server that is not the one that the store was written on, no key that is older than the change is
// claimed without a record, and none is cancelled.
func TestStoreAnotherServerIsNotTrusted(t *testing.T) {
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	first, news := openWatched(t, dsn)
	owner := newOwner(t, first)
	old := time.Now().Add(-time.Hour)
	settled := datedClaim(owner, old)
	apply(t, first, []idempotency.Transition{settled})
	apply(t, first, []idempotency.Transition{idempotency.Release{Attempt: settled.Attempt, Cause: "test", Retention: storetest.Keep}})
	if at := queryOne[bool](t, admin, "SELECT changed_at = '-infinity' FROM store_identity"); !at || news.len() != 0 {
		t.Error("a new store has changed")
	}
	again, news := openWatched(t, dsn)
	apply(t, again, []idempotency.Transition{datedClaim(owner, old)})
	if news.len() != 0 {
		t.Errorf("a store that was opened again has changed: %v", news.all)
	}

	execute(t, admin, "UPDATE store_identity SET identity = '1/1'") // as of a restored copy
	s, news := openWatched(t, dsn)
	if news.len() != 1 || news.all[0][0] != "1/1" {
		t.Errorf("the change was told as %v", news.all)
	}
	if _, news := openWatched(t, dsn); news.len() != 1 || news.all[0][0] != news.all[0][1] {
		t.Errorf("to one who comes a moment later the change was told as %v", news.all)
	}
	lost := datedClaim(owner, old)
	results, err := s.Apply(context.Background(), []idempotency.Transition{lost})
	if err != nil || results[0].Applied || results[0].Record.State != idempotency.Unseen {
		t.Fatalf("%+v, %v", results, err)
	}
	cancel := idempotency.Cancel{Operation: lost.Operation, KeyDate: old, Retention: storetest.Keep}
	results, err = s.Apply(context.Background(), []idempotency.Transition{cancel})
	if err != nil || results[0].Applied || results[0].Record.State != idempotency.Unseen {
		t.Errorf("cancelled: %+v, %v", results, err)
	}
	lost.Attempt.N = 1
	results = apply(t, s, []idempotency.Transition{idempotency.Import{Claim: lost, Evidence: "test"}})
	if r := results[0].Record; r.State != idempotency.Unknown || r.Cause != idempotency.CauseLost {
		t.Errorf("imported as %v, %q", r.State, r.Cause)
	}
	// All others are claimed as ever.
	settled.Attempt.ID = idempotency.NewAttemptID()
	apply(t, s, []idempotency.Transition{settled})
	apply(t, s, []idempotency.Transition{datedClaim(owner, time.Now().Add(time.Minute))})
	apply(t, s, newClaims(3, owner))

	execute(t, admin, "UPDATE store_identity SET changed_at = clock_timestamp() - interval '1 hour'")
	if _, news := openWatched(t, dsn); news.len() != 0 {
		t.Errorf("to one who comes an hour later the change was told as %v", news.all)
	}
	// Whoever knows that nothing was lost says so.
	execute(t, admin, "UPDATE store_identity SET changed_at = '-infinity'")
	apply(t, s, []idempotency.Transition{datedClaim(owner, old)})
}

// A gateway that is running when its server fails over notices before it uses a connection to the new one,
// and does not go back to the former.
func TestStoreFailoverIsNoticed(t *testing.T) {
	primary := pgtest.NewCluster(t, pgtest.Config{TCP: true, Settings: map[string]string{"fsync": "off"}})
	migrate(t, primary.DSN("postgres"))
	standby := pgtest.NewStandby(t, primary)
	s, news := openWatched(t, pgtest.HostListDSN("postgres", primary, standby))
	owner := newOwner(t, s)
	apply(t, s, newClaims(1, owner))
	primary.Stop(pgtest.Immediate)
	standby.Promote(t)
	old := datedClaim(owner, time.Now())
	var results []idempotency.Result
	eventually(t, func() bool {
		var err error
		results, err = s.Apply(context.Background(), []idempotency.Transition{old})
		return err == nil
	})
	if results[0].Applied || results[0].Record.State != idempotency.Unseen {
		t.Errorf("the first claim on the new server: %+v", results[0])
	}
	if news.len() == 0 {
		t.Error("nobody was told")
	}
	var renewed error
	eventually(t, func() bool {
		renewed = s.Renew(context.Background(), owner, storetest.Lease)
		return renewed == nil || errors.Is(renewed, idempotency.ErrLeaseLost)
	})
	if renewed != nil { // the standby had not heard of it
		owner = newOwner(t, s)
	}
	apply(t, s, []idempotency.Transition{datedClaim(owner, time.Now().Add(time.Hour))})

	standby.Stop(pgtest.Immediate)
	primary.Start(t)
	eventually(t, func() bool {
		_, err := s.Apply(context.Background(), newClaims(1, owner))
		if err == nil {
			t.Fatal("claimed on the former primary")
		}
		return errors.Is(err, errFormerPrimary)
	})
}
