package sqlite_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/sqlite"
	"github.com/onceway/onceway/idempotency/storetest"
)

// Whoever asks takes no connection from those who execute, nor the other way round.
func TestAskHasItsOwnConnections(t *testing.T) {
	s := open(t, migrated(t), sqlite.Options{Lease: storetest.Lease})
	owner, err := s.Acquire(t.Context(), idempotency.Instance{ID: [16]byte{1}}, storetest.Lease)
	if err != nil {
		t.Fatal(err)
	}
	o := idempotency.Operation{Caller: "caller", Key: "key"}
	apply := func(move idempotency.Transition) idempotency.Record {
		results, err := s.Apply(t.Context(), []idempotency.Transition{move})
		if err != nil || !results[0].Applied {
			t.Fatal(results, err)
		}
		return results[0].Record
	}
	ids := []idempotency.OperationID{o.ID(), {}}

	back := s.TakeAskers()
	claim := idempotency.Claim{
		Attempt: idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: owner}, Operation: o, Retention: storetest.Keep,
		Fingerprint: idempotency.Fingerprinted{Method: "POST"}.Fingerprint(), Method: "POST", TargetURI: "/", Budget: time.Minute,
	}
	a := apply(claim).Attempt
	apply(idempotency.Complete{Attempt: a, Response: idempotency.NewResponse(201, nil, []byte("made")), Retention: storetest.Keep})
	found, err := s.Find(t.Context(), ids)
	if err != nil || found[0].State != idempotency.Completed || found[1].State != idempotency.Unseen {
		t.Errorf("%v, %v", found, err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Ask(soon, ids); err == nil {
		t.Error("asked without a connection")
	}
	back()

	back = s.TakeReaders()
	asked, err := s.Ask(t.Context(), ids)
	back()
	for i := range asked {
		asked[i].Observed = found[i].Observed
	}
	if err != nil || !reflect.DeepEqual(asked, found) {
		t.Errorf("asked %v, %v\nfound %v", asked, err, found)
	}
}
