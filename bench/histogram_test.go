package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogramBuckets(t *testing.T) {
	last := -1
	for _, ns := range []uint64{0, 1, 63, 64, 65, 127, 128, 129, 255, 256, 1000, 1 << 20, 1<<20 + 1, 1<<36 - 1, 1 << 36, 1<<37 - 1, 1 << 37, 1 << 62} {
		i := bucket(ns)
		if i < last || i >= len(new(histogram).counts) {
			t.Errorf("bucket(%d) = %d after %d, of %d", ns, i, last, len(new(histogram).counts))
		}
		last = i
		if ns >= 1<<maxExp {
			continue
		}
		if low := lowest(i); low > ns || float64(ns-low) > float64(ns)/subCount {
			t.Errorf("%d ns is counted as %d ns", ns, low)
		}
	}
	for i := range new(histogram).counts {
		if got := bucket(lowest(i)); got != i {
			t.Fatalf("bucket(lowest(%d)) = %d", i, got)
		}
	}
}

func TestHistogramQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	values := make([]time.Duration, 10001)
	halves := [2]histogram{}
	for i := range values {
		values[i] = time.Duration(random.ExpFloat64() * float64(time.Millisecond))
		halves[i%2].record(values[i])
	}
	slices.Sort(values)
	h := halves[0]
	h.merge(&halves[1])
	for _, q := range []float64{0, .5, .9, .99, .999, 1} {
		exact := values[min(max(int(q*10001+.5)-1, 0), 10000)]
		if got := h.quantile(q); got > exact || exact-got > exact/subCount+1 {
			t.Errorf("quantile(%v) = %v, want %v or up to 1/64 less", q, got, exact)
		}
	}
	if h.max != values[10000] || h.total != 10001 {
		t.Errorf("max %v of %d values, want %v of 10001", h.max, h.total, values[10000])
	}
	if got := new(histogram).quantile(.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
}
