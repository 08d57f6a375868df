package client

import "time"

// State is what a client knows of one intent. docs/client-protocol.md has the table of its moves.
type State string

const (
	Queued        State = "queued"        // nothing is on its way that could still be executed unseen, or sending again is right: send
	Doubt         State = "doubt"         // a copy may have arrived: ask
	Executed      State = "executed"      // it was executed, and its answer is not here yet: send, which executes nothing
	Cancelling    State = "cancelling"    // it is not wanted any more, and not yet forbidden: cancel
	Acknowledging State = "acknowledging" // its answer is here, and is to be erased there: acknowledge
	Settled       State = "settled"       // nothing is left to do; Outcome says how it ended
)

// Outcome is how an intent ended.
type Outcome string

const (
	OutcomeExecuted    Outcome = "executed"    // once; without an answer if that is forgotten
	OutcomeCancelled   Outcome = "cancelled"   // not executed, and never will be
	OutcomeRefused     Outcome = "refused"     // not executed as it is, and never will be: the answer says why
	OutcomeExpired     Outcome = "expired"     // never to be executed any more; nobody can say whether it was
	OutcomeUnprotected Outcome = "unprotected" // the gateway let it through without a key: a mistake in a configuration
)

// Standing is the part of an entry that decides.
type Standing struct {
	State   State   `json:"state"`
	Sends   int     `json:"sends,omitempty"`   // copies sent in search of an outcome, also the one on its way
	Outcome Outcome `json:"outcome,omitempty"` // of what is settled
	Refused bool    `json:"refusal,omitempty"` // it was refused, and is cancelled to make sure of that
	Denied  bool    `json:"denied,omitempty"`  // the answer before was a 401
}

// call is what a client can do about an entry.
type call string

const (
	send        call = "send"   // the request, with its key
	ask         call = "ask"    // for its record, alone or in a query
	cancel      call = "cancel" // its key
	acknowledge call = "acknowledge"
	finish      call = "finish" // nothing: tell whoever waits
	halt        call = "halt"   // nothing, until somebody has changed something: repeating does not help
	heard       call = "heard"  // a record came unasked
)

// Values of Idempotency-Next.
const (
	nextDone      = "done"
	nextWait      = "wait"
	nextResend    = "resend"
	nextReconcile = "reconcile"
	nextStop      = "stop"
)

// Values of Idempotency-State that decide something.
const (
	stateCancelled   = "cancelled"
	stateForgotten   = "forgotten"
	stateRejected    = "rejected"
	stateUnseen      = "unseen"
	stateUnprotected = "unprotected"
)

// answer is what came back for a call, as far as it decides anything.
type answer struct {
	signed      bool // Onceway answered: there is exactly one Idempotency-State
	status      int  // 0 = there was no answer
	state, next string
	code        string // of a problem
	whole       bool   // its content is complete
	floor       time.Duration
}

// step is what follows from an answer.
type step struct {
	call      call
	floor     time.Duration // not before
	authorize bool          // with new credentials
	deliver   bool          // the answer is the intent's answer, or the refusal that ended it
}

// begin returns what an entry needs, and its standing before the call's first byte: a client that dies meanwhile
// finds itself in doubt.
func begin(s Standing) (Standing, call) {
	if s.State == Queued {
		s.State, s.Sends = Doubt, s.Sends+1
		return s, send
	}
	return s, s.call()
}

// call is what a state asks for.
func (s Standing) call() call {
	return map[State]call{Queued: send, Doubt: ask, Executed: send, Cancelling: cancel, Acknowledging: acknowledge, Settled: finish}[s.State]
}

// durable reports whether a move has to be stored before anything follows from it: that a first copy is about
// to leave, that none ever will, and what a user wishes. The rest a client that died can learn again.
func durable(before, after Standing) bool {
	wish := after.State == Acknowledging || after.State == Cancelling && !after.Refused
	first := before.Sends == 0 && (after.Sends > 0 || after.State == Settled)
	return after != before && (first || wish)
}

// learn is the whole machine: what follows for an entry from an answer to a call.
func learn(s Standing, c call, a answer) (Standing, step) {
	denied := a.status == 401 && !(a.signed && a.next == nextDone)
	again := denied && s.Denied
	if a.signed {
		s.Denied = false
	}
	if denied { // whoever says so: with new credentials, once
		s.Denied = true
		if a.signed && c == send && s.State == Doubt {
			s.State = Queued
		}
		if again {
			return s, step{call: halt}
		}
		return s, step{call: s.call(), floor: a.floor, authorize: true}
	}
	switch {
	case !a.signed:
		// Nobody knows who this was: nothing is learnt.
	case s.State == Settled:
	case c == acknowledge:
		if a.status == 204 || a.state == stateUnseen || a.next == nextStop {
			s.State = Settled
			return s, step{call: finish}
		}
	case c == send && a.state == stateUnprotected:
		return s.settle(OutcomeUnprotected, true)
	case c != send && a.state == stateRejected: // about the call, not about the operation
		switch {
		case c == cancel && a.code == "key-too-old":
			return s.settle(OutcomeExpired, false)
		case a.next == nextStop:
			return s, step{call: halt}
		}
	case a.next == nextDone && a.state == stateForgotten:
		return s.settle(OutcomeExecuted, false)
	case a.next == nextDone && c == send && a.whole:
		return s.settle(OutcomeExecuted, true)
	case a.next == nextDone:
		s.State, s.Refused = Executed, false
		return s, step{call: send}
	case a.next == nextStop && a.state == stateCancelled && s.Refused:
		return s.settle(OutcomeRefused, true)
	case a.next == nextStop && a.state == stateCancelled:
		return s.settle(OutcomeCancelled, false)
	case a.next == nextStop && c != send:
		return s, step{call: halt}
	case a.next == nextStop && (a.status == 422 || a.code == "key-malformed" || a.code == "key-missing"):
		return s.settle(OutcomeRefused, true) // and so will be every copy
	case a.next == nextStop && s.State == Executed:
		return s.settle(OutcomeExecuted, false)
	case a.next == nextStop && s.State == Doubt && a.code == "key-too-old" && s.Sends == 1:
		return s.settle(OutcomeRefused, true)
	case a.next == nextStop && s.State == Doubt && a.code == "key-too-old":
		return s.settle(OutcomeExpired, false)
	case a.next == nextStop && s.State == Doubt:
		s.State, s.Refused = Cancelling, true // another copy may be on its way: forbid it before this is told
	case s.State == Doubt && a.next == nextResend:
		s.State = Queued
	case s.State == Queued && a.next != nextResend: // wait, reconcile, and what a later version may say
		s.State = Doubt
	}
	return s, step{call: s.call(), floor: a.floor}
}

func (s Standing) settle(o Outcome, deliver bool) (Standing, step) {
	return Standing{State: Settled, Outcome: o}, step{call: finish, deliver: deliver}
}

// wishCancel is a user's wish that an intent never be executed. It may come too late.
func wishCancel(s Standing) Standing {
	switch {
	case s.State == Queued && s.Sends == 0: // nothing was ever sent
		s.State, s.Outcome = Settled, OutcomeCancelled
	case s.State == Queued, s.State == Doubt:
		s.State = Cancelling
	case s.State == Cancelling:
		s.Refused = false
	}
	return s
}

// wishAcknowledge says that the answer is safe here.
func wishAcknowledge(s Standing) Standing {
	if s.State == Settled && s.Outcome == OutcomeExecuted {
		s.State = Acknowledging
	}
	return s
}
