package storetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/onceway/onceway/idempotency"
)

// subject is a record in the state of a column.
type subject struct {
	operation idempotency.Operation
	attempt   idempotency.Attempt // the record's own; for a record that has none, one that was never granted
	earlier   idempotency.Attempt // the one before, where there is one
	before    idempotency.Record
}

func (s subject) id() idempotency.OperationID { return s.operation.ID() }

// stranger is an attempt that the record never had.
func (s subject) stranger() idempotency.Attempt {
	a := s.attempt
	a.ID = idempotency.NewAttemptID()
	return a
}

// column says how records come into a state, as which they then show, and whether a store can have it.
type column struct {
	shows string
	make  func(w *world, ss []subject)
	needs func(h Harness) bool
}

var columns = map[string]column{
	"unseen":    {shows: "uns 0", make: func(*world, []subject) {}},
	"executing": {shows: "exe 1", make: claimed},
	"orphaned":  {shows: "unk 1", make: func(w *world, ss []subject) { claimed(w, ss); w.acquire() }},
	"overdue":   {shows: "unk 1", make: func(w *world, ss []subject) { claimed(w, ss); w.passAlive(4) }},
	"unknown":   {shows: "unk 1", make: then(claimed, own(doubt))},
	"foreign": {
		shows: "exe 1",
		make: func(w *world, ss []subject) {
			mine := w.owner
			var err error
			if w.owner, err = w.Store.Acquire(background, idempotency.Instance{ID: [16]byte{2}, Host: "two"}, Lease); err != nil {
				w.Fatal("acquire as another instance:", err)
			}
			claimed(w, ss)
			w.owner = mine
		},
		needs: func(h Harness) bool { return !h.LockLease },
	},

	"completed":    {shows: "com 1", make: then(claimed, own(complete))},
	"body expired": {shows: "for 1", make: func(w *world, ss []subject) { then(claimed, own(complete))(w, ss); w.pass(21 * step) }},
	"acknowledged": {shows: "for 1", make: then(claimed, own(complete), acknowledged)},
	"bodiless":     {shows: "for 1", make: then(claimed, own(completeBodiless))},
	"not executed": {shows: "not 1", make: then(claimed, own(release))},

	"tombstone 0":               {shows: "can 0", make: cancelled},
	"cancelled":                 {shows: "can 1", make: then(claimed, own(release), cancelled)},
	"contradicted not executed": {shows: "not 1", make: then(claimed, own(release), contradicted)},
	"contradicted executing 2":  {shows: "exe 2", make: then(claimed, own(release), claimed, contradictedEarlier)},
	"contradicted unknown 2":    {shows: "unk 2", make: then(claimed, own(release), claimed, contradictedEarlier, own(doubt))},

	"resent 2":           {shows: "exe 2", make: resent},
	"resent unknown 2":   {shows: "unk 2", make: then(resent, own(doubt))},
	"resent orphaned 2":  {shows: "unk 2", make: func(w *world, ss []subject) { resent(w, ss); w.acquire() }},
	"resent completed 2": {shows: "com 2", make: then(resent, own(complete))},
}

