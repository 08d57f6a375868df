package idempotency

import "time"

// Transition is one requested move of one record. It is a closed set: [Claim], [Complete], [Release],
// [Doubt], [Resolve], [Note], [Cancel], [Acknowledge] and [Import]. Each is written on its own condition, in
// the statement that writes; each may be applied again without harm. What each does is [Next].
type Transition interface {
	// Target is the operation whose record is to move.
	Target() OperationID
	next(stored, seen Record, env Env) move
	// applied reports whether a record, read after the move was tried, shows that it holds.
	applied(after Record) bool
}

// Retention says how long things are kept, counted from the latest of first sight, the key's date and
// settlement.
type Retention struct {
	Response time.Duration // bodies; at most Key
	Key      time.Duration // records
}

// Claim asks for a new attempt: – → executing 1, not_executed N → executing N+1, and, where Resend,
// unknown N → executing N+1. Where Further, the first of these is none. Attempt.N is ignored: the record decides it.
type Claim struct {
	Attempt     Attempt
	Operation   Operation
	Fingerprint Fingerprint
	Method      string
	TargetURI   string        // path and query as forwarded
	Route       string        // its name: for operators, and for whoever asks the backend later
	Budget      time.Duration // the attempt's deadline is the store's clock plus this
	Resend      bool          // the backend deduplicates by key: a retry may execute an operation in doubt
	Further     bool          // not the first attempt: an operation without a record may have been executed and forgotten
	KeyDate     time.Time     // the key's own date; zero if it has none
	Retention   Retention
	Trace       Trace
}

// Complete records an attempt's whole answer: executing or unknown N → completed, or → forgotten when
// the response is not Replayable. On a resend record the answer of an earlier attempt counts too;
// the first commit wins. An answer that disproves a not_executed or cancelled record is kept as a
// contradiction.
type Complete struct {
	Attempt   Attempt
	Response  *Response
	Retention Retention
	// Claimed is the record as the attempt's claim left it, if that is at hand. It decides nothing: it spares
	// a store to read what it wrote itself, as long as the record still is at that revision.
	Claimed *Record
}

// Release records the proof that an attempt had no effect: executing or unknown N → not_executed. If
// an earlier attempt is still in doubt, the record becomes unknown instead.
type Release struct {
	Attempt   Attempt
	Cause     Cause
	Retention Retention
}

// Doubt records that an attempt may have executed and has no answer: executing N → unknown.
type Doubt struct {
	Attempt   Attempt
	Cause     Cause
	Retention Retention
}

// Verdict is what a resolution says of an operation in doubt.
type Verdict uint8

const (
	VerdictExecuted    Verdict = iota + 1 // with a response: completed; without: forgotten
	VerdictNotExecuted                    // not_executed
)

// Resolve settles a record in doubt from outside: unknown N → completed, forgotten or not_executed.
type Resolve struct {
	Operation OperationID
	N         int // the attempt that the evidence is about; another N in the record refuses the move
	Verdict   Verdict
	Response  *Response // only with VerdictExecuted; may be nil
	By        string    // ByProbe, or of ByOperator
	Evidence  string    // never empty
	Retention Retention
}

// Note keeps beside a record in doubt, as evidence, that a probe did not find the operation. It moves
// nothing: absence alone proves nothing. The first note of an attempt stays.
type Note struct {
	Operation OperationID
	N         int    // the attempt that the note is about; another N in the record refuses it
	By        string // ByProbe
	Text      string // never empty
}

// Cancel forbids an operation for ever: – or not_executed → cancelled.
type Cancel struct {
	Operation Operation
	KeyDate   time.Time // the key's own date; zero if it has none
	Retention Retention
	Trace     Trace // of the call that cancels; a record that has had an attempt keeps that one's
}

// Acknowledge erases a stored body: completed → forgotten.
type Acknowledge struct{ Operation OperationID }

// Import brings back what a store lost in a failover: – → completed with a response, – → unknown
// without one. Claim.Attempt.N is the attempt that was lost.
type Import struct {
	Claim    Claim
	Response *Response
	Evidence string // never empty
}

func (t Claim) Target() OperationID       { return t.Attempt.Operation }
func (t Complete) Target() OperationID    { return t.Attempt.Operation }
func (t Release) Target() OperationID     { return t.Attempt.Operation }
func (t Doubt) Target() OperationID       { return t.Attempt.Operation }
func (t Resolve) Target() OperationID     { return t.Operation }
func (t Note) Target() OperationID        { return t.Operation }
func (t Cancel) Target() OperationID      { return t.Operation.ID() }
func (t Acknowledge) Target() OperationID { return t.Operation }
func (t Import) Target() OperationID      { return t.Claim.Attempt.Operation }

// Result is what became of one transition.
type Result struct {
	Record  Record // after the batch; State Unseen if there is none
	Applied bool   // the move holds, whether it was made now or by an earlier try
}

// ResultOf returns the result of t, given its record as read after the move was tried.
func ResultOf(t Transition, after Record) Result {
	return Result{Record: after, Applied: t.applied(after)}
}
