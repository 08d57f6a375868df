package idempotency

import "time"

// importLost records that nobody knows what became of an operation whose record the store may have lost:
// its key is older than the store's last change, and there is no record. If there is one by now, that
// counts.
func (e *Engine) importLost(c Claim) (Result, error) {
	c.Attempt.N = 1
	return e.committer.Submit(Import{
		Claim: c, Evidence: "the store became another one after the date of the key, and has no record of the operation",
	}, nil)
}

// restoreLost brings an outcome back whose claim the store has lost while the attempt ran: its owner still
// has both. A proof that nothing was sent is recorded as one.
func (x *Execution) restoreLost(t Transition) (Result, error) {
	asOf, lost := time.Now(), x.lost(t)
	res, err := x.engine.committer.restore(lost, func(res Result, err error) { x.late(lost, asOf, res, err) })
	if _, ok := t.(Release); ok && err == nil {
		return x.submit(t, time.Now())
	}
	return res, err
}

// lost is what brings t back.
func (x *Execution) lost(t Transition) Import {
	i := Import{Claim: claimOf(x.flight.record, x.retention), Evidence: "the owner has the outcome, and the store has no record of the attempt"}
	if c, ok := t.(Complete); ok {
		i.Response = c.Response
	}
	return i
}

// claimOf returns the claim that a record was made by.
func claimOf(r Record, keep Retention) Claim {
	return Claim{
		Attempt: r.Attempt, Operation: r.Operation, Fingerprint: r.Fingerprint, Method: r.Method, TargetURI: r.Target, Route: r.Route,
		Budget: r.Deadline.Sub(r.Claimed), Resend: r.Resend, Retention: keep, Trace: r.Trace,
	}
}
