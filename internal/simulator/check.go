package simulator

import (
	"fmt"
	"slices"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// verdict is what the invariants have against a run.
type verdict []string

func (v *verdict) say(format string, args ...any) { *v = append(*v, fmt.Sprintf(format, args...)) }

// check holds all that was shown against the ledger, and against itself.
func (w *world) check() (wrong verdict) {
	for _, op := range w.ops {
		ledger, seen := w.backend.effects(op.id), w.history.all[op]
		if len(ledger) > 1 {
			wrong.say("I1 at most once: %s has %d effects: %v", op.name, len(ledger), ledger)
		}
		wrong.answers(seen)
		for _, o := range seen {
			wrong.isolation(o, ledger)
			wrong.evidence(o, ledger)
		}
		for _, a := range seen {
			for _, b := range seen {
				if a.end.Before(b.begin) {
					wrong.order(a, b)
				}
			}
		}
	}
	return wrong
}

// answers: whoever is shown the answer is shown the same, and nobody after its time.
func (v *verdict) answers(seen []observation) {
	first := ""
	for _, o := range seen {
		if o.record.State != idempotency.Completed {
			continue
		}
		body := string(o.record.Response.Body)
		if first == "" {
			first = body
		} else if first != body {
			v.say("I2 no lost answer: %s was shown %q, and somebody before %q", o.ex.name, body, first)
		}
		if !o.begin.Before(o.record.BodyExpires) {
			v.say("I2 no lost answer: %s was shown an answer %v after it had expired", o.ex.name, o.begin.Sub(o.record.BodyExpires))
		}
	}
}

// isolation: nobody is shown another caller's record, or the answer to another request.
func (v *verdict) isolation(o observation, ledger []effect) {
	r, op := o.record, o.ex.op
	if r.ID != op.id || r.State != idempotency.Unseen && r.Operation != op.Operation {
		v.say("I5 isolation: %s was shown the record of %v", o.ex.name, r.Operation)
	}
	if r.State != idempotency.Completed || o.ex.call != protected {
		return
	}
	body := string(r.Response.Body)
	if !slices.ContainsFunc(ledger, func(e effect) bool { return e.body == body && e.by == o.ex.by() }) {
		v.say("I5 isolation: %s is %s, and was shown %q", o.ex.name, o.ex.by(), body)
	}
}

// evidence: what is shown of an execution is what the ledger has, and "not executed" means that.
func (v *verdict) evidence(o observation, ledger []effect) {
	executed := slices.ContainsFunc(ledger, func(e effect) bool { return !e.at.After(o.end) })
	switch r := o.record; r.State {
	case idempotency.Completed:
		body := string(r.Response.Body)
		if !executed || !slices.ContainsFunc(ledger, func(e effect) bool { return e.body == body }) {
			v.say("I3 no invented answer: %s was shown %q, which the backend had never said", o.ex.name, body)
		}
	case idempotency.Forgotten:
		if !executed {
			v.say("I3 no invented answer: %s was told that it is executed, and it was not", o.ex.name)
		}
	case idempotency.NotExecuted, idempotency.Cancelled:
		for _, e := range ledger {
			if e.attempt <= r.Attempt.N {
				v.say("I4 honest negatives: %s was shown %v %d, and attempt %d has an effect", o.ex.name, r.State, r.Attempt.N, e.attempt)
			}
		}
	case idempotency.Unseen, idempotency.Executing, idempotency.Unknown:
	}
}

// order: b was asked for after a had been shown.
func (v *verdict) order(a, b observation) {
	from, to := a.record, b.record
	switch {
	case from.Revision == 0 && from.State != idempotency.Unseen, to.Revision == 0 && to.State != idempotency.Unseen:
		return // about an attempt that was waited for, and not about the record
	case mayFollow(from.State, from.Attempt.N, to.State, to.Attempt.N):
		return
	case from.State == idempotency.Forgotten && from.Attempt.N == to.Attempt.N && a.gateway != b.gateway && b.isCached():
		return // an acknowledgement may go unnoticed elsewhere for as long as a record may be cached
	case a.spooled && from.State == idempotency.Completed && mayBeBehind(to, a.ex.op):
		return
	case b.spooled && from.State == idempotency.Forgotten && to.State == idempotency.Completed:
		return // settled by hand or acknowledged elsewhere, and this gateway does not know: a limit that docs/guarantee.md states
	}
	v.say("I6 monotone: %s was shown %v %d, and %s after it %v %d",
		a.ex.name, from.State, from.Attempt.N, b.ex.name, to.State, to.Attempt.N)
}

// isCached reports whether the observation is of a record that was read before, and not too long ago.
func (o observation) isCached() bool {
	r := o.record
	return r.State == idempotency.Completed && r.Observed.Before(o.begin) && o.begin.Sub(r.Observed) <= staleness
}

// staleness is how old a cached record may be.
const staleness = 60 * time.Second

// mayFollow reports whether a record in state a of attempt n can be seen in state b of attempt m later.
// It is the closure of the table in docs/guarantee.md, written down once more.
func mayFollow(a idempotency.State, n int, b idempotency.State, m int) bool {
	type S = idempotency.State
	if a == idempotency.Unseen {
		return true
	}
	if b == idempotency.Unseen || m < n {
		return false
	}
	switch a {
	case idempotency.Completed:
		return m == n && slices.Contains([]S{idempotency.Completed, idempotency.Forgotten}, b)
	case idempotency.Forgotten, idempotency.Cancelled:
		return m == n && a == b
	case idempotency.NotExecuted:
		return m > n || slices.Contains([]S{idempotency.NotExecuted, idempotency.Cancelled}, b)
	case idempotency.Unknown:
		return m > n || b != idempotency.Executing
	case idempotency.Executing, idempotency.Unseen:
		return true
	}
	return false
}

// mayBeBehind reports whether a record may be seen by one gateway while another answers out of its spool:
// executing or in doubt; where the backend recognises the key also as another attempt. Never anything that
// says that there was no execution.
func mayBeBehind(r idempotency.Record, op *operation) bool {
	switch r.State {
	case idempotency.Executing, idempotency.Unknown:
		return true
	case idempotency.Completed, idempotency.Forgotten:
		return op.resend
	case idempotency.Unseen, idempotency.NotExecuted, idempotency.Cancelled:
	}
	return false
}

// settledAll checks what must be true once nothing has gone wrong for a while.
func (w *world) settledAll() (wrong verdict) {
	for _, op := range w.ops {
		if r := w.find(op); r.State == idempotency.Executing {
			wrong.say("I8 liveness: %s is still executing attempt %d, claimed %v ago", op.name, r.Attempt.N, time.Since(r.Claimed))
		}
	}
	for _, s := range w.slots {
		g := s.running()
		if g == nil {
			wrong.say("I8 liveness: gateway %d does not run", s.n)
		} else if n := g.engine.Running(); n > 0 {
			wrong.say("I8 liveness: %s has %d executions that do not end", g.name, n)
		}
	}
	return wrong
}

// agreed checks that in the end the record and the ledger say the same.
func (w *world) agreed() (wrong verdict) {
	for _, op := range w.ops {
		r, effects := w.find(op), len(w.backend.effects(op.id))
		want := -1
		switch r.State {
		case idempotency.Completed, idempotency.Forgotten:
			want = 1
		case idempotency.Unseen, idempotency.Cancelled, idempotency.NotExecuted:
			want = 0
		case idempotency.Executing, idempotency.Unknown:
		}
		if want != effects && effects < 2 { // I1 tells of more
			wrong.say("I2 no lost answer: in the end %s is %v, and has %d effects", op.name, r.State, effects)
		}
		if r.Contradicted {
			wrong.say("I4 honest negatives: an answer contradicts the record of %s", op.name)
		}
	}
	return wrong
}
