package idempotency

// Ruling is what a record says about a request for its operation.
type Ruling uint8

const (
	Claimable    Ruling = iota // nothing stands against a new attempt
	Granted                    // this request's claim is committed: it executes
	Busy                       // an attempt is running
	Replay                     // the stored response is the answer
	NoBody                     // executed, and there is nothing to replay
	InDoubt                    // may have been executed; nothing may execute it
	Forbidden                  // cancelled
	Mismatch                   // the key was used for another request
	Incomparable               // the record's fingerprint version is unknown to this gateway
	Damage                     // the stored response does not match its digest
)

var rulingNames = [...]string{"claimable", "granted", "busy", "replay", "no-body", "in-doubt", "forbidden", "mismatch", "incomparable", "damage"}

func (r Ruling) String() string { return rulingNames[r] }

// Judge rules on a request with fingerprint f, given its operation's record. It never returns Granted:
// only a committed claim grants.
func Judge(r Record, f Fingerprint) Ruling {
	if !r.Fingerprint.IsZero() && r.State != Unseen {
		if r.Fingerprint.Version != f.Version {
			return Incomparable
		}
		if r.Fingerprint != f {
			return Mismatch
		}
	}
	switch r.Believed() {
	case Unseen, NotExecuted:
		return Claimable
	case Executing:
		return Busy
	case Completed:
		if r.Damaged || r.Response == nil {
			return Damage
		}
		return Replay
	case Forgotten:
		return NoBody
	case Cancelled:
		return Forbidden
	case Unknown:
		return InDoubt
	}
	return InDoubt
}
