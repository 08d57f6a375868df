package idempotency

import (
	"errors"
	"sync"
	"time"
)

// keeping is how far an execution's outcome is on its way into the spool.
type keeping struct {
	mu    sync.Mutex
	stage keepStage
	entry Spooled
	heard *said // the latest word from the store, if it came after the submitter had left
}

type keepStage uint8

const (
	notKept  keepStage = iota
	entering           // on its way to the disk: what the store says waits
	kept               // durable: the keeper deals with what the store says
)

// said is a result of the store that came when nobody waited for it.
type said struct {
	t    Transition
	asOf time.Time
	res  Result
	err  error
}

// isTaken reports whether the store has had its say about the outcome itself, and not about a doubt in its
// stead.
func (s *said) isTaken() bool {
	if s == nil || s.err != nil {
		return false
	}
	_, isDoubt := s.t.(Doubt)
	return !isDoubt
}

// keep tries to make an outcome durable in the spool that the store did not take, because of err. True
// says that the flight's outcome is set to what everybody may be told, and that the flight is landed or
// will be. It takes at most the committer's timeout: a disk that hangs must not hold an answer for longer.
//
// A proof that nothing was executed is kept, so that it survives this process, but it is not told before
// the store has it: other gateways could contradict it.
func (x *Execution) keep(err error) bool {
	k := x.engine.keeper
	if k == nil {
		return false
	}
	entry, ok := newSpooled(x.flight.record, x.wanted, time.Now())
	if !ok {
		return false
	}
	if recorded, ok := x.enter(entry); ok {
		x.flight.outcome = recorded
		return true
	}
	done := make(chan bool, 1)
	k.work.Go(func() { done <- x.entered(k.put(entry), err) })
	timer := time.NewTimer(k.committer.o.Timeout)
	defer timer.Stop()
	select {
	case durable := <-done:
		return durable && x.tellKept(entry)
	case <-timer.C:
		return false // if the disk takes it after all, the answer is there for the next one who asks
	}
}

// enter begins to keep an entry, unless the store has taken the outcome meanwhile: then it is that.
func (x *Execution) enter(entry Spooled) (Outcome, bool) {
	x.keeping.mu.Lock()
	defer x.keeping.mu.Unlock()
	if h := x.keeping.heard; h.isTaken() {
		return Outcome{Record: h.res.Record}, true
	}
	x.keeping.stage, x.keeping.entry = entering, entry
	return Outcome{}, false
}

// entered is called when the spool has answered. What the store said meanwhile is dealt with now.
func (x *Execution) entered(failure, refusal error) (durable bool) {
	x.keeping.mu.Lock()
	x.keeping.stage = kept
	if failure != nil {
		x.keeping.stage = notKept
	}
	entry, heard := x.keeping.entry, x.keeping.heard
	x.keeping.mu.Unlock()
	if failure == nil && entry.Entry().Answer {
		x.land(Record{}, entry.Since)
	}
	switch {
	case heard != nil:
		x.late(heard.t, heard.asOf, heard.res, heard.err)
	case failure == nil && isRolledBack(refusal):
		x.engine.keeper.again(entry.Entry(), 0, refusal) // nothing of it is with the committer any more
	}
	return failure == nil
}

// tellKept sets the flight's outcome to what the spool has, or to what the store has said since.
func (x *Execution) tellKept(entry Spooled) bool {
	x.keeping.mu.Lock()
	heard := x.keeping.heard
	x.keeping.mu.Unlock()
	if heard.isTaken() {
		x.flight.outcome = Outcome{Record: heard.res.Record}
		return true
	}
	rec, ok := entry.Answered(time.Now())
	if ok {
		x.flight.outcome = Outcome{Record: rec}
	}
	return ok
}

// keptFrom notes what the store said, and reports whether that is all that is to be done now.
func (x *Execution) keptFrom(s said) bool {
	x.keeping.mu.Lock()
	x.keeping.heard = &s
	stage, entry := x.keeping.stage, x.keeping.entry
	x.keeping.mu.Unlock()
	switch stage {
	case notKept:
		return false
	case entering:
		return true
	case kept:
	}
	k := x.engine.keeper
	_, isDoubt := s.t.(Doubt)
	switch {
	case s.err != nil && errors.Is(s.err, ErrStopped):
	case s.err != nil, isDoubt:
		k.again(entry.Entry(), 0, s.err)
	default:
		k.heard(entry, 0, s.res, nil)
	}
	x.land(Record{}, s.asOf)
	return true
}
