// Package storetest is the one conformance suite that every store of Onceway passes, and the
// in-memory [Model] that serves it as an oracle.
//
// [Run] states every legal and every illegal move as a literal table (see matrix.go), independent of
// [idempotency.Next], and then lets random histories run over the store and the Model side by side. It
// does not test durability: that needs processes to kill, and belongs to each store's own tests.
package storetest

import (
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Lease is the lease that stores under test are opened with. It is long, so that the seconds a slow
// machine takes never decide a test: time passes only by [Harness.Advance].
const Lease = 10 * time.Minute

// Keep is the retention of the records that the suite writes. Together with Lease it is chosen so that
// no sum of the suite's steps, which are multiples of three minutes, comes within a minute of a limit.
var Keep = idempotency.Retention{Response: 61 * time.Minute, Key: 601 * time.Minute}

// Grace is how much longer than its expiry stores under test keep a record. Like Keep, it comes near no sum of steps.
const Grace = 30 * time.Minute

// Store is everything that the suite tests.
type Store interface {
	idempotency.Store
	idempotency.LeaseStore
	idempotency.RetentionStore
	idempotency.CensusStore
	idempotency.ProbeStore
	idempotency.SpoolStore
	idempotency.InstanceStore
	idempotency.OwnStore
	idempotency.SearchStore
	idempotency.FeedStore
}

// Harness is a store, new and empty, and the levers that the suite needs on it. Whatever must be
// closed, the open function gives to t.Cleanup.
type Harness struct {
	Store Store

	// Advance lets d pass for the store, as seen in every answer: it moves an injected clock on, or
	// makes all stored instants (of records, leases and instances) older by d. Required.
	Advance func(t *testing.T, d time.Duration)

	// Damages are the ways in which a stored answer can be damaged behind the store's back, by name:
	// a flipped byte in the body, in the fields, a lost body. At least one.
	Damages map[string]func(t *testing.T, id idempotency.OperationID)

	// Evidence reads what is kept beside a record, in any order. Required.
	Evidence func(t *testing.T, id idempotency.OperationID) []idempotency.Evidence

	// Second opens another handle on the same store, as another gateway has one. Nil where a store
	// belongs to one process.
	Second func(t *testing.T) Store

	// LockLease says that a lease ends when its process ends or another is acquired, and never by
	// time: a store of one process. So there is only one owner with a lease at a time.
	LockLease bool
}

// Run tests the stores that open returns, a new and empty one for each call.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	for _, test := range []struct {
		name string
		run  func(*world)
	}{
		{"moves", testMoves},
		{"batches", testBatches},
		{"find", testFind},
		{"records", testRecords},
		{"resend", testResend},
		{"evidence", testEvidence},
		{"responses", testResponses},
		{"damage", testDamage},
		{"races", testRaces},
		{"histories", testHistories},
		{"leases", testLeases},
		{"probes", testProbes},
		{"instances", testInstances},
		{"own", testOwn},
		{"lost", testLost},
		{"search", testSearch},
		{"feed", testFeed},
		{"expiry", testExpiry},
		{"purge", testPurge},
		{"random", testRandom},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := open(t)
			if h.Store == nil || h.Advance == nil || h.Evidence == nil || len(h.Damages) == 0 {
				t.Fatal("the harness lacks a lever that every store must have")
			}
			knows := new(claimedRecords)
			knows.forget()
			h.Store = knowing{h.Store, knows}
			if second := h.Second; second != nil {
				h.Second = func(t *testing.T) Store { return knowing{second(t), knows} }
			}
			advance := h.Advance
			h.Advance = func(t *testing.T, d time.Duration) {
				advance(t, d)
				knows.forget()
			}
			w := &world{T: t, Harness: h, instance: idempotency.Instance{ID: [16]byte{1}, Host: "one", Version: "test", Longest: time.Minute}}
			w.acquire()
			test.run(w)
		})
	}
}
