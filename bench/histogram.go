package main

import (
	"math/bits"
	"time"
)

const (
	subBits  = 6 // 64 steps for each power of two: a recorded value is at most 1/64 too small
	subCount = 1 << subBits
	maxExp   = 37 // values from 2^37 ns (137 s) on are counted as that
)

// histogram counts durations in buckets whose width grows with the value, as HDR histograms do. The
// zero value is ready for use; it is not safe for concurrent use: each connection has its own, and
// they are merged at the end.
type histogram struct {
	counts [(maxExp - subBits + 1) * subCount]uint64
	total  uint64
	max    time.Duration
}

// bucket returns the index for a number of nanoseconds: exact below 2·subCount.
func bucket(ns uint64) int {
	exp := bits.Len64(ns)
	if exp <= subBits {
		return int(ns)
	}
	if exp > maxExp {
		return (maxExp-subBits+1)*subCount - 1
	}
	shift := exp - subBits - 1
	return (shift+1)<<subBits + int(ns>>shift) - subCount
}

// lowest returns the smallest number of nanoseconds that falls into bucket i.
func lowest(i int) uint64 {
	if i < subCount {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return uint64(i&(subCount-1)+subCount) << shift
}

func (h *histogram) record(d time.Duration) {
	h.counts[bucket(uint64(max(d, 0)))]++
	h.total++
	h.max = max(h.max, d)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// quantile returns the value below or at which the fraction q (0 to 1) of all durations lies, rounded
// down to its bucket; 0 if nothing was recorded.
func (h *histogram) quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q*float64(h.total) + 0.5)
	rank = min(max(rank, 1), h.total)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return time.Duration(lowest(i))
		}
	}
	return h.max
}
