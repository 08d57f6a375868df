package idempotency

// Cause is a short fixed word for why a record is not_executed or unknown: for operators and metrics. It never
// contains data of the request.
type Cause string

// Causes of the core's own. A dispatcher has its own (see gateway/upstream), and "status-" with the backend's status.
const (
	CauseAbandoned    Cause = "abandoned"                // the claim was given up before anything was sent
	CauseEarlier      Cause = "earlier-attempt-in-doubt" // the last attempt had no effect, and one before it may have had
	CauseLost         Cause = "lost-by-the-store"        // the record was brought back, and nobody has the outcome
	CauseOverdue      Cause = "overdue"                  // the attempt's deadline passed, and nothing was recorded
	CauseOwnerGone    Cause = "owner-gone"               // the gateway that owned the attempt lost its lease
	CauseResolved     Cause = "resolved"                 // a probe or an operator says that it was not executed
	CauseUnrecordable Cause = "unrecordable"             // the store refused the outcome itself
	CauseUntracked    Cause = "not-tracked-by-its-owner" // its owner's lease lives, and the owner knows of no such attempt
)
