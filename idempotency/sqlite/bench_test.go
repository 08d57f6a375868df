package sqlite_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/sqlite"
)

// BenchmarkPairs measures claim+complete pairs in batches of 64, one batch after the other, as one
// flusher applies them. The figure to look at is pairs/s.
func BenchmarkPairs(b *testing.B) {
	s := open(b, migrated(b), sqlite.Options{})
	owner, err := s.Acquire(b.Context(), idempotency.Instance{ID: [16]byte{1}}, time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	const batch = 64
	keep := idempotency.Retention{Response: time.Hour, Key: 24 * time.Hour}
	body := make([]byte, 300)
	claims, completes := make([]idempotency.Transition, batch), make([]idempotency.Transition, batch)
	fingerprint := idempotency.Fingerprinted{Method: "POST"}.Fingerprint()
	serial := 0
	for b.Loop() {
		for i := range batch {
			serial++
			o := idempotency.Operation{Caller: "caller", Key: idempotency.Key(fmt.Sprintf("01890a5d-ac96-774b-bcce-%012d", serial))}
			claims[i] = idempotency.Claim{
				Attempt:   idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: owner},
				Operation: o, Fingerprint: fingerprint, Method: "POST", TargetURI: "/orders", Budget: time.Minute, Retention: keep,
				Trace: idempotency.Trace{TraceID: [16]byte{1}, SpanID: [8]byte{1}},
			}
		}
		results, err := s.Apply(b.Context(), claims)
		if err != nil {
			b.Fatal(err)
		}
		for i, r := range results {
			completes[i] = idempotency.Complete{
				Attempt:   r.Record.Attempt,
				Response:  idempotency.NewResponse(201, map[string][]string{"Content-Type": {"application/json"}, "Location": {"/orders/1"}}, body),
				Retention: keep,
			}
		}
		if _, err := s.Apply(b.Context(), completes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(serial)/b.Elapsed().Seconds(), "pairs/s")
}
