package client

import (
	"fmt"
	"slices"
	"testing"
)

// The machine against the states of a gateway and of a backend, over a network that loses, delays, duplicates
// and lies, with a client that dies and starts again at any moment. Every reachable state is visited: everything
// may happen as often as it likes, with at most two requests beside the awaited one on their way at a time.

// machine is what is explored: the real one, or a broken one.
type machine struct {
	begin      func(Standing) (Standing, call)
	learn      func(Standing, call, answer) (Standing, step)
	wishCancel func(Standing) Standing
	forgetful  bool // it stores nothing but new entries
	newKey     bool // each copy of a request has a key of its own
}

// record states of the gateway, and of what its backend has of the operation.
type (
	recordState uint8
	atBackend   uint8
)

const (
	gUnseen recordState = iota
	gExecuting
	gCompleted
	gNotExecuted
	gUnknown
	gCancelled
	gForgotten
)

const (
	nowhere atBackend = iota
	queuedThere
	effective
)

// phase is where the call is that the client waits for.
type phase uint8

const (
	idle phase = iota
	going
	attached // to the attempt that runs: its outcome will be the answer
	coming
)

// world is one state of everything.
type world struct {
	s     Standing
	disk  Standing // what a client that dies finds again
	told  Outcome  // to the user, the first time
	call  call
	phase phase
	back  said // while the answer is coming

	sends, cancels, acks int8 // copies on their way for which nobody waits

	record  recordState
	backend atBackend
	effects int8
	aged    bool // the key is too old: what has no record is refused
	resends bool // the route's backend deduplicates
}

// said are the answers that the gateway gives here.
type said uint8

const (
	sExecuted said = iota
	sReplayed
	sInProgress
	sNotReached
	sDoubted
	sCancelled
	sForgotten
	sTooOld
	sForbidden
	sDenied
	sBusy
	sUnseen
	sCompleted
	sExecuting
	sNotExecuted
	sUnknown
	sUnknownResend
	sFuture
	sCancelledNow
	sTooLateExecuting
	sTooLateUnknown
	sTooLateCompleted
	sTooLateForgotten
	sErased
	sNotSettled
	saids
)

var texts = [saids]answer{
	sExecuted: {true, 201, "executed", nextDone, "", true, 0}, sReplayed: {true, 201, "replayed", nextDone, "", true, 0},
	sInProgress: {true, 409, "executing", nextWait, "in-progress", true, 0}, sNotReached: {true, 503, "not_executed", nextResend, "backend-unreachable", true, 0},
	sDoubted: {true, 502, "unknown", nextReconcile, "outcome-unknown", true, 0}, sCancelled: {true, 409, "cancelled", nextStop, "cancelled", true, 0},
	sForgotten: {true, 410, "forgotten", nextDone, "response-forgotten", true, 0}, sTooOld: {true, 412, "rejected", nextStop, "key-too-old", true, 0},
	sForbidden: {true, 403, "rejected", nextStop, "forbidden", true, 0}, sDenied: {true, 401, "rejected", nextStop, "unauthenticated", true, 0},
	sBusy: {true, 503, "rejected", nextResend, "overloaded", true, 0}, sUnseen: {true, 404, "unseen", nextResend, "unseen", true, 0},
	sCompleted: {true, 200, "completed", nextDone, "", true, 0}, sExecuting: {true, 200, "executing", nextWait, "", true, 0},
	sNotExecuted: {true, 200, "not_executed", nextResend, "", true, 0}, sUnknown: {true, 200, "unknown", nextReconcile, "", true, 0},
	sUnknownResend: {true, 200, "unknown", nextResend, "", true, 0}, sFuture: {true, 299, "parked", "ponder", "", true, 0},
	sCancelledNow: {true, 200, "cancelled", nextStop, "", true, 0}, sTooLateExecuting: {true, 409, "executing", nextWait, "too-late", true, 0},
	sTooLateUnknown: {true, 409, "unknown", nextReconcile, "too-late", true, 0}, sTooLateCompleted: {true, 409, "completed", nextDone, "too-late", true, 0},
	sTooLateForgotten: {true, 409, "forgotten", nextDone, "too-late", true, 0}, sErased: {true, 204, "forgotten", nextDone, "", true, 0},
	sNotSettled: {true, 409, "executing", nextWait, "not-settled", true, 0},
}

// unsigned is what others on the way say.
var unsigned = []answer{noAnswer, {status: 200, whole: true}, {status: 307}, {status: 401}, {status: 403}, {status: 502}}

