package storetest_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

func TestModel(t *testing.T) {
	for name, lockLease := range map[string]bool{"timed leases": false, "lock leases": true} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T) storetest.Harness { return openModel(lockLease) })
		})
	}
}

func openModel(lockLease bool) storetest.Harness {
	var offset atomic.Int64
	m := storetest.NewModel(func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }, storetest.Lease, lockLease)
	h := storetest.Harness{
		Store:   m,
		Advance: func(_ *testing.T, d time.Duration) { offset.Add(int64(d)) },
		Damages: map[string]func(*testing.T, idempotency.OperationID){
			"flag": func(_ *testing.T, id idempotency.OperationID) { m.Damage(id) },
		},
		Evidence:  func(_ *testing.T, id idempotency.OperationID) []idempotency.Evidence { return m.Evidence(id) },
		LockLease: lockLease,
	}
	if !lockLease {
		h.Second = func(*testing.T) storetest.Store { return m }
	}
	return h
}
