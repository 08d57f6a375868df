package idempotency_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// legal is docs/guarantee.md's table of moves: from the state that a reader sees, to the state after,
// by which transitions. Whatever is not here must not happen.
const legal = `
unseen       executing    claim
unseen       cancelled    cancel
unseen       completed    import
unseen       forgotten    import
unseen       unknown      import
executing    completed    complete
executing    forgotten    complete
executing    not_executed release
executing    unknown      doubt release
unknown      completed    complete resolve
unknown      forgotten    complete resolve
unknown      not_executed release resolve
unknown      executing    claim
unknown      unknown      doubt
not_executed executing    claim
not_executed cancelled    cancel
completed    forgotten    acknowledge
forgotten    forgotten    acknowledge
`

// situation is a stored record together with what the move depends on besides it.
type situation struct {
	stored idempotency.Record
	env    idempotency.Env
}

const testLease = 10 * time.Second

var (
	anOperation = idempotency.Operation{Caller: "alice", Key: "order-1"}
	fingerprint = idempotency.Fingerprint{Version: 1, Sum: [32]byte{1}}
	keep        = idempotency.Retention{Response: time.Hour, Key: 24 * time.Hour}
	earlier     = idempotency.Attempt{Operation: anOperation.ID(), ID: idempotency.AttemptID{1}, N: 1}
	own         = idempotency.Attempt{Operation: anOperation.ID(), ID: idempotency.AttemptID{2}, N: 2}
	anAnswer    = idempotency.NewResponse(200, map[string][]string{"A": {"b"}}, []byte("body"))
)

// situations enumerates every record that the table can lead to, twice executed, and some that it cannot.
func situations() (all []situation) {
	bools := []bool{false, true}
	all = append(all, situation{idempotency.Record{ID: anOperation.ID()}, env(false)})
	for _, state := range idempotency.States() {
		for _, resend := range bools {
			for _, doubted := range bools {
				for _, contradicted := range bools {
					for _, alive := range bools {
						for _, late := range bools { // its deadline, or its body, has run out
							r := idempotency.Record{
								ID: anOperation.ID(), Operation: anOperation, State: state, Attempt: own, Revision: 5,
								Fingerprint: fingerprint, Method: "POST", Target: "/", Resend: resend, Contradicted: contradicted,
								FirstSeen: noon.Add(-time.Hour), Claimed: noon.Add(-time.Minute), Deadline: noon.Add(time.Minute),
								Settled: noon.Add(-time.Second), Expires: noon.Add(23 * time.Hour),
							}
							switch state {
							case idempotency.Executing:
								r.Doubted, r.Settled = doubted, time.Time{}
								if late {
									r.Deadline = noon.Add(-time.Minute)
								}
							case idempotency.Completed:
								r.Response, r.BodyExpires = anAnswer, noon.Add(time.Hour)
								if late {
									r.BodyExpires = noon
								}
							case idempotency.NotExecuted:
								r.Cause = "dial"
								if late {
									r.Resolution = &idempotency.Resolution{By: "operator:bob", Evidence: "e", At: noon}
								}
							case idempotency.Unknown:
								r.Cause, r.Doubted = "timeout", doubted
							case idempotency.Cancelled:
								if late { // a tombstone
									r.Attempt, r.Fingerprint, r.Method, r.Target = idempotency.Attempt{}, idempotency.Fingerprint{}, "", ""
									r.Claimed, r.Deadline = time.Time{}, time.Time{}
								}
							case idempotency.Forgotten:
								r.Response = anAnswer.Bodiless()
							case idempotency.Unseen:
							}
							all = append(all, situation{r, env(alive)})
						}
					}
				}
			}
		}
	}
	return all
}

func env(alive bool) idempotency.Env {
	return idempotency.Env{Now: noon, OwnerHasLease: alive, Lease: testLease}
}

