package gateway

import (
	"sync/atomic"
	"time"
)

// budget bounds the memory of all buffered bodies together. It never blocks: a request that does not fit
// is refused before a claim, so that a refusal costs nothing; an answer that does not fit goes into a file,
// from which it is recorded when its turn comes (see load). So no whole answer is lost for want of memory,
// and as long as the store takes answers in time, memory is bounded by the budget and an eighth more, or one
// answer if that is larger.
//
// What a store did not take in time is counted no longer, although its outcome is still tried from memory;
// a gateway without its store starts no new attempts.
type budget struct {
	limit    int64
	used     atomic.Int64
	loading  turns         // of answers from files that are being recorded
	patience time.Duration // how long one waits for its turn
}

// loadingShare is the part of the budget, as a divisor, that answers from files may take beyond it.
const loadingShare = 8

// answersOnly is the part of the budget, as a divisor, that requests leave to answers: under a load of
// requests alone every small answer would have to take the way over a file.
const answersOnly = 8

// takeRequest reserves memory for a request that has held so far. One that has the budget for itself may take all of it.
func (b *budget) takeRequest(n, held int64) bool {
	if !b.admits(b.used.Add(n), n+held) {
		b.used.Add(-n)
		return false
	}
	return true
}

// hasRoom reports whether a request of n bytes would fit now.
func (b *budget) hasRoom(n int64) bool { return b.admits(b.used.Load()+n, n) }

// admits reports whether used bytes may be in use, one request's own among them.
func (b *budget) admits(used, own int64) bool {
	return used <= b.limit-b.limit/answersOnly || used == own && used <= b.limit
}

// Take reserves memory for an answer.
func (b *budget) Take(n int64) bool {
	if b.used.Add(n) > b.limit {
		b.used.Add(-n)
		return false
	}
	return true
}

// TakeForQuery reserves memory for stored bodies that a query shows. Answers of the backends keep their part.
func (b *budget) TakeForQuery(n int64) bool { return b.takeRequest(n, 0) }

// Overdraw reserves memory for an answer for which there is no file either.
func (b *budget) Overdraw(n int64) { b.used.Add(n) }

// Give returns what was reserved.
func (b *budget) Give(n int64) { b.used.Add(-n) }
