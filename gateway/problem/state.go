package problem

import "github.com/onceway/onceway/idempotency"

// State is a value of Idempotency-State. The zero value is "as the table says" in a [Problem] and
// nothing anywhere else.
type State uint8

const (
	Executed    State = iota + 1 // this request was executed, and this is its answer
	Replayed                     // the stored answer of an earlier request
	Attached                     // this request waited for the attempt of another one
	Executing                    // an attempt is still running
	NotExecuted                  // proof that the last attempt had no effect
	Unknown                      // the last attempt may have executed
	Cancelled                    // forbidden before it was executed
	Forgotten                    // executed; there is no body to replay
	Rejected                     // refused; no attempt was made by this request
	Unprotected                  // streamed through without a key
	Completed                    // reconciliation only: the whole response is stored
	Unseen                       // reconciliation only: there is no record
	stateCount  = iota + 1
)

var stateNames = [stateCount]string{"", "executed", "replayed", "attached", "executing", "not_executed", "unknown",
	"cancelled", "forgotten", "rejected", "unprotected", "completed", "unseen"}

// StateCount is the number of states, the zero value included: the length of a table indexed by State.
const StateCount = stateCount

func (s State) String() string { return stateNames[s] }

// OfRecord returns the state of a record as reconciliation shows it.
func OfRecord(s idempotency.State) State {
	switch s {
	case idempotency.Unseen:
		return Unseen
	case idempotency.Executing:
		return Executing
	case idempotency.Completed:
		return Completed
	case idempotency.NotExecuted:
		return NotExecuted
	case idempotency.Unknown:
		return Unknown
	case idempotency.Cancelled:
		return Cancelled
	case idempotency.Forgotten:
		return Forgotten
	}
	panic("problem: no such record state: " + s.String())
}

// Next is a value of Idempotency-Next: what a client should do now. The zero value is "as the table
// says" in a [Problem] and nothing anywhere else.
type Next uint8

const (
	Done      Next = iota + 1 // it was executed; there is nothing to do
	Wait                      // an attempt is running: ask or send again later
	Resend                    // send the same request with the same key again
	Reconcile                 // ask for the record before doing anything else
	Stop                      // sending this again cannot help
	nextCount = iota + 1
)

var nextNames = [nextCount]string{"", "done", "wait", "resend", "reconcile", "stop"}

// NextCount is the number of these values, the zero value included.
const NextCount = nextCount

func (n Next) String() string { return nextNames[n] }

// RetryAfter reports whether an answer with this Next carries Retry-After.
func (n Next) RetryAfter() bool {
	switch n {
	case Wait, Resend, Reconcile:
		return true
	case Done, Stop, 0:
		return false
	}
	panic("problem: no such next")
}

// NextOfRecord returns what a client should do that finds its record in state s.
func NextOfRecord(s idempotency.State) Next {
	switch s {
	case idempotency.Unseen, idempotency.NotExecuted:
		return Resend
	case idempotency.Executing:
		return Wait
	case idempotency.Completed, idempotency.Forgotten:
		return Done
	case idempotency.Unknown:
		return Reconcile
	case idempotency.Cancelled:
		return Stop
	}
	panic("problem: no such record state: " + s.String())
}
