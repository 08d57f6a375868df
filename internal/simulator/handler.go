package simulator

import (
	"context"
	"errors"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// call is what a client asks of a gateway.
type call int

const (
	protected   call = iota // the request itself
	reconcile               // what became of it
	cancel                  // forbid it
	acknowledge             // forget its answer
)

var callNames = [...]string{"request", "reconcile", "cancel", "acknowledge"}

// reply is what a client gets to see.
type reply struct {
	state     idempotency.State // of the record; Unseen and refused: nothing stands against another try
	refused   bool              // nothing was done
	mismatch  bool
	undecided bool // the outcome is not recorded: nobody may say more than unknown
	body      string
}

// arrive handles a request that has arrived at a machine. Nothing comes back if the process dies.
func (s *slot) arrive(ex *exchange, d *stream) {
	g := s.running()
	if g == nil {
		ex.answer(reply{refused: true}, d)
		return
	}
	v := g.enter(ex)
	defer v.leave()
	v.strikes(d)
	if !g.step(d) {
		return
	}
	r, ok := v.handle(d)
	if !ok {
		return
	}
	v.at(recorded)
	v.strikes(d)
	if g.step(d) {
		ex.answer(r, d)
	}
}

// handle does with the engine what a gateway does. It is false if the process died.
func (v *visit) handle(d *stream) (reply, bool) {
	op, engine := v.ex.op, v.g.engine
	ctx := context.WithValue(context.Background(), askerKey{}, v.ex.name)
	keep := op.retention()
	look := v.g.w.history.look(v.ex, v.g.name, v.g.slot.disk)
	switch v.ex.call {
	case reconcile:
		settled := func(r idempotency.Record) bool { return r.State != idempotency.Executing }
		rec, err := engine.Await(ctx, op.id, d.between(0, 5*time.Second), settled)
		return v.shown(look, rec, err, d)
	case cancel:
		res, err := v.g.committer.Submit(idempotency.Cancel{Operation: op.Operation, Retention: keep}, nil)
		return v.shown(look, res.Record, err, d)
	case acknowledge:
		res, err := v.g.committer.Submit(idempotency.Acknowledge{Operation: op.id}, nil)
		return v.shown(look, res.Record, err, d)
	}
	decision, err := engine.Begin(ctx, idempotency.Request{
		ID: op.id, Operation: op.Operation, Fingerprint: printOf(v.ex.print), Method: "POST", Target: "/orders",
		Budget: budget, Resend: op.resend, Retention: keep,
	})
	if !v.g.step(d) { // copies of a request share a claim, and hear of it at one instant
		return reply{}, false
	}
	if err != nil {
		v.g.w.trace.add("%s refuses %s: %v", v.g.name, v.ex.name, err)
		return reply{refused: true}, true
	}
	v.g.w.trace.add("%s rules %v for %s", v.g.name, decision.Ruling, v.ex.name)
	switch decision.Ruling {
	case idempotency.Granted:
		return v.execute(look, decision.Execution, d)
	case idempotency.Busy:
		o, _, err := engine.Wait(ctx, decision, d.between(0, 10*time.Second))
		if err == nil && o.Err == nil && o.Record.Attempt.N != decision.Record.Attempt.N {
			// What is said is about the attempt that was waited for, and the record is a later one's.
			o.Record.Attempt.N, o.Record.Revision = decision.Record.Attempt.N, 0
		}
		return v.concluded(look, o, err, d)
	case idempotency.Mismatch, idempotency.Incomparable:
		return reply{mismatch: true, state: decision.Record.State}, v.g.awake(d) == nil
	case idempotency.Claimable, idempotency.Replay, idempotency.NoBody, idempotency.InDoubt, idempotency.Forbidden, idempotency.Damage:
	}
	return v.shown(look, decision.Record, nil, d)
}

// execute sends the request once and records what became of it.
func (v *visit) execute(look look, x *idempotency.Execution, d *stream) (reply, bool) {
	v.at(claimed)
	v.strikes(d)
	if !v.g.step(d) {
		return reply{}, false
	}
	if x.Ready() != nil {
		return v.concluded(look, x.Release("no-lease", nil), nil, d)
	}
	// From here to the first byte a pause longer than the lease goes unnoticed: a limit that docs/guarantee.md states.
	b, op := v.g.w.backend, v.ex.op
	b.wire(op.id, 1)
	alive := v.g.step(d)
	var o outcome
	if alive {
		v.at(dispatched)
		v.strikes(d)
		o = b.send(v.g, op, x.Attempt().N, v.ex.by(), d)
	}
	b.wire(op.id, -1)
	if !alive || !v.g.step(d) {
		return reply{}, false
	}
	v.at(answered)
	v.strikes(d)
	if !v.g.step(d) {
		return reply{}, false
	}
	var said idempotency.Outcome
	switch {
	case o.answer != nil:
		said = x.Complete(o.answer)
	case o.refusal != nil:
		said = x.Release("status", o.refusal)
	case o.notSent:
		said = x.Release("dial", nil)
	default:
		said = x.Doubt(o.cause)
	}
	return v.concluded(look, said, nil, d)
}

func (v *visit) concluded(look look, o idempotency.Outcome, err error, d *stream) (reply, bool) {
	if err == nil && o.Err != nil {
		v.g.w.trace.add("%s could not record: %v", v.g.name, o.Err)
		return reply{state: idempotency.Unknown, undecided: true}, !v.g.dead.Load()
	}
	return v.shown(look, o.Record, err, d)
}

// shown notes that a record is shown to a client. An error says that nobody knows.
func (v *visit) shown(look look, r idempotency.Record, err error, d *stream) (reply, bool) {
	if !v.g.step(d) { // all who waited for it hear of it at one instant
		return reply{}, false
	}
	if err != nil {
		if !errors.Is(err, errKilled) {
			v.g.w.trace.add("%s cannot say of %s: %v", v.g.name, v.ex.name, err)
		}
		return reply{refused: true}, true
	}
	look.saw(r)
	out := reply{state: r.State}
	if r.State == idempotency.Completed && r.Response != nil {
		out.body = string(r.Response.Body)
	}
	v.g.w.trace.add("%s shows %s: %v %d %s", v.g.name, v.ex.name, r.State, r.Attempt.N, out.body)
	return out, true
}

func printOf(b byte) idempotency.Fingerprint {
	return idempotency.Fingerprint{Version: idempotency.FingerprintVersion, Sum: [32]byte{b + 1}}
}