// lines are the transitions of the table.
var lines = map[string]func(w *world, s subject) idempotency.Transition{
	"claim same":   func(w *world, s subject) idempotency.Transition { return w.claim(s.operation) },
	"claim other":  func(w *world, s subject) idempotency.Transition { return other(w.claim(s.operation)) },
	"claim again":  func(w *world, s subject) idempotency.Transition { return again(w.claim(s.operation), s) },
	"resend same":  func(w *world, s subject) idempotency.Transition { return w.resend(s.operation) },
	"resend other": func(w *world, s subject) idempotency.Transition { return other(w.resend(s.operation)) },
	"resend again": func(w *world, s subject) idempotency.Transition { return again(w.resend(s.operation), s) },

	"claim further":  func(w *world, s subject) idempotency.Transition { return further(w.claim(s.operation)) },
	"resend further": func(w *world, s subject) idempotency.Transition { return further(w.resend(s.operation)) },
	"further again":  func(w *world, s subject) idempotency.Transition { return again(further(w.claim(s.operation)), s) },

	"complete":           func(_ *world, s subject) idempotency.Transition { return complete(s.attempt) },
	"complete bodiless":  func(_ *world, s subject) idempotency.Transition { return completeBodiless(s.attempt) },
	"complete unknowing": func(_ *world, s subject) idempotency.Transition { return unknowing(complete(s.attempt)) },
	"complete stranger":  func(_ *world, s subject) idempotency.Transition { return complete(s.stranger()) },
	"complete earlier":   func(_ *world, s subject) idempotency.Transition { return complete(s.earlier) },
	"release":            func(_ *world, s subject) idempotency.Transition { return release(s.attempt) },
	"release stranger":   func(_ *world, s subject) idempotency.Transition { return release(s.stranger()) },
	"release earlier":    func(_ *world, s subject) idempotency.Transition { return release(s.earlier) },
	"doubt":              func(_ *world, s subject) idempotency.Transition { return doubt(s.attempt) },
	"doubt stranger":     func(_ *world, s subject) idempotency.Transition { return doubt(s.stranger()) },
	"doubt earlier":      func(_ *world, s subject) idempotency.Transition { return doubt(s.earlier) },

	"resolve response": func(_ *world, s subject) idempotency.Transition {
		r := resolve(s.id(), s.attempt.N, idempotency.VerdictExecuted)
		r.Response = response()
		return r
	},
	"resolve executed": func(_ *world, s subject) idempotency.Transition {
		return resolve(s.id(), s.attempt.N, idempotency.VerdictExecuted)
	},
	"resolve not executed": func(_ *world, s subject) idempotency.Transition {
		return resolve(s.id(), s.attempt.N, idempotency.VerdictNotExecuted)
	},
	"resolve wrong attempt": func(_ *world, s subject) idempotency.Transition {
		return resolve(s.id(), s.attempt.N+1, idempotency.VerdictExecuted)
	},
	"note":        func(_ *world, s subject) idempotency.Transition { return note(s.id(), s.attempt.N) },
	"cancel":      func(_ *world, s subject) idempotency.Transition { return cancel(s.operation) },
	"acknowledge": func(_ *world, s subject) idempotency.Transition { return idempotency.Acknowledge{Operation: s.id()} },
	"import response": func(w *world, s subject) idempotency.Transition {
		return imported(w.claim(s.operation), response())
	},
	"import bodiless": func(w *world, s subject) idempotency.Transition {
		return imported(w.claim(s.operation), response().Bodiless())
	},
	"import claim": func(w *world, s subject) idempotency.Transition { return imported(w.claim(s.operation), nil) },
	"import further": func(w *world, s subject) idempotency.Transition {
		return imported(further(w.claim(s.operation)), nil)
	},
}

func testMoves(w *world) {
	for _, group := range moves {
		names, cells := parseTable(w, group.table, len(group.columns))
		for i, name := range group.columns {
			w.in(name, func(w *world) {
				c := columns[name]
				if c.needs != nil && !c.needs(w.Harness) {
					w.Skip("this store has one owner at a time, so nobody else's attempt can be alive")
				}
				w.column(c, names, func(line string) string { return cells[line][i] }, strings.HasPrefix(name, "contradicted"))
			})
		}
	}
}

// column brings one record per line into the column's state, applies all lines as one batch, reads the
// records again, and applies the batch a second time, which must change nothing and answer the same.
func (w *world) column(c column, names []string, cell func(line string) string, contradicted bool) {
	ss := make([]subject, len(names))
	ids := make([]idempotency.OperationID, len(names))
	for i := range ss {
		ss[i].operation = w.operation()
		ids[i] = ss[i].id()
		ss[i].attempt = idempotency.Attempt{Operation: ids[i], ID: idempotency.NewAttemptID(), N: 1, Owner: w.owner}
	}
	c.make(w, ss)
	ts := make([]idempotency.Transition, len(names))
	for i, name := range names {
		ss[i].before = w.find(ids[i])
		if got := show(ss[i].before); got != c.shows {
			w.Fatalf("before the move: %s, want %s", got, c.shows)
		}
		ts[i] = lines[name](w, ss[i])
	}
	check := func(when string, results []idempotency.Result) {
		w.Helper()
		for i, name := range names {
			want := expectation(c, ss[i].before, cell(name), contradicted)
			got := outcome{show(results[i].Record), results[i].Record.Revision, results[i].Record.Contradicted, results[i].Applied}
			if got != want {
				w.Errorf("%s: %s: got %+v, want %+v", name, when, got, want)
			}
		}
	}
	first := w.apply(ts...)
	check("first", first)
	records, err := w.Store.Find(background, ids)
	if err != nil {
		w.Fatal("find:", err)
	}
	found := make([]idempotency.Result, len(records))
	for i, r := range records {
		found[i] = idempotency.Result{Record: r, Applied: first[i].Applied}
	}
	check("found", found)
	check("applied again", w.apply(ts...))
}

