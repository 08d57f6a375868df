package idempotency

import "time"

// Env is what a move depends on besides the record and the transition, all of it the store's.
type Env struct {
	Now           time.Time
	OwnerHasLease bool          // of the stored record's owner
	Lease         time.Duration // how long a silent owner keeps its executing records
	// Changed is when the store became another one, as in a failover, that may lack what the former one
	// had: that an operation has no record proves nothing if its key is older. Zero: never.
	Changed time.Time
}

// lacks reports whether the store may have lost the record of an operation whose key has this date.
func (e Env) lacks(keyDate time.Time) bool { return !keyDate.IsZero() && !keyDate.After(e.Changed) }

// Next is the table of legal moves, and the only place that has it: given a stored record (State
// Unseen if there is none) it returns the record after t, whether anything changed, and what is kept
// beside it as evidence. Stores either call it, or express the same conditions in their own language
// and are checked against it.
func Next(stored Record, t Transition, env Env) (after Record, changed bool, evidence *Evidence) {
	seen := stored
	seen.Derive(env.Now, env.OwnerHasLease, env.Lease)
	m := t.next(stored, seen, env)
	if !m.changed {
		return stored, false, m.evidence
	}
	m.after.Revision = stored.Revision + 1
	if stored.State != Unseen {
		m.after.Been = stored.Been.With(stored.State).With(seen.State)
	}
	if m.evidence != nil {
		m.evidence.Operation, m.evidence.At = t.Target(), env.Now
	}
	return m.after, true, m.evidence
}

type move struct {
	after    Record
	changed  bool
	evidence *Evidence
}

var stay = move{}

func (t Claim) next(_, seen Record, env Env) move {
	r := seen
	switch seen.State {
	case Unseen:
		if t.Further || env.lacks(t.KeyDate) {
			return stay
		}
		r = Record{ID: t.Attempt.Operation, Operation: t.Operation, FirstSeen: env.Now}
	case NotExecuted, Unknown:
		if seen.State == Unknown && !t.Resend || seen.Contradicted || seen.Fingerprint != t.Fingerprint || seen.Attempt.ID == t.Attempt.ID {
			return stay
		}
		r.Doubted = seen.State == Unknown
	case Executing, Completed, Cancelled, Forgotten:
		return stay
	}
	n := seen.Attempt.N + 1
	r.State, r.Attempt, r.Cause = Executing, t.Attempt, ""
	r.Attempt.N = n
	r.Fingerprint, r.Method, r.Target, r.Route = t.Fingerprint, t.Method, t.TargetURI, t.Route
	r.Resend, r.Trace = t.Resend, t.Trace
	r.Resolution = nil // it spoke of an earlier attempt; this one's answer will be its own
	r.Claimed, r.Deadline, r.Settled = env.Now, env.Now.Add(t.Budget), time.Time{}
	r.Expires = latest(seen.Expires, env.Now.Add(t.Retention.Key))
	if !t.KeyDate.IsZero() {
		r.Expires = latest(r.Expires, t.KeyDate.Add(t.Retention.Key))
	}
	return move{after: r, changed: true}
}

func (t Complete) next(stored, seen Record, env Env) move {
	own := seen.Attempt.ID == t.Attempt.ID
	earlier := seen.Resend && t.Attempt.N > 0 && t.Attempt.N < seen.Attempt.N
	switch seen.State {
	case Unseen:
		return stay
	case Executing, Unknown:
		// Of a record that stands for what a store has lost, nobody knows the attempt: any one's answer is it.
		lost := stored.State == Unknown && stored.Cause == CauseLost
		if own || earlier || lost {
			r := answered(seen, t.Response, t.Retention, env.Now)
			if lost {
				r.Attempt.ID, r.Attempt.N = t.Attempt.ID, max(r.Attempt.N, t.Attempt.N)
			}
			if seen.State == Unknown {
				return move{r, true, &Evidence{Attempt: t.Attempt.ID, N: t.Attempt.N, Kind: EvidenceLateAnswer, By: ByGateway}}
			}
			return move{after: r, changed: true}
		}
	case Completed, Forgotten:
		if own || earlier {
			return stay
		}
	case NotExecuted, Cancelled:
	}
	r := stored
	r.Contradicted = true
	return move{r, !stored.Contradicted, &Evidence{
		Operation: t.Attempt.Operation, Attempt: t.Attempt.ID, N: t.Attempt.N, Kind: EvidenceContradiction,
		By: ByGateway, Text: "an answer arrived for an attempt that the record says had no effect", Response: t.Response, At: env.Now,
	}}
}

