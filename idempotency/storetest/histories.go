package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceway/onceway/idempotency"
)

// asked is a half of one call of a history. A store may report a record as it is a moment after the move,
// when others have moved it on: see [idempotency.Store]. So a call moves the record at one instant, and
// looks at it at that instant or later, both between the call's begin and its end.
type asked struct {
	op   idempotency.OperationID
	t    idempotency.Transition // nil for a mere look
	call int                    // its number in the history
	look bool                   // the second half
}

// answered is what came back, without the instants: a history has no time of its own.
type answered struct {
	state        idempotency.State
	n            int
	attempt      idempotency.AttemptID
	revision     int64
	doubted      bool
	contradicted bool
	digest       [32]byte
	applied      bool
}

func answerOf(r idempotency.Record, applied bool) answered {
	a := answered{
		state: r.State, n: r.Attempt.N, attempt: r.Attempt.ID, revision: r.Revision,
		doubted: r.Doubted, contradicted: r.Contradicted, applied: applied,
	}
	if r.Response != nil {
		a.digest = r.Response.Digest
	}
	return a
}

// sequential is one record that [idempotency.Next] moves, one call at a time, under a lease that does not
// lapse. A store is right if what its concurrent callers were told can be told by this in some order.
var sequential = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		var ids []idempotency.OperationID
		of := map[idempotency.OperationID][]porcupine.Operation{}
		for _, h := range history {
			id := h.Input.(asked).op
			if of[id] == nil {
				ids = append(ids, id)
			}
			of[id] = append(of[id], h)
		}
		parts := make([][]porcupine.Operation, len(ids))
		for i, id := range ids {
			parts[i] = of[id]
		}
		return parts
	},
	Init: func() any { return instant{} },
	Step: func(state, input, output any) (bool, any) {
		at, in := state.(instant), input.(asked)
		at.record.ID = in.op
		if !in.look {
			at.record, _, _ = idempotency.Next(at.record, in.t, idempotency.Env{Now: epoch, OwnerHasLease: true, Lease: Lease})
			at.moved = append(slices.Clip(at.moved), in.call)
			return true, at
		}
		if in.t == nil {
			return answerOf(at.record, false) == output.(answered), at
		}
		n := slices.Index(at.moved, in.call)
		if n < 0 || answerOf(at.record, idempotency.ResultOf(in.t, at.record).Applied) != output.(answered) {
			return false, at
		}
		at.moved = slices.Delete(slices.Clone(at.moved), n, n+1)
		return true, at
	},
	Equal: func(a, b any) bool {
		x, y := a.(instant), b.(instant)
		return answerOf(x.record, false) == answerOf(y.record, false) && x.record.Resend == y.record.Resend &&
			len(x.moved) == len(y.moved) && !slices.ContainsFunc(x.moved, func(call int) bool { return !slices.Contains(y.moved, call) })
	},
	DescribeOperation: func(input, output any) string {
		in, out := input.(asked), output.(answered)
		if !in.look {
			return fmt.Sprintf("%T %d moves", in.t, attemptOf(in.t))
		}
		return fmt.Sprintf("%T %d -> %v %d of %.4v, revision %d, contradicted %v, doubted %v, applied %v",
			in.t, attemptOf(in.t), out.state, out.n, out.attempt, out.revision, out.contradicted, out.doubted, out.applied)
	},
}

// instant is the sequential record, and the calls that have moved it, or tried to, and have not looked yet.
type instant struct {
	record idempotency.Record
	moved  []int
}

func attemptOf(t idempotency.Transition) int {
	switch t := t.(type) {
	case idempotency.Complete:
		return t.Attempt.N
	case idempotency.Release:
		return t.Attempt.N
	case idempotency.Doubt:
		return t.Attempt.N
	case idempotency.Claim, idempotency.Resolve, idempotency.Cancel, idempotency.Acknowledge, idempotency.Import:
	}
	return 0
}

// epoch is any instant: all deadlines of a sequential record are after it.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// testHistories lets callers on all handles move and read a few records at once, and has their history
// checked for linearizability: whatever they were told fits one order in which each call happened at one
// instant between its begin and its end.
func testHistories(w *world) {
	const histories, callers, calls = 12, 6, 25
	handles := []Store{w.Store}
	if w.Second != nil {
		handles = append(handles, w.Second(w.T))
	}
	for h := range histories {
		seed := rand.Uint64()
		x := &experiment{w: w, ops: []idempotency.Operation{w.operation(), w.operation()}, start: time.Now()}
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() { x.caller(c, handles[c%len(handles)], rand.New(rand.NewPCG(seed, uint64(c))), calls) })
		}
		wg.Wait()
		if w.Failed() {
			return
		}
		if result := porcupine.CheckOperationsTimeout(sequential, x.history, time.Minute); result != porcupine.Ok {
			w.Fatalf("history %d of seed %d: %v: no order of its calls explains what was told. The longest that does:%s",
				h, seed, result, explain(x.history))
		}
	}
}