type outcome struct {
	record       string
	revision     int64
	contradicted bool
	applied      bool
}

func expectation(c column, before idempotency.Record, cell string, contradicted bool) outcome {
	switch cell {
	case ".", "=":
		return outcome{c.shows, before.Revision, contradicted, cell == "="}
	case "!":
		return outcome{c.shows, before.Revision + 1, true, false}
	}
	return outcome{cell, before.Revision + 1, contradicted, true}
}

func show(r idempotency.Record) string { return fmt.Sprintf("%.3s %d", r.State, r.Attempt.N) }

func parseTable(t testing.TB, table string, width int) (names []string, cells map[string][]string) {
	cells = map[string][]string{}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		parts := strings.Split(line, "|")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		if len(parts) != width+1 || lines[parts[0]] == nil {
			t.Fatalf("malformed line in the table of moves: %q", line)
		}
		names = append(names, parts[0])
		cells[parts[0]] = parts[1:]
	}
	return names, cells
}

func then(steps ...func(*world, []subject)) func(*world, []subject) {
	return func(w *world, ss []subject) {
		for _, step := range steps {
			step(w, ss)
		}
	}
}

// each applies one transition per subject, in one batch, and hands the results back.
func each(w *world, ss []subject, f func(s subject) idempotency.Transition) []idempotency.Result {
	ts := make([]idempotency.Transition, len(ss))
	for i, s := range ss {
		ts[i] = f(s)
	}
	return w.apply(ts...)
}

func claimed(w *world, ss []subject) { claimedAs(w, ss, w.claim) }

func claimedAs(w *world, ss []subject, claim func(idempotency.Operation) idempotency.Claim) {
	for i, r := range each(w, ss, func(s subject) idempotency.Transition { return claim(s.operation) }) {
		ss[i].earlier, ss[i].attempt = ss[i].attempt, r.Record.Attempt
	}
}

func own[T idempotency.Transition](f func(idempotency.Attempt) T) func(*world, []subject) {
	return func(w *world, ss []subject) {
		each(w, ss, func(s subject) idempotency.Transition { return f(s.attempt) })
	}
}

func resent(w *world, ss []subject) {
	claimedAs(w, ss, w.resend)
	own(doubt)(w, ss)
	claimedAs(w, ss, w.resend)
}

func acknowledged(w *world, ss []subject) {
	each(w, ss, func(s subject) idempotency.Transition { return idempotency.Acknowledge{Operation: s.id()} })
}

func cancelled(w *world, ss []subject) {
	each(w, ss, func(s subject) idempotency.Transition { return cancel(s.operation) })
}

func contradicted(w *world, ss []subject) { own(complete)(w, ss) }

func contradictedEarlier(w *world, ss []subject) {
	each(w, ss, func(s subject) idempotency.Transition { return complete(s.earlier) })
}

func completeBodiless(a idempotency.Attempt) idempotency.Complete {
	c := complete(a)
	c.Response = c.Response.Bodiless()
	return c
}

func other(c idempotency.Claim) idempotency.Claim {
	c.Fingerprint = otherFingerprint
	return c
}

func again(c idempotency.Claim, s subject) idempotency.Claim {
	c.Attempt.ID = s.attempt.ID
	return c
}

func further(c idempotency.Claim) idempotency.Claim {
	c.Further = true
	return c
}

func imported(c idempotency.Claim, r *idempotency.Response) idempotency.Import {
	c.Attempt.N = 7
	return idempotency.Import{Claim: c, Response: r, Evidence: "from the spool"}
}
