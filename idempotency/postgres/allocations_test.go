//go:build !race

package postgres

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/onceway/onceway/idempotency"
)

// The guard against what makes batches dearer: the memory that a claim and its answer take in batches of 12, as
// under load, in pieces and in bytes. Unlike times, that is the same on every machine. (The race detector makes
// pools forget at random: .ci/run runs this without it.)
//
// Whoever needs more raises a ceiling, and says in docs/performance.md for what.
func TestAllocations(t *testing.T) {
	const size, rounds = 12, 40
	s := openStore(t, newDatabase(t))
	owner := newOwner(t, s)
	body := make([]byte, 1024)
	batches := make([][]idempotency.Transition, rounds)
	for i := range batches {
		apply(t, s, completions(apply(t, s, newClaims(size, owner)), body)) // until everything is prepared
		batches[i] = newClaims(size, owner)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would empty pools
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, claims := range batches {
		apply(t, s, completions(apply(t, s, claims), body))
	}
	runtime.ReadMemStats(&after)
	pieces := float64(after.Mallocs-before.Mallocs) / (size * rounds)
	bytes := float64(after.TotalAlloc-before.TotalAlloc) / (size * rounds)
	if pieces > 22 || bytes > 8500 {
		t.Errorf("a claim and its answer take %.1f pieces of memory, %.0f bytes; the ceilings are 22 and 8500", pieces, bytes)
	}
	t.Logf("%.1f pieces, %.0f bytes", pieces, bytes)
}