func (t Release) next(_, seen Record, env Env) move {
	if seen.Attempt.ID != t.Attempt.ID || seen.State != Executing && seen.State != Unknown {
		return stay
	}
	if seen.Doubted {
		// Attempt N had no effect, but an earlier one may have had: the operation stays in doubt.
		if seen.State == Unknown {
			return stay
		}
		return move{after: doubted(seen, CauseEarlier, t.Retention, env.Now), changed: true}
	}
	r := settled(seen, NotExecuted, t.Retention, env.Now)
	r.Cause = t.Cause
	if seen.State == Unknown {
		return move{r, true, &Evidence{Attempt: t.Attempt.ID, N: t.Attempt.N, Kind: EvidenceLateRelease, By: ByGateway, Text: string(t.Cause)}}
	}
	return move{after: r, changed: true}
}

func (t Doubt) next(stored, seen Record, env Env) move {
	if stored.State != Executing || seen.Attempt.ID != t.Attempt.ID {
		return stay
	}
	return move{after: doubted(seen, t.Cause, t.Retention, env.Now), changed: true}
}

func (t Resolve) next(_, seen Record, env Env) move {
	if seen.State != Unknown || seen.Attempt.N != t.N {
		return stay
	}
	var r Record
	switch t.Verdict {
	case VerdictExecuted:
		response := t.Response
		if response == nil {
			response = seen.Response
		}
		r = answered(seen, response, t.Retention, env.Now)
	case VerdictNotExecuted:
		r = settled(seen, NotExecuted, t.Retention, env.Now)
		r.Doubted, r.Cause = false, CauseResolved
	default:
		return stay
	}
	r.Resolution = &Resolution{By: t.By, Evidence: t.Evidence, At: env.Now}
	return move{r, true, &Evidence{Attempt: seen.Attempt.ID, N: t.N, Kind: EvidenceResolution, By: t.By, Text: t.Evidence}}
}

func (t Note) next(_, seen Record, env Env) move {
	if seen.State != Unknown || seen.Attempt.N != t.N {
		return stay
	}
	return move{evidence: &Evidence{
		Operation: t.Operation, Attempt: seen.Attempt.ID, N: t.N, Kind: EvidenceAbsence, By: t.By, Text: t.Text, At: env.Now,
	}}
}

func (t Cancel) next(_, seen Record, env Env) move {
	r := seen
	switch seen.State {
	case Unseen:
		if env.lacks(t.KeyDate) {
			return stay
		}
		r = Record{ID: t.Operation.ID(), Operation: t.Operation, FirstSeen: env.Now, Trace: t.Trace}
	case NotExecuted:
		if seen.Contradicted {
			return stay // it was executed: nobody may be told that it never will be
		}
	case Executing, Completed, Unknown, Cancelled, Forgotten:
		return stay
	}
	r = settled(r, Cancelled, t.Retention, env.Now)
	if !t.KeyDate.IsZero() {
		// Otherwise a tombstone could be purged while the key's own date would still let the original in.
		r.Expires = latest(r.Expires, t.KeyDate.Add(t.Retention.Key))
	}
	return move{after: r, changed: true}
}

func (t Acknowledge) next(stored, seen Record, _ Env) move {
	if stored.State != Completed {
		return stay
	}
	r := seen
	r.State = Forgotten
	if r.Response != nil {
		r.Response = r.Response.Bodiless()
	}
	return move{after: r, changed: true}
}