// transitions enumerates what can be asked for, each once for the record's own attempt and for others.
func transitions() (all []idempotency.Transition) {
	stranger, later := own, own
	stranger.ID, later.ID, later.N = idempotency.AttemptID{9}, idempotency.AttemptID{8}, 3
	for _, a := range []idempotency.Attempt{own, earlier, stranger, later} {
		for _, resend := range []bool{false, true} {
			for _, f := range []idempotency.Fingerprint{fingerprint, {Version: 1, Sum: [32]byte{2}}, {Version: 2, Sum: fingerprint.Sum}} {
				all = append(all, idempotency.Claim{
					Attempt: a, Operation: anOperation, Fingerprint: f, Method: "POST", TargetURI: "/", Budget: time.Minute, Resend: resend, Retention: keep,
				})
			}
		}
		all = append(all,
			idempotency.Complete{Attempt: a, Response: anAnswer, Retention: keep},
			idempotency.Complete{Attempt: a, Response: anAnswer.Bodiless(), Retention: keep},
			idempotency.Release{Attempt: a, Cause: "dial", Retention: keep},
			idempotency.Doubt{Attempt: a, Cause: "timeout", Retention: keep},
		)
		for _, resend := range []bool{false, true} {
			c := idempotency.Claim{Attempt: a, Operation: anOperation, Fingerprint: fingerprint, Resend: resend, Budget: time.Minute, Retention: keep}
			all = append(all,
				idempotency.Import{Claim: c, Response: anAnswer, Evidence: "spool"},
				idempotency.Import{Claim: c, Response: anAnswer.Bodiless(), Evidence: "spool"},
				idempotency.Import{Claim: c, Evidence: "spool"},
			)
		}
	}
	for _, n := range []int{0, 1, 2, 3} {
		for _, v := range []idempotency.Verdict{0, idempotency.VerdictExecuted, idempotency.VerdictNotExecuted, 7} {
			r := idempotency.Resolve{Operation: anOperation.ID(), N: n, Verdict: v, By: "operator:alice", Evidence: "e", Retention: keep}
			all = append(all, r)
			r.Response = anAnswer
			all = append(all, r)
		}
	}
	for _, n := range []int{1, 2, 3} {
		all = append(all, idempotency.Note{Operation: anOperation.ID(), N: n, By: "probe", Text: "not found"})
	}
	return append(all, idempotency.Cancel{Operation: anOperation, Retention: keep}, idempotency.Acknowledge{Operation: anOperation.ID()})
}

func verb(t idempotency.Transition) string { return strings.ToLower(reflect.TypeOf(t).Name()) }

func TestOnlyLegalMoves(t *testing.T) {
	missing := map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(legal)) {
		f := strings.Fields(line)
		for _, by := range f[2:] {
			missing[fmt.Sprintf("%s → %s by %s", f[0], f[1], by)] = true
		}
	}
	allowed := make(map[string]bool, len(missing))
	for move := range missing {
		allowed[move] = true
	}
	for _, s := range situations() {
		for _, tr := range transitions() {
			after, changed, evidence := idempotency.Next(s.stored, tr, s.env)
			seen := s.stored
			seen.Derive(s.env.Now, s.env.OwnerHasLease, s.env.Lease)
			c := &checker{t, fmt.Sprintf("%+v\non %+v\ngave %+v", tr, s.stored, after)}
			switch {
			case !changed:
				c.that(reflect.DeepEqual(after, s.stored), "an unchanged record differs")
				c.that(evidence == nil || evidence.Kind == idempotency.EvidenceContradiction && s.stored.Contradicted ||
					verb(tr) == "note" && seen.State == idempotency.Unknown && evidence.Kind == idempotency.EvidenceAbsence && evidence.Attempt == own.ID,
					"evidence of nothing")
			case evidence != nil && evidence.Kind == idempotency.EvidenceContradiction:
				c.contradiction(s.stored, after, tr)
			default:
				move := fmt.Sprintf("%v → %v by %s", seen.State, after.State, verb(tr))
				c.that(allowed[move], "illegal move: "+move)
				delete(missing, move)
				c.move(s, seen, after, tr, evidence)
			}
			c.again(s, after, tr, changed)
		}
	}
	for move := range missing {
		t.Errorf("the table has a move that never happened: %s", move)
	}
}

type checker struct {
	t    *testing.T
	what string
}

func (c *checker) that(ok bool, message string) {
	c.t.Helper()
	if !ok {
		c.t.Fatalf("%s:\n%s", message, c.what)
	}
}

// contradiction: nothing moves but the mark, and it is an answer that made it.
func (c *checker) contradiction(stored, after idempotency.Record, tr idempotency.Transition) {
	c.that(verb(tr) == "complete", "something else than an answer contradicts")
	c.that(!stored.Contradicted && after.Contradicted && after.Revision == stored.Revision+1, "mark or revision")
	after.Contradicted, after.Revision, after.Been = false, stored.Revision, stored.Been
	c.that(reflect.DeepEqual(after, stored), "a contradiction changed the record")
}

