package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
	"github.com/onceway/onceway/openapi/admin"
)

// operationOf is the operation of a key where all clients are one caller.
func operationOf(t *testing.T, g *rig.Gateway, key string) string {
	t.Helper()
	return insist(t, g, rig.Request{Method: http.MethodGet, Path: recordPath(key)}).Record(t).Operation
}

// resolve says what became of a key.
func resolve(t *testing.T, g *rig.Gateway, name, key, body string) *rig.Answer {
	t.Helper()
	return g.Operate(t, name, "POST", "/admin/v1/requests/"+operationOf(t, g, key)+"/resolution", body)
}

// shown is a record as operators see it.
func shown(t *testing.T, g *rig.Gateway, key string) (r admin.Record) {
	t.Helper()
	a := g.Operate(t, "", "GET", "/admin/v1/requests/"+operationOf(t, g, key), "")
	if a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	decode(t, a.Body, &r)
	return r
}

func wantProblem(t *testing.T, a *rig.Answer, status int, slug string) {
	t.Helper()
	if p := a.Problem(t); a.Status != status || p.Code != slug {
		t.Errorf("%d %s, want %d %s", a.Status, a.Body, status, slug)
	}
}

// lostAnswer makes an operation whose answer is lost after its effect.
func lostAnswer(t *testing.T, g *rig.Gateway) rig.Request {
	t.Helper()
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}
	g.Do(t, r).Is(t, doubted)
	return r
}

// What an operator has found in the backend's books is what every retry gets, and it says so.
func TestResolvedAsExecuted(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Admin: rig.Tokens("alice")})
		r := lostAnswer(t, g)
		g.Do(t, r).Is(t, stillUnknown)
		const said = `{"outcome":"executed","evidence":"ledger row 4711","attempt":1,
			"response":{"status":201,"headers":{"Content-Type":"application/json","X-Many":["1","2"]},"body":"{\"order\":4711}"}}`
		for range 2 {
			if a := resolve(t, g, "alice", r.Key, said); a.Status != 200 {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
		}
		wantProblem(t, resolve(t, g, "alice", r.Key, `{"outcome":"not_executed","evidence":"ledger row 4711"}`), 409, "already-settled")
		for range 2 {
			a := g.Do(t, r)
			a.Is(t, with(replayed, 201))
			if a.Body != `{"order":4711}` || a.Header.Get("Idempotency-Resolved") != "operator" || len(a.Header["X-Many"]) != 2 || a.Header.Get("Content-Type") != "application/json" {
				t.Errorf("%v %q", a.Header, a.Body)
			}
			g.Kill(t) // and it is kept
			g.Start(t)
		}
		found := g.Get(t, recordPath(r.Key))
		found.Is(t, rig.Want{Status: 200, State: "completed", Next: "done"})
		if found.Header.Get("Idempotency-Resolved") != "operator" {
			t.Errorf("%v", found.Header)
		}
		rec := shown(t, g, r.Key)
		if rec.Resolution == nil || rec.Resolution.By != "alice" || rec.Resolution.Evidence != "ledger row 4711" || rec.Route != "all" || len(rec.Evidence) != 1 {
			t.Errorf("%+v", rec)
		}
		if kept := rec.Times.BodyExpires.Sub(*rec.Times.Settled); kept.Round(time.Minute) != 24*time.Hour {
			t.Errorf("the answer is kept for %v", kept)
		}
		wantEffects(t, b, r.Key, 1)

		bare := lostAnswer(t, g)
		if a := resolve(t, g, "alice", bare.Key, `{"outcome":"executed","evidence":"seen, but not the answer"}`); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		a := g.Do(t, bare)
		a.Is(t, isForgotten)
		if a.Header.Get("Idempotency-Resolved") != "operator" {
			t.Errorf("%v", a.Header)
		}
		wantEffects(t, b, bare.Key, 1)
		g.AwaitOutput(t, "resolved by an operator")
		if log := g.Output(); strings.Contains(log, "4711") || strings.Contains(log, r.Key) {
			t.Error("the log has evidence or a key in it")
		}
		for _, line := range []string{`onceway_resolutions_total{onceway_outcome="executed"} 1`, "onceway_records_contradicted 0"} {
			// What the store does not tell within a second is not there.
			g.Until(t, "/metrics has the line "+line, func() bool { return strings.Contains(g.AdminGet(t, "/metrics").Body, line) })
		}
	})
}

