package main

import (
	"sync/atomic"
	"testing"
)

// On a busy machine the time may be over before the first call: what was not called at all would be told as zeros.
func TestAMeasurementHasCalls(t *testing.T) {
	var calls atomic.Int64
	took, elapsed, err := measure(t.Context(), 3, 0, func() error { calls.Add(1); return nil })
	if len(took) != 3 || elapsed <= 0 || err != nil || calls.Load() != 3+3 {
		t.Errorf("%d calls were measured in %v, of %d, error %v", len(took), elapsed, calls.Load(), err)
	}
}