// move checks the conditions of the table, and what holds for every move.
func (c *checker) move(s situation, seen, after idempotency.Record, tr idempotency.Transition, evidence *idempotency.Evidence) {
	stored := s.stored
	c.that(after.Revision == stored.Revision+1, "revision")
	c.that(after.ID == stored.ID && after.Operation == anOperation, "identity")
	c.that(!after.Expires.Before(stored.Expires), "protection became shorter")
	c.that(stored.FirstSeen.IsZero() || after.FirstSeen.Equal(stored.FirstSeen), "first sight moved")
	c.that(after.Contradicted == stored.Contradicted, "a contradiction came or went")
	c.that((after.State == idempotency.Executing) == after.Settled.IsZero(), "settled while executing, or not while settled")
	c.that(after.Cause == "" || after.State == idempotency.NotExecuted || after.State == idempotency.Unknown, "cause")
	c.that(!after.Doubted || after.State == idempotency.Executing || after.State == idempotency.Unknown, "doubt about a settled record")
	c.that(after.Response == nil || after.State == idempotency.Completed || after.State == idempotency.Forgotten, "an answer without execution")
	c.that((after.State == idempotency.Completed) == (after.Response != nil && after.Response.Replayable), "completed without a body, or a body elsewhere")
	c.that(after.State != idempotency.Completed || after.BodyExpires.Equal(after.Expires.Add(keep.Response-keep.Key)), "body expires")
	needs := seen.State == idempotency.Unknown && after.State.Settled() || seen.State == idempotency.Unseen && verb(tr) == "import"
	c.that(needs == (evidence != nil), "evidence")
	c.that(evidence == nil || evidence.Operation == anOperation.ID() && evidence.At.Equal(noon) && evidence.By != "", "evidence is incomplete")
	switch tr := tr.(type) {
	case idempotency.Claim:
		c.that(after.Attempt.N == stored.Attempt.N+1 && after.Attempt.ID == tr.Attempt.ID, "attempt")
		c.that(!stored.Contradicted, "a contradicted record was claimed")
		c.that(stored.State == idempotency.Unseen || tr.Fingerprint == stored.Fingerprint, "re-armed by another request")
		c.that(seen.State != idempotency.Unknown || tr.Resend, "an unknown outcome was executed again")
		c.that(after.Doubted == (seen.State == idempotency.Unknown), "doubt about earlier attempts")
		c.that(after.Resolution == nil, "an earlier resolution stuck to the new attempt")
		c.that(after.Deadline.Equal(noon.Add(time.Minute)), "deadline")
	case idempotency.Complete:
		early := stored.Resend && tr.Attempt.N < stored.Attempt.N
		c.that(tr.Attempt.ID == stored.Attempt.ID || early, "an answer of a foreign attempt")
		c.that(after.Attempt == stored.Attempt, "attempt")
	case idempotency.Release:
		c.that(tr.Attempt.ID == stored.Attempt.ID && after.Attempt == stored.Attempt, "attempt")
		c.that((after.State == idempotency.Unknown) == stored.Doubted, "an earlier doubt was released")
	case idempotency.Doubt:
		c.that(tr.Attempt.ID == stored.Attempt.ID && after.Attempt == stored.Attempt && after.Doubted == stored.Doubted, "attempt")
		c.that(stored.State == idempotency.Executing, "a doubt about what is not executing")
	case idempotency.Resolve:
		c.that(tr.N == stored.Attempt.N && after.Attempt == stored.Attempt, "attempt")
		c.that(after.Resolution != nil && after.Resolution.By == tr.By && after.Resolution.Evidence == tr.Evidence, "resolution")
		c.that((tr.Verdict == idempotency.VerdictNotExecuted) == (after.State == idempotency.NotExecuted), "verdict")
	case idempotency.Cancel, idempotency.Acknowledge:
		c.that(after.Attempt == stored.Attempt, "attempt")
	case idempotency.Import:
		c.that(after.Attempt == tr.Claim.Attempt, "attempt")
		c.that(after.Doubted == (tr.Response == nil && tr.Claim.Resend && tr.Claim.Attempt.N > 1), "doubt about earlier attempts")
	default:
		c.that(false, "a transition that the test does not know")
	}
}

// again: a transition holds after it was made, and changes nothing a second time.
func (c *checker) again(s situation, after idempotency.Record, tr idempotency.Transition, changed bool) {
	live := env(true)
	if !changed {
		live = s.env
	}
	twice, changedAgain, _ := idempotency.Next(after, tr, live)
	c.that(!changedAgain && reflect.DeepEqual(twice, after), "the second time changed something")
	after.Derive(live.Now, live.OwnerHasLease, live.Lease)
	holds := idempotency.ResultOf(tr, after).Applied
	contradicted := verb(tr) == "complete" && changed && !slices.Contains([]idempotency.State{idempotency.Completed, idempotency.Forgotten}, after.State)
	if changed && !contradicted && after.Contradicted == s.stored.Contradicted {
		c.that(holds, "a move that was made does not hold")
	}
	if holds && !changed {
		c.that(s.stored.State != idempotency.Unseen, "something holds of a record that is not there")
	}
}