// What was not executed is executed by the next retry, as another attempt.
func TestResolvedAsNotExecuted(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Admin: rig.Tokens("alice")})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{NoEffect: true, Then: ledger.Reset}}
		g.Do(t, r).Is(t, doubted)
		if a := resolve(t, g, "alice", r.Key, `{"outcome":"not_executed","evidence":"not in the ledger of the day"}`); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		wantState(t, g, r.Key, "not_executed", 1)
		r.Script = ledger.Script{Status: 201}
		a := g.Do(t, r)
		a.Is(t, with(executed, 201))
		if a.Header.Get("Idempotency-Resolved") != "" {
			t.Error("an answer of the backend's own is called resolved")
		}
		g.Do(t, r).Is(t, with(replayed, 201))
		if e := only(t, b, ledger.Effect, r.Key); e.Attempt != "2" {
			t.Errorf("attempt %s was executed", e.Attempt)
		}
		if rec := shown(t, g, r.Key); rec.Attempts != 2 || len(rec.AttemptHistory) != 2 || len(rec.Evidence) != 1 || rec.Resolution != nil {
			t.Errorf("%+v", rec)
		}
	})
}

// An operator calls an attempt not executed whose gateway is only asleep: its answer proves that wrong. It
// is kept, it alarms, and the operation is blocked, on every gateway.
func TestALateAnswerContradictsAResolution(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Upstream: patient, Extra: "lease: 2s", Admin: rig.Tokens("alice")}
	g, other := rig.Serve(t, c), rig.Serve(t, c)
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, After: newKey(), Body: ledger.Text("done after all")}}
	answer := resent(t, g, r)
	b.Await(t, r.Script.After, 1)
	stop(t, g)
	wantState(t, other, r.Key, "unknown", 1)
	if a := resolve(t, other, "alice", r.Key, `{"outcome":"not_executed","evidence":"the ledger was not asked"}`); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	b.Open(t, r.Script.After)
	g.Signal(t, syscall.SIGCONT)
	if a := <-answer; a == nil || a.Header.Get("Idempotency-State") == "executed" {
		t.Errorf("the client was told otherwise than the record says: %+v", a)
	}
	other.Until(t, "the contradiction is kept", func() bool { return shown(t, other, r.Key).Contradicted })
	rec := shown(t, other, r.Key)
	if rec.State != "not_executed" || len(rec.Contradictions) != 1 || rec.Contradictions[0].Response.Status != 201 || rec.Contradictions[0].Response.Length != 14 {
		t.Errorf("%+v", rec)
	}
	for _, gateway := range []*rig.Gateway{g, other} {
		gateway.AwaitReady(t)
		for range 2 {
			gateway.Do(t, r).Is(t, stillUnknown)
		}
	}
	wantEffects(t, b, r.Key, 1)
	list := other.Operate(t, "", "GET", "/admin/v1/requests?contradicted=true", "")
	if !strings.Contains(list.Body, rec.Operation) {
		t.Errorf("it is not listed: %s", list.Body)
	}
	other.Until(t, "/metrics counts it", func() bool {
		return strings.Contains(other.AdminGet(t, "/metrics").Body, "onceway_records_contradicted 1")
	})
	g.AwaitOutput(t, "an answer contradicts its record")
}