// experiment is one history in the making.
type experiment struct {
	w     *world
	ops   []idempotency.Operation
	start time.Time

	mu       sync.Mutex
	attempts [2][]idempotency.Attempt // of each operation, those that were granted
	history  []porcupine.Operation
}

func (x *experiment) caller(id int, s Store, random *rand.Rand, calls int) {
	for range calls {
		i := random.IntN(len(x.ops))
		in := asked{op: x.ops[i].ID(), t: x.draw(i, random)}
		begin := time.Since(x.start)
		out, err := ask(s, in)
		end := time.Since(x.start)
		x.mu.Lock()
		if err != nil {
			x.w.Errorf("%T: %v", in.t, err)
		}
		if c, claim := in.t.(idempotency.Claim); claim && out.applied {
			c.Attempt.N = out.n
			x.attempts[i] = append(x.attempts[i], c.Attempt)
		}
		in.call = len(x.history)
		for _, in.look = range []bool{false, true} {
			if in.look || in.t != nil {
				x.history = append(x.history, porcupine.Operation{
					ClientId: id, Input: in, Call: int64(begin), Output: out, Return: int64(end),
				})
			}
		}
		x.mu.Unlock()
	}
}

func ask(s Store, in asked) (answered, error) {
	if in.t == nil {
		records, err := s.Find(background, []idempotency.OperationID{in.op})
		if err != nil || len(records) != 1 {
			return answered{}, fmt.Errorf("%d records, %w", len(records), err)
		}
		return answerOf(records[0], false), nil
	}
	results, err := applyTo(s, []idempotency.Transition{in.t})
	if err != nil || len(results) != 1 {
		return answered{}, fmt.Errorf("%d results, %w", len(results), err)
	}
	return answerOf(results[0].Record, results[0].Applied), nil
}

// draw chooses what is asked next. Finals are seldom, so that histories go on.
func (x *experiment) draw(i int, random *rand.Rand) idempotency.Transition {
	x.mu.Lock()
	defer x.mu.Unlock()
	attempt := idempotency.Attempt{Operation: x.ops[i].ID(), ID: idempotency.NewAttemptID(), N: 1}
	if n := len(x.attempts[i]); n > 0 {
		attempt = x.attempts[i][n-1-random.IntN(min(n, 2))]
	}
	switch k := random.IntN(40); {
	case k < 8:
		return nil
	case k < 16:
		return x.w.claim(x.ops[i])
	case k < 20:
		return x.w.resend(x.ops[i])
	case k < 28:
		return release(attempt)
	case k < 34:
		return doubt(attempt)
	case k < 36:
		c := complete(attempt)
		c.Response = idempotency.NewResponse(201, nil, attempt.ID[:])
		return c
	case k < 38:
		return cancel(x.ops[i])
	default:
		return idempotency.Acknowledge{Operation: x.ops[i].ID()}
	}
}

// explain lists, for each operation whose history has no order, the longest order that was found, and then
// the calls that do not fit behind it.
func explain(history []porcupine.Operation) string {
	_, info := porcupine.CheckOperationsVerbose(sequential, history, time.Minute)
	text, parts := "", sequential.Partition(history)
	for i, part := range info.PartialLinearizationsOperations() {
		longest := slices.MaxFunc(part, func(a, b []porcupine.Operation) int { return len(a) - len(b) })
		text += fmt.Sprintf("\n== operation %d, %d calls fit", i, len(longest))
		for _, h := range longest {
			text += "\n" + told(h)
		}
		text += "\n-- and these do not"
		for _, h := range parts[i] {
			if !slices.ContainsFunc(longest, func(o porcupine.Operation) bool { return o.Input.(asked) == h.Input.(asked) }) {
				text += "\n" + told(h)
			}
		}
	}
	return text
}

func told(h porcupine.Operation) string {
	return fmt.Sprintf("%12v %12v caller %d: %s",
		time.Duration(h.Call), time.Duration(h.Return), h.ClientId, sequential.DescribeOperation(h.Input, h.Output))
}
