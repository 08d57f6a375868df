package idempotency

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrAnswerInSpool says that an answer is still on its way from this process's spool to the store, so that
// nothing could be erased. It will get there; the call may be repeated.
var ErrAnswerInSpool = errors.New("the answer is still on its way from the spool to the store")

// Acknowledge erases a stored answer's content and returns the record. Forgotten means that it is gone: from
// the store, and from this process's cache; other gateways forget it within a minute. Status, length and
// digest stay. A record in any other state is not changed; neither is a damaged one, which people have to
// look at.
//
// The errors are ErrAnswerInSpool, and those of [Engine.Find] and [Committer.Submit]; after one of the
// latter nobody knows whether it was written, and repeating it is safe.
func (e *Engine) Acknowledge(ctx context.Context, id OperationID) (Record, error) {
	if _, ok := e.spooled(id); ok {
		return Record{}, ErrAnswerInSpool
	}
	before, err := e.asked(ctx, id)
	if err != nil {
		return Record{}, err
	}
	if before.State != Completed && before.State != Forgotten || before.Damaged {
		return before, nil
	}
	e.erased.add(id, time.Now())
	res, err := e.committer.Submit(Acknowledge{id}, nil)
	e.cache.Drop(id) // also after an error: then it was perhaps erased
	return res.Record, err
}

// erased are operations whose content was, or may have been, erased from here. Whoever read one before that
// and caches it only now must not bring the content back. Each is remembered for as long as a cached record
// lives, and for at most twice that: every read that began before has long ended.
type erased struct {
	mu      sync.RWMutex
	lately  map[OperationID]struct{}
	before  map[OperationID]struct{}
	rotated time.Time
}

// add is called before the erasure; the cache is dropped after it.
func (s *erased) add(id OperationID, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lately == nil || now.Sub(s.rotated) > cacheTTL {
		s.before, s.lately, s.rotated = s.lately, make(map[OperationID]struct{}), now
	}
	s.lately[id] = struct{}{}
}

// unless calls put if id was not erased, and lets no erasure begin meanwhile.
func (s *erased) unless(id OperationID, put func()) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, lately := s.lately[id]
	_, before := s.before[id]
	if !lately && !before {
		put()
	}
}
