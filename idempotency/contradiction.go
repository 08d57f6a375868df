package idempotency

// A contradiction is an answer that no move accepts: it proves that an operation was executed whose
// record says not_executed or cancelled, or that an attempt had an effect beside the one that was
// recorded. The answer is kept as evidence beside the record, the record is marked, and nothing claims
// or cancels it any more.

// Believed is the state that a caller may act on. A not_executed or cancelled record that an answer has
// proved wrong is in doubt: nobody may be told that there was no effect.
func (r Record) Believed() State {
	if r.Contradicted && (r.State == NotExecuted || r.State == Cancelled) {
		return Unknown
	}
	return r.State
}

// contradicts reports whether t, which was not applied, is an answer that after's record is marked for.
// A record may have been marked before; then this is one more.
func contradicts(t Transition, after Record) bool {
	_, answer := t.(Complete)
	return answer && after.Contradicted
}
