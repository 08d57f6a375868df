package postgres

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
	"github.com/onceway/onceway/internal/pgtest"
)

var serial atomic.Int64

// newClaims returns claims of n operations that nobody has used.
func newClaims(n int, owner idempotency.Owner) []idempotency.Transition {
	ts := make([]idempotency.Transition, n)
	for i := range ts {
		o := idempotency.Operation{Caller: "caller", Key: idempotency.Key(fmt.Sprintf("0193b2f4-5a7e-7c1d-8f00-%012d", serial.Add(1)))}
		ts[i] = idempotency.Claim{
			Attempt:     idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: owner},
			Operation:   o,
			Fingerprint: idempotency.Fingerprinted{Method: "POST", Target: "/orders", Body: []byte(o.Key)}.Fingerprint(),
			Method:      "POST",
			TargetURI:   "/orders",
			Budget:      time.Minute,
			Retention:   storetest.Keep,
			Trace:       idempotency.Trace{TraceID: [16]byte{1}, SpanID: [8]byte{1}},
		}
	}
	return ts
}

// completions returns the answers to claims that were granted.
func completions(results []idempotency.Result, body []byte) []idempotency.Transition {
	ts := make([]idempotency.Transition, len(results))
	for i, r := range results {
		ts[i] = idempotency.Complete{
			Attempt:   r.Record.Attempt,
			Response:  idempotency.NewResponse(201, map[string][]string{"Content-Type": {"application/json"}}, body),
			Retention: storetest.Keep,
			Claimed:   &results[i].Record,
		}
	}
	return ts
}

func newOwner(t testing.TB, s *Store) idempotency.Owner {
	t.Helper()
	o, err := s.Acquire(context.Background(), idempotency.Instance{ID: idempotency.NewAttemptID(), Longest: time.Minute}, storetest.Lease)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// apply applies a batch of moves of which each must hold.
func apply(t testing.TB, s *Store, ts []idempotency.Transition) []idempotency.Result {
	t.Helper()
	results, err := s.Apply(context.Background(), ts)
	if err != nil {
		t.Error(err)
		return nil
	}
	for i, r := range results {
		if !r.Applied {
			t.Errorf("%T %d does not hold: the record is %v", ts[i], i, r.Record.State)
		}
	}
	return results
}

// BenchmarkPairs measures claims and completions in batches of 36, by 4 goroutines, on a server with
// its own defaults, so with fsync. One op is one pair.
func BenchmarkPairs(b *testing.B) {
	const size, workers = 36, 4
	dsn := pgtest.NewCluster(b, pgtest.Config{}).NewDatabase(b)
	migrate(b, dsn)
	s := openStore(b, dsn)
	owner := newOwner(b, s)
	body := make([]byte, 300)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	for range workers {
		wg.Go(func() {
			for left.Add(-size) > -size {
				apply(b, s, completions(apply(b, s, newClaims(size, owner)), body))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pairs/s")
}