type explorer struct {
	machine
	copies int8 // how many requests may be on their way at most, beside the awaited one
	seen   map[world]int32
	all    []world
	from   [][]int32 // who leads there when nothing goes wrong and nobody wishes anything
	luck   bool      // what is reached now takes more than that
	wrong  string
	at     int32 // the world whose successors are being made
}

// violation keeps the first thing that went wrong.
func (x *explorer) violation(format string, args ...any) {
	if x.wrong == "" {
		x.wrong = fmt.Sprintf(format, args...)
	}
}

func (x *explorer) reach(w world) {
	if w.s.State == Settled && w.told == "" {
		w.told = w.s.Outcome
	}
	id, known := x.seen[w]
	if !known {
		id = int32(len(x.all))
		x.seen[w] = id
		x.all, x.from = append(x.all, w), append(x.from, nil)
		switch {
		case w.effects > 1:
			x.violation("executed %d times: %+v", w.effects, w)
		case w.told == OutcomeExecuted && w.effects != 1, w.s.State == Executed && w.effects != 1:
			x.violation("believed to be executed: %+v", w)
		case (w.told == OutcomeCancelled || w.told == OutcomeRefused) && w.effects != 0:
			x.violation("executed after it was reported as %s: %+v", w.told, w)
		case w.s.State == Settled && w.s.Outcome == "":
			x.violation("settled without an outcome: %+v", w)
		}
	}
	if x.at >= 0 && !x.luck {
		x.from[id] = append(x.from[id], x.at)
	}
}

// explore visits everything, and then checks that from everywhere the end can be reached, without wishes,
// stray copies or refusals: by asking and sending.
func explore(m machine, copies int8) (worlds int, wrong string) {
	x := &explorer{machine: m, copies: copies, seen: map[world]int32{}, at: -1}
	for _, resends := range []bool{false, true} {
		x.reach(world{s: Standing{State: Queued}, disk: Standing{State: Queued}, resends: resends})
	}
	for x.at = 0; int(x.at) < len(x.all) && x.wrong == ""; x.at++ {
		w := x.all[x.at]
		x.client(w)
		x.network(w)
		x.backendMoves(w)
	}
	if x.wrong != "" {
		return len(x.all), x.wrong
	}
	ends := make([]bool, len(x.all))
	var next []int32
	for id, w := range x.all {
		if w.s.State == Settled {
			ends[id], next = true, append(next, int32(id))
		}
	}
	for len(next) > 0 {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		for _, before := range x.from[id] {
			if !ends[before] {
				ends[before], next = true, append(next, before)
			}
		}
	}
	if stuck := slices.Index(ends, false); stuck >= 0 {
		return len(x.all), fmt.Sprintf("no way out: %+v", x.all[stuck])
	}
	return len(x.all), ""
}

// client is what the client or its user may do.
func (x *explorer) client(w world) {
	if w.phase == idle && w.s.State != Settled {
		n := w
		n.s, n.call = x.begin(w.s)
		n.s.Sends = min(n.s.Sends, 2) // once, or more than once
		n.store(x, w.s)
		n.phase = going
		if x.newKey && n.call == send {
			n.record, n.backend = gUnseen, nowhere // of another operation
		}
		x.reach(n)
	}
	x.luck = true
	defer func() { x.luck = false }()
	n := w
	n.s = x.wishCancel(w.s)
	n.store(x, w.s)
	x.reach(n)
	n = w
	n.s = wishAcknowledge(w.s)
	n.store(x, w.s)
	x.reach(n)
	// It dies. What it has stored is what it knows; what is on its way may arrive.
	for _, n := range w.abandoned(x.copies) {
		n.s = n.disk
		x.reach(n)
	}
}

// store is what the client writes down of a move.
func (w *world) store(x *explorer, before Standing) {
	if durable(before, w.s) && !x.forgetful {
		w.disk = w.s
	}
}

// abandoned is what may be on its way when nobody waits for it any more.
func (w world) abandoned(copies int8) []world {
	lost, stray := w, w
	for _, n := range []*world{&lost, &stray} {
		n.phase, n.call, n.back = idle, "", 0
	}
	switch {
	case w.phase != going:
		return []world{lost}
	case w.call == send && w.sends < copies:
		stray.sends++
	case w.call == cancel && w.cancels < 1:
		stray.cancels++
	case w.call == acknowledge && w.acks < 1:
		stray.acks++
	}
	return []world{lost, stray}
}

