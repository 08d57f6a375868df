package idempotency

import (
	"encoding/binary"
	"sync"
	"time"
)

// erased keeps what was forgotten from coming back. What this process learns to be forgotten, by whatever way, is
// dropped from its cache before anybody is told; and whoever began to read before that, and may have seen the
// content, must not cache it afterwards.
//
// It is noted by a part of the operation's id, so that memory is bounded however much is forgotten: of another
// operation with that part a read that is on its way just then is not cached, which costs one more read.
type erased [1024]erasedPart

type erasedPart struct {
	mu   sync.Mutex
	last time.Time // when something was erased
}

func (s *erased) part(id OperationID) *erasedPart {
	return &s[binary.BigEndian.Uint16(id[:2])%uint16(len(s))]
}

// note calls drop when nothing that began to be read before can be put any more.
func (s *erased) note(id OperationID, drop func(OperationID)) {
	p := s.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
	drop(id)
}

// unless calls put, about what was asked for at asOf, if nothing was erased since.
func (s *erased) unless(id OperationID, asOf time.Time, put func()) {
	p := s.part(id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if asOf.After(p.last) {
		put()
	}
}
