package simulator

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// observation is a record that a gateway showed to somebody who asked between begin and end.
type observation struct {
	ex         *exchange
	begin, end time.Time
	record     idempotency.Record
}

// history is all that anybody was shown.
type history struct {
	mu  sync.Mutex
	all map[*operation][]observation
}

// look is a question that is under way.
type look struct {
	h     *history
	ex    *exchange
	begin time.Time
}

func (h *history) look(ex *exchange) look { return look{h, ex, time.Now()} }

func (l look) saw(r idempotency.Record) {
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	if l.h.all == nil {
		l.h.all = map[*operation][]observation{}
	}
	l.h.all[l.ex.op] = append(l.h.all[l.ex.op], observation{l.ex, l.begin, time.Now(), r})
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
	return r.State == idempotency.Executing || r.State == idempotency.Unknown || r.State == idempotency.Completed && op.resend
}

// check returns what the invariants have against the run.
func (w *world) check() (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, op := range w.ops {
		ledger := w.backend.effects(op.id)
		seen := w.history.all[op]
		if len(ledger) > 1 {
			say("I1 at most once: %s has %d effects: %v", op.name, len(ledger), ledger)
		}
		answer := ""
		for _, o := range seen {
			r := o.record
			if r.ID != op.id || r.State != idempotency.Unseen && r.Operation != op.Operation {
				say("I5 isolation: %s was shown the record of %v", o.ex.name, r.Operation)
			}
			executed := slices.ContainsFunc(ledger, func(e effect) bool { return !e.at.After(o.end) })
			switch r.State {
			case idempotency.Completed:
				body := string(r.Response.Body)
				if answer == "" {
					answer = body
				} else if answer != body {
					say("I2 no lost answer: %s was shown %q, and somebody before %q", o.ex.name, body, answer)
				}
				if !o.begin.Before(r.BodyExpires) {
					say("I2 no lost answer: %s was shown an answer %v after it had expired", o.ex.name, o.begin.Sub(r.BodyExpires))
				}
				if !slices.ContainsFunc(ledger, func(e effect) bool { return e.body == body }) {
					say("I3 no invented answer: %s was shown %q, which the backend never said", o.ex.name, body)
				}
				if !slices.ContainsFunc(ledger, func(e effect) bool { return e.body == body && e.by == o.ex.by() }) && o.ex.call == protected {
					say("I5 isolation: %s is %s, and was shown %q", o.ex.name, o.ex.by(), body)
				}
				if !executed {
					say("I3 no invented answer: %s was shown an answer before the effect", o.ex.name)
				}
			case idempotency.Forgotten:
				if !executed {
					say("I3 no invented answer: %s was told that it is executed, and it is not", o.ex.name)
				}
			case idempotency.NotExecuted, idempotency.Cancelled:
				for _, e := range ledger {
					if e.attempt <= r.Attempt.N {
						say("I4 honest negatives: %s was shown %v %d, and attempt %d has an effect", o.ex.name, r.State, r.Attempt.N, e.attempt)
					}
				}
			case idempotency.Unseen, idempotency.Executing, idempotency.Unknown:
			}
		}
		for _, a := range seen {
			for _, b := range seen {
				if !a.end.Before(b.begin) || a.record.Revision == 0 && a.record.State != idempotency.Unseen || b.record.Revision == 0 && b.record.State != idempotency.Unseen {
					continue // at once, or not about a record
				}
				// An acknowledgement may go unnoticed for as long as a record may be cached.
				cached := b.record.State == idempotency.Completed && b.record.Observed.Before(b.begin) && b.begin.Sub(b.record.Observed) <= staleness
				if a.record.State == idempotency.Forgotten && cached && a.record.Attempt.N == b.record.Attempt.N {
					continue
				}
				if w.spools && a.record.State == idempotency.Completed && mayBeBehind(b.record, op) {
					continue
				}
				if !mayFollow(a.record.State, a.record.Attempt.N, b.record.State, b.record.Attempt.N) {
					say("I6 monotone: %s was shown %v %d, and %s after it %v %d", a.ex.name, a.record.State, a.record.Attempt.N,
						b.ex.name, b.record.State, b.record.Attempt.N)
				}
			}
		}
	}
	return wrong
}

// settledAll checks what must be true once nothing has gone wrong for a while.
func (w *world) settledAll() (wrong []string) {
	for _, op := range w.ops {
		if r := w.find(op); r.State == idempotency.Executing {
			wrong = append(wrong, fmt.Sprintf("I8 liveness: %s is still executing attempt %d, claimed %v ago", op.name, r.Attempt.N, time.Since(r.Claimed)))
		}
	}
	for _, s := range w.slots {
		g := s.running()
		if g == nil {
			wrong = append(wrong, fmt.Sprintf("I8 liveness: gateway %d does not run", s.n))
		} else if n := g.engine.Running(); n > 0 {
			wrong = append(wrong, fmt.Sprintf("I8 liveness: %s has %d executions that do not end", g.name, n))
		}
	}
	return wrong
}

// agreed checks that in the end the record and the ledger say the same.
func (w *world) agreed() (wrong []string) {
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
			wrong = append(wrong, fmt.Sprintf("I2 no lost answer: in the end %s is %v, and has %d effects", op.name, r.State, effects))
		}
		if r.Contradicted {
			wrong = append(wrong, fmt.Sprintf("I4 honest negatives: an answer contradicts the record of %s", op.name))
		}
	}
	return wrong
}