// network is what may become of what is on its way.
func (x *explorer) network(w world) {
	switch w.phase {
	case going:
		x.arrives(w, w.call, true)
		x.luck = true
		if w.call == send && w.sends < x.copies { // a copy of the copy
			n := w
			n.sends++
			x.reach(n)
		}
	case coming:
		a := texts[w.back]
		x.learns(w, a)
		x.luck = true
		if w.call == send || w.call == cancel {
			a.whole, a.code = false, ""
			x.learns(w, a)
		}
	case idle, attached:
	}
	x.luck = true
	defer func() { x.luck = false }()
	if w.phase != idle {
		// Nothing comes, or somebody else answers; the call may arrive all the same.
		for _, n := range w.abandoned(x.copies) {
			n.call = w.call
			for _, a := range unsigned {
				x.learns(n, a)
			}
		}
	}
	if w.sends > 0 {
		n := w
		n.sends--
		x.reach(n)
		x.arrives(n, send, false)
	}
	if w.cancels > 0 {
		n := w
		n.cancels--
		x.reach(n)
		x.arrives(n, cancel, false)
	}
	if w.acks > 0 {
		n := w
		n.acks--
		x.reach(n)
		x.arrives(n, acknowledge, false)
	}
}

// learns gives the client an answer to its call.
func (x *explorer) learns(w world, a answer) {
	call := w.call
	w.phase, w.call, w.back = idle, "", 0
	if w.s.State == Settled && call != acknowledge {
		return
	}
	s, next := x.learn(w.s, call, a)
	if next.deliver && (!a.signed || s.Outcome == OutcomeExecuted && !a.whole) {
		x.violation("told %+v to the user of %+v", a, w)
	}
	w.s = s
	x.reach(w)
}

// arrives is the gateway. The call may be refused before its record is looked at.
func (x *explorer) arrives(w world, c call, awaited bool) {
	say := func(n world, s said) {
		if awaited {
			n.phase, n.back = coming, s
		}
		x.reach(n)
	}
	if awaited {
		x.luck = true
		say(w, sForbidden)
		say(w, sDenied)
		say(w, sBusy)
		say(w, sFuture)
		x.luck = false
	}
	switch c {
	case send:
		x.request(w, awaited, say)
	case ask:
		say(w, x.shown(w))
	case cancel:
		switch w.record {
		case gUnseen:
			if w.aged {
				say(w, sTooOld)
				return
			}
			fallthrough
		case gNotExecuted, gCancelled:
			w.record = gCancelled
			say(w, sCancelledNow)
		case gExecuting:
			say(w, sTooLateExecuting)
		case gUnknown:
			say(w, sTooLateUnknown)
		case gCompleted:
			say(w, sTooLateCompleted)
		case gForgotten:
			say(w, sTooLateForgotten)
		}
	case acknowledge:
		switch w.record {
		case gCompleted, gForgotten:
			w.record = gForgotten
			say(w, sErased)
		case gUnseen:
			say(w, sUnseen)
		case gExecuting, gUnknown:
			say(w, sNotSettled)
		case gNotExecuted, gCancelled:
			say(w, sCancelledNow)
		}
	case finish, halt, heard:
		x.violation("%s was sent", c)
	}
}

func (x *explorer) request(w world, awaited bool, say func(world, said)) {
	claim := func() {
		w.record = gExecuting
		if w.backend == nowhere {
			w.backend = queuedThere
		}
		if awaited {
			w.phase = attached
		}
		x.reach(w)
	}
	switch w.record {
	case gUnseen, gNotExecuted:
		if w.aged {
			say(w, sTooOld)
			return
		}
		claim()
	case gUnknown:
		say(w, sDoubted)
		if w.resends {
			claim()
		}
	case gExecuting:
		say(w, sInProgress)
		if awaited {
			w.phase = attached
			x.reach(w)
		}
	case gCompleted:
		say(w, sReplayed)
	case gCancelled:
		say(w, sCancelled)
	case gForgotten:
		say(w, sForgotten)
	}
}

func (x *explorer) shown(w world) said {
	switch w.record {
	case gUnseen:
		return sUnseen
	case gExecuting:
		return sExecuting
	case gCompleted:
		return sCompleted
	case gNotExecuted:
		return sNotExecuted
	case gUnknown:
		if w.resends {
			return sUnknownResend
		}
		return sUnknown
	case gCancelled:
		return sCancelledNow
	case gForgotten:
		return sForgotten
	}
	panic("no such record")
}

