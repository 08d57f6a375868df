package idempotency

import (
	"sync"
	"time"
)

// keeping is what an execution and its spool know of each other.
type keeping struct {
	mu    sync.Mutex
	kept  *Spooled // the outcome is in the spool: the keeper deals with what the store says
	heard *said    // the latest word from the store, if it came after the submitter had left
}

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
	if recorded, ok := x.taken(); ok {
		x.flight.outcome = recorded
		return true
	}
	done := make(chan bool, 1)
	begun := k.use(func() {
		failure := k.put(entry)
		if failure == nil {
			x.entered(entry, err)
		}
		done <- failure == nil
	})
	if !begun {
		return false
	}
	timer := time.NewTimer(k.committer.o.Timeout)
	defer timer.Stop()
	select {
	case durable := <-done:
		return durable && x.tellKept(entry)
	case <-timer.C:
		return false // if the disk takes it after all, the answer is there for the next one who asks
	}
}

// taken returns what the store has said of the outcome since its submitter left.
func (x *Execution) taken() (Outcome, bool) {
	x.keeping.mu.Lock()
	defer x.keeping.mu.Unlock()
	if !x.keeping.heard.isTaken() {
		return Outcome{}, false
	}
	return Outcome{Record: x.keeping.heard.res.Record}, true
}

// entered is called when the spool has taken the outcome. What the store said meanwhile is dealt with again:
// now there is an entry to forget, or to offer once more.
func (x *Execution) entered(entry Spooled, refusal error) {
	x.keeping.mu.Lock()
	x.keeping.kept = &entry
	heard := x.keeping.heard
	x.keeping.mu.Unlock()
	if entry.Entry().Answer {
		x.land(Record{}, entry.Since)
	}
	switch {
	case heard != nil:
		x.late(heard.t, heard.asOf, heard.res, heard.err)
	case isRolledBack(refusal):
		x.engine.keeper.again(entry.Entry(), 0, refusal) // nothing of it is with the committer any more
	}
}

// tellKept sets the flight's outcome to what the spool has, or to what the store has said since.
func (x *Execution) tellKept(entry Spooled) bool {
	if recorded, ok := x.taken(); ok {
		x.flight.outcome = recorded
		return true
	}
	rec, ok := entry.Answered(time.Now())
	if ok {
		x.flight.outcome = Outcome{Record: rec}
	}
	return ok
}

// keptFrom notes what the store said, and reports whether the keeper has dealt with it.
func (x *Execution) keptFrom(s said) bool {
	x.keeping.mu.Lock()
	x.keeping.heard = &s
	entry := x.keeping.kept
	x.keeping.mu.Unlock()
	if entry == nil {
		return false
	}
	k := x.engine.keeper
	_, isDoubt := s.t.(Doubt)
	if s.err != nil || isDoubt {
		k.again(entry.Entry(), 0, s.err)
	} else {
		k.heard(*entry, 0, s.res, nil)
	}
	x.land(Record{}, s.asOf)
	return true
}
