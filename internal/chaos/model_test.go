package chaos

import (
	"fmt"
	"slices"
	"testing"

	"github.com/anishathalye/porcupine"
)

// phase is the state of a record as clients can tell it. It is a closed set.
type phase string

const (
	unseen      phase = "unseen"
	executing   phase = "executing"
	completed   phase = "completed"
	notExecuted phase = "not_executed"
	inDoubt     phase = "unknown"
)

// state is a record in the model: its answer is bound when somebody first sees it.
type state struct {
	phase  phase
	answer string // of completed; empty until it is seen
	// spooled says that a gateway has the answer durably, and the store may not have it yet: that gateway
	// replays it, and others still say what the store says.
	spooled bool
}

// call is what one client did with one operation. A request is two calls: it may start an attempt at some
// moment, and it reads the record at another, when it has been answered.
type call struct {
	op     string
	starts bool // or else it reads
}

// seen is what a read said: the zero value says nothing, as an answer that refuses the request does.
type seen struct {
	phase  phase
	answer string
	spools bool // by a gateway that has a spool
}

// byItself returns the states that a record can be in without any client's doing, s among them.
func byItself(s state) []state {
	switch s.phase {
	case executing:
		return []state{s, {phase: completed}, {phase: completed, spooled: true}, {phase: notExecuted}, {phase: inDoubt}}
	case inDoubt:
		// A late answer, or the owner's late proof that it sent nothing.
		return []state{s, {phase: completed}, {phase: completed, spooled: true}, {phase: notExecuted}}
	case completed:
		if s.spooled {
			return []state{s, {phase: completed, answer: s.answer}}
		}
	case unseen, notExecuted:
	}
	return []state{s}
}

// after returns the states that a record may be in after a call that saw this.
func after(s state, c call, o seen) []state {
	if c.starts {
		all := []state{s}
		for _, now := range byItself(s) {
			if now.phase == unseen || now.phase == notExecuted {
				all = append(all, now, state{phase: executing})
			}
		}
		return all
	}
	if o.phase == "" {
		return []state{s}
	}
	var all []state
	for _, now := range byItself(s) {
		switch {
		case now.phase == executing && o.phase == inDoubt:
			all = append(all, now) // whose outcome could not be recorded in time: the client hears the worst
		case now.spooled && (o.phase == executing || o.phase == inDoubt):
			all = append(all, now)
		case now.phase != o.phase, now.spooled && !o.spools:
		case now.phase == completed && now.answer == "":
			all = append(all, state{completed, o.answer, now.spooled})
		case now.phase != completed || now.answer == o.answer:
			all = append(all, now)
		}
	}
	return all
}

// record is the model of one operation. Histories are partitioned by operation.
var record = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		var order []string
		for _, o := range history {
			op := o.Input.(call).op
			if by[op] == nil {
				order = append(order, op)
			}
			by[op] = append(by[op], o)
		}
		all := make([][]porcupine.Operation, len(order))
		for i, op := range order {
			all[i] = by[op]
		}
		return all
	},
	Init: func() []interface{} { return []interface{}{state{phase: unseen}} },
	Step: func(s, in, out interface{}) []interface{} {
		var all []interface{}
		for _, next := range after(s.(state), in.(call), out.(seen)) {
			if !slices.Contains(all, any(next)) {
				all = append(all, next)
			}
		}
		return all
	},
	Equal: func(a, b interface{}) bool { return a == b },
	DescribeOperation: func(in, out interface{}) string {
		if in.(call).starts {
			return "start?"
		}
		return fmt.Sprintf("%s %.12s", out.(seen).phase, out.(seen).answer)
	},
}).ToModel()

// The model accepts what the table of moves allows, and nothing else.
func TestModel(t *testing.T) {
	send := func(from, to int64) porcupine.Operation {
		return porcupine.Operation{Input: call{"op", true}, Output: seen{}, Call: from, Return: to}
	}
	read := func(from, to int64, p phase, answer string) porcupine.Operation {
		return porcupine.Operation{Input: call{"op", false}, Output: seen{phase: p, answer: answer}, Call: from, Return: to}
	}
	spooled := func(from, to int64, answer string) porcupine.Operation {
		o := read(from, to, completed, answer)
		o.Output = seen{completed, answer, true}
		return o
	}
	for name, tt := range map[string]struct {
		legal   bool
		history []porcupine.Operation
	}{
		"executed":                {true, []porcupine.Operation{send(1, 4), read(1, 4, completed, "a")}},
		"executed and replayed":   {true, []porcupine.Operation{send(1, 4), read(1, 4, completed, "a"), send(5, 6), read(5, 6, completed, "a")}},
		"doubt, then late answer": {true, []porcupine.Operation{send(1, 4), read(1, 4, inDoubt, ""), read(5, 6, inDoubt, ""), read(7, 8, completed, "a")}},
		"told the worst":          {true, []porcupine.Operation{send(1, 4), read(1, 4, inDoubt, ""), read(5, 6, executing, ""), read(7, 8, completed, "a")}},
		"not reached, again":      {true, []porcupine.Operation{send(1, 4), read(1, 4, notExecuted, ""), send(5, 9), read(6, 7, executing, ""), read(5, 9, completed, "a")}},
		"read while executing":    {true, []porcupine.Operation{send(1, 9), read(2, 3, unseen, ""), read(4, 5, executing, ""), read(1, 9, completed, "a")}},
		"late delivery":           {true, []porcupine.Operation{send(1, 99), read(2, 3, unseen, ""), read(50, 51, completed, "a")}},
		"spooled":                 {true, []porcupine.Operation{send(1, 4), spooled(1, 4, "a"), read(5, 6, inDoubt, ""), spooled(7, 8, "a"), read(9, 10, completed, "a")}},

		"spooled, then lost":         {false, []porcupine.Operation{send(1, 4), spooled(1, 4, "a"), read(5, 6, completed, "a"), read(7, 8, inDoubt, "")}},
		"spooled, not executed":      {false, []porcupine.Operation{send(1, 4), spooled(1, 4, "a"), read(5, 6, notExecuted, "")}},
		"spooled, another answer":    {false, []porcupine.Operation{send(1, 4), spooled(1, 4, "a"), read(5, 6, inDoubt, ""), read(7, 8, completed, "b")}},
		"answer without a request":   {false, []porcupine.Operation{read(1, 2, completed, "a")}},
		"two answers":                {false, []porcupine.Operation{send(1, 4), read(1, 4, completed, "a"), send(5, 6), read(5, 6, completed, "b")}},
		"an answer is taken back":    {false, []porcupine.Operation{send(1, 4), read(1, 4, completed, "a"), read(5, 6, inDoubt, "")}},
		"an answer is forgotten":     {false, []porcupine.Operation{send(1, 4), read(1, 4, completed, "a"), read(5, 6, unseen, "")}},
		"a doubt is forgotten":       {false, []porcupine.Operation{send(1, 4), read(1, 4, inDoubt, ""), read(5, 6, unseen, "")}},
		"not executed, but answered": {false, []porcupine.Operation{send(1, 4), read(1, 4, notExecuted, ""), read(5, 6, completed, "a")}},
		"executing after an answer":  {false, []porcupine.Operation{send(1, 4), read(1, 4, completed, "a"), read(5, 6, executing, "")}},
		"answered, not executed":     {false, []porcupine.Operation{send(1, 4), read(1, 4, completed, "a"), send(5, 6), read(5, 6, notExecuted, "")}},
	} {
		if got := porcupine.CheckOperations(record, tt.history); got != tt.legal {
			t.Errorf("%s: legal %v, want %v", name, got, tt.legal)
		}
	}
}