// Of operators who disagree, on whichever gateways, one counts; and no gateway tells otherwise, neither one
// that has held requests of the key nor the one that executed it.
func TestOperatorsRace(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Admin: rig.Tokens("alice", "bob")}
		gateways := []*rig.Gateway{rig.Serve(t, c)}
		if strings.HasPrefix(dsn, "postgres") {
			gateways = append(gateways, rig.Serve(t, c))
		}
		for range 5 {
			r := lostAnswer(t, gateways[0])
			for _, g := range gateways {
				g.Do(t, r).Is(t, stillUnknown)
			}
			operation := operationOf(t, gateways[0], r.Key)
			var answers [6]*rig.Answer
			var all sync.WaitGroup
			for i := range answers {
				all.Go(func() {
					name, said := "alice", fmt.Sprintf(`{"outcome":"executed","evidence":"e%d","response":{"status":%d}}`, i, 200+i)
					if i%2 == 1 {
						name, said = "bob", fmt.Sprintf(`{"outcome":"executed","evidence":"e%d"}`, i)
					}
					answers[i] = gateways[i%len(gateways)].Operate(t, name, "POST", "/admin/v1/requests/"+operation+"/resolution", said)
				})
			}
			all.Wait()
			won := -1
			for i, a := range answers {
				if a.Status == 200 && won >= 0 {
					t.Fatalf("%d and %d both count", won, i)
				}
				if a.Status == 200 {
					won = i
				} else {
					wantProblem(t, a, 409, "already-settled")
				}
			}
			if won < 0 {
				t.Fatal("nobody's word counts")
			}
			want := isForgotten
			if won%2 == 0 {
				want = with(replayed, 200+won)
			}
			for _, g := range gateways {
				g.Do(t, r).Is(t, want)
			}
			if rec := shown(t, gateways[0], r.Key); rec.Resolution.Evidence != fmt.Sprint("e", won) || len(rec.Evidence) != 1 {
				t.Errorf("%d won, and the record has %+v", won, rec)
			}
			wantEffects(t, b, r.Key, 1)
		}
	})
}

// A gateway that had a spool and was killed may have the answer on its disk: an operator is told, before
// anything is settled. Back on its disk, it has nothing, and then there is nothing to tell.
func TestAnOwnerThatMayHoldTheAnswer(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Upstream: patient, Admin: rig.Tokens("alice")}
	c.Extra = "lease: 2s\nspool: " + filepath.Join(t.TempDir(), "spool.db")
	g := rig.Serve(t, c)
	c.Extra = "lease: 2s"
	other := rig.Serve(t, c)
	var requests []rig.Request
	for range 2 {
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
		resent(t, g, r)
		b.Await(t, r.Script.After, 1)
		requests = append(requests, r)
	}
	g.Kill(t)
	for _, r := range requests {
		wantState(t, other, r.Key, "unknown", 1)
		wantProblem(t, resolve(t, other, "alice", r.Key, `{"outcome":"executed","evidence":"e"}`), 409, "owner-may-hold-answers")
		if rec := shown(t, other, r.Key); rec.State != "unknown" || rec.Owner.MayHoldAnswers == nil || !*rec.Owner.MayHoldAnswers || *rec.Owner.Alive {
			t.Errorf("%+v", rec.Owner)
		}
	}
	if list := other.Operate(t, "", "GET", "/admin/v1/instances", ""); strings.Count(list.Body, `"may_hold_answers":true`) != 1 {
		t.Errorf("%s", list.Body)
	}
	if a := resolve(t, other, "alice", requests[0].Key, `{"outcome":"executed","evidence":"its disk is lost","acknowledge_spool":true}`); a.Status != 200 {
		t.Errorf("acknowledged: %d %s", a.Status, a.Body)
	}
	g.Start(t)
	if a := resolve(t, other, "alice", requests[1].Key, `{"outcome":"executed","evidence":"e"}`); a.Status != 200 {
		t.Errorf("once the owner is back: %d %s", a.Status, a.Body)
	}
	for _, r := range requests {
		other.Do(t, r).Is(t, isForgotten)
		wantEffects(t, b, r.Key, 1)
	}
}

