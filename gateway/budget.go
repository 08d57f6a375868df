package gateway

import "sync/atomic"

// budget bounds the memory of all buffered bodies together. It never blocks: what does not fit is
// refused before a claim, so that a refusal costs nothing.
type budget struct {
	limit int64
	used  atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.used.Add(-n) }