// backendMoves is what happens to a record by itself.
func (x *explorer) backendMoves(w world) {
	to := func(r recordState, b atBackend, s said) {
		n := w
		n.record, n.backend = r, b
		if n.phase == attached {
			n.phase, n.back = coming, s
		}
		x.reach(n)
	}
	if w.backend == queuedThere {
		n := w
		n.backend, n.effects = effective, w.effects+1
		x.reach(n)
	}
	switch w.record {
	case gExecuting:
		to(gUnknown, w.backend, sDoubted)
		if w.backend == effective {
			to(gCompleted, effective, sExecuted)
		} else {
			to(gNotExecuted, nowhere, sNotReached)
		}
	case gUnknown:
		if w.backend == effective {
			to(gCompleted, effective, sExecuted)
			to(gForgotten, effective, sForgotten)
		} else {
			to(gNotExecuted, nowhere, sNotReached)
		}
	case gCompleted:
		to(gForgotten, effective, sForgotten)
	case gForgotten, gNotExecuted, gCancelled:
		if w.aged {
			to(gUnseen, w.backend, sUnseen) // purged
		}
	case gUnseen:
	}
	if !w.aged && w.phase == idle { // no call takes as long as the gateway keeps records
		n := w
		n.aged = true
		x.luck = true
		x.reach(n)
		x.luck = false
	}
}

var real = machine{begin: begin, learn: learn, wishCancel: wishCancel}

func TestExploreEverything(t *testing.T) {
	worlds, wrong := explore(real, 2)
	t.Logf("%d worlds", worlds)
	if wrong != "" {
		t.Error(wrong)
	}
	if worlds < 10000 {
		t.Errorf("only %d worlds", worlds)
	}
}

// broken are machines with one mistake each. The exploration finds every one.
var broken = map[string]machine{
	"forgets that it sends":          {begin: func(s Standing) (Standing, call) { return s, s.call() }, learn: learn, wishCancel: wishCancel},
	"stores nothing but new entries": {begin: begin, learn: learn, wishCancel: wishCancel, forgetful: true},
	"makes a new key for each copy":  {begin: begin, learn: learn, wishCancel: wishCancel, newKey: true},
	"believes whoever says 200": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if !a.signed && a.status == 200 && c == send {
			return s.settle(OutcomeExecuted, false)
		}
		return learn(s, c, a)
	}},
	"takes no answer for a failure": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if a.status == 0 && c == send {
			return s.settle(OutcomeRefused, false)
		}
		return learn(s, c, a)
	}},
	"takes a redirect for a refusal": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if a.status == 307 && c == send {
			return s.settle(OutcomeRefused, false)
		}
		return learn(s, c, a)
	}},
	"takes a part for the whole": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		whole := a
		whole.whole = true
		return learn(s, c, whole)
	}},
	"tells a refusal while a copy is on its way": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if a.signed && c == send && a.next == nextStop && a.state == stateRejected && s.State == Doubt {
			return s.settle(OutcomeRefused, true)
		}
		return learn(s, c, a)
	}},
	"takes too old for not executed": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if a.code == "key-too-old" && c == cancel {
			return s.settle(OutcomeCancelled, false)
		}
		return learn(s, c, a)
	}},
	"takes a word of a later version for done": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if a.next == "ponder" {
			a.next = nextDone
		}
		return learn(s, c, a)
	}},
	"takes unseen for never": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if a.state == stateUnseen && c == ask {
			return s.settle(OutcomeRefused, false)
		}
		return learn(s, c, a)
	}},
	"takes too late for a cancellation": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if a.code == "too-late" {
			return s.settle(OutcomeCancelled, false)
		}
		return learn(s, c, a)
	}},
	"cancels without asking": {begin: begin, learn: learn, wishCancel: func(s Standing) Standing {
		if s.State == Queued || s.State == Doubt {
			s.State, s.Outcome = Settled, OutcomeCancelled
		}
		return s
	}},
	"asks for what it only has to collect": {learn: learn, wishCancel: wishCancel, begin: func(s Standing) (Standing, call) {
		if s.State == Executed {
			return s, ask
		}
		return begin(s)
	}},
	"waits for ever": {begin: begin, wishCancel: wishCancel, learn: func(s Standing, c call, a answer) (Standing, step) {
		if n, next := learn(s, c, a); n.State != Queued || c != ask {
			return n, next
		}
		return s, step{call: s.call()}
	}},
}

func TestExplorationFindsMistakes(t *testing.T) {
	for name, m := range broken {
		worlds, wrong := explore(m, 1)
		if wrong == "" {
			t.Errorf("%s: nothing is wrong in %d worlds", name, worlds)
		}
		t.Logf("%s: %s", name, wrong)
	}
}
