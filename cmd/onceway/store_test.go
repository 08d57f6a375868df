package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
)

// The store's clock is the one that judges how old a key is, and may be wrong for a while: a record is there longer
// than its key can be claimed.
func TestTheEmbeddedStoreKeepsRecordsForTheGrace(t *testing.T) {
	ctx := context.Background()
	s, err := openStore(ctx, &config.Config{Store: "sqlite:" + filepath.Join(t.TempDir(), "onceway.db"), StoreTimeout: time.Minute, Lease: time.Minute}, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	expired := func(key idempotency.Key, ago time.Duration) idempotency.Transition {
		return idempotency.Cancel{Operation: idempotency.Operation{Caller: "c", Key: key}, Retention: idempotency.Retention{Key: -ago}}
	}
	young, old := expired("young", clockGrace-time.Hour), expired("old", clockGrace+time.Hour)
	if _, err := s.Apply(ctx, []idempotency.Transition{young, old}); err != nil {
		t.Fatal(err)
	}
	if n, _, err := s.Purge(ctx, 100); err != nil || n != 1 {
		t.Fatalf("purged %d records, error %v; want 1", n, err)
	}
	found, err := s.Find(ctx, []idempotency.OperationID{young.Target(), old.Target()})
	if err != nil || found[0].State != idempotency.Cancelled || found[1].State != idempotency.Unseen {
		t.Errorf("%v, error %v; want the one within the grace, and not the other", found, err)
	}
}