func (t Import) next(_, seen Record, env Env) move {
	if seen.State != Unseen {
		return stay
	}
	env.Changed, t.Claim.Further = time.Time{}, false
	m := t.Claim.next(seen, seen, env)
	m.after.Attempt.N = t.Claim.Attempt.N
	if t.Response != nil {
		m.after = answered(m.after, t.Response, t.Claim.Retention, env.Now)
	} else {
		m.after = doubted(m.after, CauseLost, t.Claim.Retention, env.Now)
		// What became of the attempts before this one is lost too; only without resend are they settled.
		m.after.Doubted = t.Claim.Resend && t.Claim.Attempt.N > 1
	}
	m.evidence = &Evidence{Attempt: t.Claim.Attempt.ID, N: t.Claim.Attempt.N, Kind: EvidenceImport, By: ByGateway, Text: t.Evidence}
	return m
}

func settled(r Record, s State, keep Retention, now time.Time) Record {
	r.State, r.Cause, r.Settled = s, "", now
	r.Expires = latest(r.Expires, now.Add(keep.Key))
	return r
}

func doubted(r Record, cause Cause, keep Retention, now time.Time) Record {
	r = settled(r, Unknown, keep, now)
	r.Cause = cause
	return r
}

func answered(r Record, response *Response, keep Retention, now time.Time) Record {
	if response != nil && response.Replayable {
		r = settled(r, Completed, keep, now)
		r.BodyExpires = bodyFrom(r, keep, now).Add(keep.Response)
	} else {
		r = settled(r, Forgotten, keep, now)
	}
	r.Response, r.Doubted = response, false
	return r
}

// bodyFrom returns what the life of a body counts from: the latest of first sight, the key's date and settlement.
// That is what the record's time counts from, unless it was promised more under an earlier, longer retention: the
// key's date is not kept, but it is not further ahead than dates may be.
func bodyFrom(r Record, keep Retention, now time.Time) time.Time {
	from, most := r.Expires.Add(-keep.Key), latest(r.FirstSeen, now).Add(MaxDateAhead)
	if from.After(most) {
		return most
	}
	return from
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (t Claim) applied(after Record) bool {
	return after.State == Executing && after.Attempt.ID == t.Attempt.ID
}

func (t Complete) applied(after Record) bool {
	own := after.Attempt.ID == t.Attempt.ID
	earlier := after.Resend && t.Attempt.N > 0 && t.Attempt.N < after.Attempt.N
	return (after.State == Completed || after.State == Forgotten) && (own || earlier)
}

// applied also holds when another attempt has been claimed since: it could not have been otherwise.
func (t Release) applied(after Record) bool {
	if after.Attempt.ID != t.Attempt.ID {
		return t.Attempt.N > 0 && after.Attempt.N > t.Attempt.N
	}
	return after.State == NotExecuted || after.State == Cancelled || after.State == Unknown && after.Doubted
}

func (t Doubt) applied(after Record) bool {
	return after.State == Unknown && after.Attempt.ID == t.Attempt.ID
}

func (t Resolve) applied(after Record) bool {
	r := after.Resolution
	if r == nil || after.Attempt.N != t.N || r.By != t.By || r.Evidence != t.Evidence {
		return false
	}
	executed := after.State == Completed || after.State == Forgotten
	if t.Verdict != VerdictExecuted || !executed || after.Damaged {
		return (t.Verdict == VerdictExecuted) == executed
	}
	if t.Response == nil || after.Response == nil {
		return t.Response == nil && after.Response == nil
	}
	return t.Response.Status == after.Response.Status && t.Response.Digest == after.Response.Digest
}

func (t Note) applied(after Record) bool {
	return after.State == Unknown && after.Attempt.N == t.N
}

func (t Cancel) applied(after Record) bool      { return after.State == Cancelled }
func (t Acknowledge) applied(after Record) bool { return after.State == Forgotten }
func (t Import) applied(after Record) bool {
	answered := after.State == Completed || after.State == Forgotten
	return after.Attempt.ID == t.Claim.Attempt.ID && after.State != Unseen && (answered || t.Response == nil)
}
