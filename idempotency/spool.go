package idempotency

import (
	"errors"
	"time"
)

// LocalSpool keeps outcomes that the store did not take in time: durably, on this machine, in a bounded
// space. What is in it is the truth about an attempt, whether or not anybody was told: offering it to the
// store once more is always right. It is safe for concurrent use.
type LocalSpool interface {
	// Put returns nil once s would survive a power failure; a second one of an attempt replaces the first.
	// The error is, or wraps, ErrSpoolFull, or says why the disk did not take it; then s may be there or not.
	Put(s Spooled) error
	// Get reads one entry. The error is ErrNotSpooled; ErrDamaged when what is there does not match its
	// digest, and has been put aside for people to look at; or why the disk did not give it.
	Get(a AttemptID) (Spooled, error)
	// Remove forgets an entry, or that there is none. One that comes back after a power failure does no harm.
	Remove(a AttemptID) error
	// List returns what is there, oldest first.
	List() []SpooledEntry
}

// Errors of a LocalSpool.
var (
	// ErrSpoolFull says that an entry would exceed the spool's limit in bytes.
	ErrSpoolFull = errors.New("the spool is full")
	// ErrNotSpooled says that a spool has no such entry.
	ErrNotSpooled = errors.New("not in the spool")
)

// SpooledEntry names an entry of a spool.
type SpooledEntry struct {
	Attempt   AttemptID
	Operation OperationID
	Answer    bool // a Complete: this process answers with it
	Since     time.Time
}

// Spooled is an outcome on its way to the store, and the record that it is about.
type Spooled struct {
	Record  Record     // as the claim left it
	Outcome Transition // a Complete or a Release of the record's attempt
	Since   time.Time  // by this machine's clock
}

// newSpooled returns the entry of an outcome, and whether it is one to keep. A doubt is not: a record
// that nobody settles becomes unknown by itself.
func newSpooled(claimed Record, t Transition, now time.Time) (Spooled, bool) {
	switch t.(type) {
	case Complete, Release:
		return Spooled{Record: claimed, Outcome: t, Since: now}, true
	case Claim, Doubt, Resolve, Cancel, Acknowledge, Import:
	}
	return Spooled{}, false
}

// Entry names s.
func (s Spooled) Entry() SpooledEntry {
	_, answer := s.Outcome.(Complete)
	return SpooledEntry{Attempt: s.Record.Attempt.ID, Operation: s.Record.ID, Answer: answer, Since: s.Since}
}

// Answered returns the record as the store will have it, unless it moved on meanwhile. It is for answers.
func (s Spooled) Answered(now time.Time) (Record, bool) {
	c, ok := s.Outcome.(Complete)
	if !ok || c.Response == nil {
		return Record{}, false
	}
	r := answered(s.Record, c.Response, c.Retention, s.Since)
	r.Revision++
	r.Derive(now, true, 0)
	return r, true
}

// lost returns what brings an answer back whose claim the store has lost.
func (s Spooled) lost() (Import, bool) {
	c, ok := s.Outcome.(Complete)
	if !ok {
		return Import{}, false
	}
	return Import{
		Claim:    claimOf(s.Record, c.Retention),
		Response: c.Response,
		Evidence: "the owner's spool has the answer, and the store has no record of the attempt",
	}, true
}

// SpoolNews is what became of an outcome in the spool.
type SpoolNews uint8

const (
	SpoolKept         SpoolNews = iota // it is in the spool
	SpoolRefused                       // the spool did not take it
	SpoolRecorded                      // the store has it now
	SpoolImported                      // the store had lost the claim, and has the answer now
	SpoolSuperseded                    // the record was settled otherwise, and stays so
	SpoolContradicted                  // the record says that the attempt had no effect: kept beside it as a contradiction
	SpoolDamaged                       // it did not match its digest when it was read, and is put aside
)

var spoolNews = [...]string{"kept", "refused", "recorded", "imported", "superseded", "contradicted", "damaged"}

func (n SpoolNews) String() string { return spoolNews[n] }

// newsOf tells what a store's result means for an entry.
func (s Spooled) newsOf(res Result) SpoolNews {
	switch t := s.Outcome.(type) {
	case Complete:
		switch {
		case !res.Applied && res.Record.Contradicted:
			return SpoolContradicted
		case !res.Applied:
			return SpoolSuperseded
		case res.Record.Response == nil || t.Response == nil:
			return SpoolRecorded // its body is forgotten already
		case res.Record.Response.Digest != t.Response.Digest || res.Record.Response.Status != t.Response.Status:
			return SpoolSuperseded
		}
		return SpoolRecorded
	case Release:
		if res.Applied {
			return SpoolRecorded
		}
	case Claim, Doubt, Resolve, Cancel, Acknowledge, Import:
	}
	return SpoolSuperseded
}

// SpoolObserver hears what becomes of outcomes in the spool. It must not block.
type SpoolObserver interface {
	// Spooled is called with the error of what was refused or damaged, otherwise nil.
	Spooled(op OperationID, news SpoolNews, err error)
}