// Who may not, does not.
func TestStrangersAtTheAdminListener(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Admin: rig.Tokens("alice")})
	r := lostAnswer(t, g)
	path := "/admin/v1/requests/" + operationOf(t, g, r.Key)
	const said = `{"outcome":"executed","evidence":"e"}`
	for name, tt := range map[string]struct {
		by     string
		header []string
		status int
		slug   string
	}{
		"no token":     {"", nil, 401, "unauthenticated"},
		"wrong token":  {"mallory", nil, 401, "unauthenticated"},
		"cross origin": {"alice", []string{"Origin", "https://evil.example"}, 403, "forbidden"},
		"another host": {"alice", []string{"Host", "evil.example"}, 403, "forbidden"},
		"a form":       {"alice", []string{"Content-Type", "text/plain"}, 415, "unsupported-media-type"},
	} {
		t.Run(name, func(t *testing.T) {
			wantProblem(t, g.Operate(t, tt.by, "POST", path+"/resolution", said, tt.header...), tt.status, tt.slug)
		})
	}
	wantProblem(t, g.Operate(t, "", "GET", path, "", "Origin", "https://evil.example"), 403, "forbidden")
	wantProblem(t, g.Operate(t, "", "GET", "/admin/v1/requests/"+idempotency.OperationID{}.String(), ""), 404, "no-record")
	wantProblem(t, g.Operate(t, "alice", "POST", path+"/resolution", `{"outcome":"executed"}`), 422, "evidence-missing")
	g.Do(t, r).Is(t, stillUnknown)
}

// The commands of docs/operations.md, on a gateway with an operation in doubt.
func TestTheOperatorsVerbs(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Admin: rig.Tokens("alice")})
	first, second := lostAnswer(t, g), lostAnswer(t, g)
	operation := operationOf(t, g, first.Key)
	dir := t.TempDir()
	for name, text := range map[string]string{"token": rig.Token("alice") + "\n", "wrong": "x\n", "answer.json": `{"order":1}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(code int, says string, args ...string) string {
		t.Helper()
		got, out, errs := rig.Run(t, dir, append([]string{"requests"}, append(args, "--admin", "http://"+g.Admin)...)...)
		if got != code || !strings.Contains(out+errs, says) {
			t.Errorf("requests %v: exit code %d, want %d saying %q\n%s%s", args, got, code, says, out, errs)
		}
		return out
	}
	out := run(0, operation, "list", "--state", "unknown")
	if strings.Count(out, "unknown") != 2 || !strings.Contains(out, "POST /orders") || !strings.Contains(out, "OPERATION") {
		t.Errorf("%s", out)
	}
	run(0, "There are more", "list", "--limit", "1")
	run(0, "no records", "list", "--state", "completed")
	run(0, "no records", "list", "--age", "24h")
	run(1, "state is one of", "list", "--state", "lost")
	run(0, first.Key, "show", operation)
	run(0, `"attempt_history"`, "show", operation, "--json")
	run(1, "404 no-record", "show", idempotency.OperationID{}.String())
	run(1, "token", "show", operation, "--body")
	run(1, "ONCEWAY_ADMIN_TOKEN", "resolve", operation, "--outcome", "executed", "--evidence", "e")
	run(1, "401 unauthenticated", "resolve", operation, "--outcome", "executed", "--evidence", "e", "--token-file", "wrong")
	run(2, "outcome", "resolve", operation, "--evidence", "e")
	run(2, "--status", "resolve", operation, "--outcome", "executed", "--evidence", "e", "--body-file", "answer.json", "--token-file", "token")
	run(1, "409 attempt-changed", "resolve", operation, "--outcome", "executed", "--evidence", "e", "--attempt", "2", "--token-file", "token")
	run(0, "by alice", "resolve", operation, "--outcome", "executed", "--evidence", "ledger row 1", "--status", "201",
		"--header", "Content-Type: application/json", "--body-file", "answer.json", "--token-file", "token")
	a := g.Do(t, first)
	a.Is(t, with(replayed, 201))
	if a.Body != `{"order":1}` || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%v %q", a.Header, a.Body)
	}
	run(0, `{"order":1}`, "show", operation, "--body", "--token-file", "token")
	run(1, "409 already-settled (it is completed)", "resolve", operation, "--outcome", "not_executed", "--evidence", "e", "--token-file", "token")
	run(0, "not_executed", "resolve", operationOf(t, g, second.Key), "--outcome", "not_executed", "--evidence", "e", "--token-file", "token")
	if code, _, errs := rig.Run(t, dir, "requests", "list", "--admin", "ftp://x"); code != 2 || !strings.Contains(errs, "--admin") {
		t.Errorf("%d %s", code, errs)
	}
	if code, _, errs := rig.Run(t, dir, "requests", "list", "--admin", g.Addr); code != 1 || !strings.Contains(errs, "admin listener") {
		t.Errorf("on the public listener: %d %s", code, errs)
	}
}
