package idempotency

import "fmt"

// State of a record. The numbers are what stores write; they never change their meaning.
type State uint8

const (
	Unseen      State = iota // no record: nothing has arrived so far
	Executing                // an attempt is committed; its bytes may be on the wire
	Completed                // final: the whole response is stored
	NotExecuted              // proof that the last attempt had no effect; may be claimed again
	Unknown                  // the last attempt may have executed, and there is no answer
	Cancelled                // final: forbidden before it was executed
	Forgotten                // final: executed, and there is no body to replay
)

var stateNames = [...]string{"unseen", "executing", "completed", "not_executed", "unknown", "cancelled", "forgotten"}

// States lists every state that a record can have.
func States() []State {
	return []State{Executing, Completed, NotExecuted, Unknown, Cancelled, Forgotten}
}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// ParseState is the reverse of String, for the states that a record can have.
func ParseState(name string) (State, bool) {
	for _, s := range States() {
		if s.String() == name {
			return s, true
		}
	}
	return Unseen, false
}

// Final reports whether the state never changes any more, except from Completed to Forgotten.
func (s State) Final() bool { return s == Completed || s == Cancelled || s == Forgotten }

// Settled reports whether it is known what became of the last attempt.
func (s State) Settled() bool { return s.Final() || s == NotExecuted }

// StateSet is a set of states.
type StateSet uint16

// With returns the set and a state.
func (s StateSet) With(state State) StateSet { return s | 1<<state }

// Has reports whether a state is in the set.
func (s StateSet) Has(state State) bool { return s&(1<<state) != 0 }
