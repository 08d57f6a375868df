package admin_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func TestResolutionsThatAreRefused(t *testing.T) {
	o := newOffice(t)
	r := o.unknown()
	long := strings.Repeat("x", 1001)
	for _, tt := range []struct {
		body   string
		status int
		slug   string
	}{
		{``, 400, "request-malformed"},
		{`[]`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e"} {}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","by":"bob"}`, 400, "request-malformed"},
		{`{"outcome":"maybe","evidence":"e"}`, 400, "request-malformed"},
		{`{"outcome":"not_executed","outcome":"executed","evidence":"e"}`, 400, "request-malformed"},
		{`{"Outcome":"executed","evidence":"e"}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"Body":"x"}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"status":201}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"headers":{"A":"b","A":"c"}}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"body":"` + "\xff" + `"}}`, 400, "request-malformed"},
		{`{"evidence":"e"}`, 400, "request-malformed"},
		{`{"outcome":"executed"}`, 422, "evidence-missing"},
		{`{"outcome":"executed","evidence":" \n "}`, 422, "evidence-missing"},
		{`{"outcome":"executed","evidence":"a\u0000b"}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"` + strings.Repeat("é", 4001) + `"}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","attempt":0}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","attempt":2}`, 409, "attempt-changed"},
		{`{"outcome":"not_executed","evidence":"e","response":{"status":200}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":101}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":600}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":204,"body":"x"}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"body":"%%%","body_encoding":"base64"}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"body_encoding":"gzip"}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"headers":{"a b":"c"}}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"headers":{"A":"b\r\nC: d"}}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"headers":{"A":1}}}`, 400, "request-malformed"},
		{`{"outcome":"executed","evidence":"e","response":{"status":200,"body":"` + long + `"}}`, 413, "request-too-large"},
		{`{"outcome":"executed","evidence":"` + strings.Repeat("x", 1<<20) + `"}`, 413, "request-too-large"},
	} {
		o.wants(tt.body[:min(len(tt.body), 120)], o.resolve(r, tt.body), tt.status, tt.slug)
	}
	const good = `{"outcome":"executed","evidence":"e"}`
	o.wants("executing", o.resolve(o.executing(), good), 409, "in-progress")
	o.wants("never seen", o.resolve(idempotency.Record{ID: idempotency.OperationID{1}}, good), 404, "no-record")
	released := o.executing()
	o.apply(idempotency.Release{Attempt: released.Attempt, Cause: "dial", Retention: keep})
	o.wants("settled", o.resolve(released, good), 409, "already-settled")
	if got := o.record(o.send("GET", requestPath(r), "")); got.State != "unknown" || got.Revision != 2 {
		t.Errorf("a refused resolution changed the record: %+v", got)
	}
	if o.executed.Load()+o.notExecuted.Load() != 0 {
		t.Error("a refused resolution was counted")
	}
}

func TestExecutedWithItsResponse(t *testing.T) {
	o := newOffice(t)
	r := o.unknown()
	body := fmt.Sprintf(`{"outcome":"executed","evidence":" row 4711 of the ledger ","attempt":1,"response":{"status":201,
		"headers":{"content-type":"text/plain","X-Many":["1","2"],"Set-Cookie":"a=b","Connection":"X-Hop","X-Hop":"x","X-Dropped":"x","Idempotency-State":"executed"},
		"body":%q,"body_encoding":"base64"}}`, base64.StdEncoding.EncodeToString([]byte("\xff\x00")))
	for range 2 { // the second time it is answered, and not done
		a := o.resolve(r, body)
		got := o.record(a)
		if a.status != http.StatusOK || got.State != "completed" || got.Next != "done" || got.Resolution == nil || got.Resolution.By != "alice" ||
			got.Resolution.Evidence != "row 4711 of the ledger" || got.Response.Status != 201 || got.Response.Length != 2 || got.Response.Body != nil ||
			len(got.Evidence) != 1 || got.Evidence[0].Kind != "resolution" || got.Evidence[0].By != "alice" || got.Evidence[0].Text != "row 4711 of the ledger" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if names := got.Response.Headers; len(names) != 2 || names["Content-Type"][0] != "text/plain" || len(names["X-Many"]) != 2 {
			t.Errorf("stored fields: %v", names)
		}
	}
	if o.executed.Load() != 1 || o.notExecuted.Load() != 0 {
		t.Errorf("counted %d and %d", o.executed.Load(), o.notExecuted.Load())
	}
	for _, other := range []string{`{"outcome":"executed","evidence":"row 4711 of the ledger"}`, `{"outcome":"not_executed","evidence":"row 4711 of the ledger"}`} {
		o.wants("another one", o.resolve(r, other), 409, "already-settled")
	}
	o.wants("the same by another", o.resolve(r, body, "Authorization", "Bearer "+bobToken), 409, "already-settled")
	log := o.log.String()
	if strings.Count(log, "resolved by an operator") != 1 || !strings.Contains(log, "by=alice") || !strings.Contains(log, r.ID.String()) {
		t.Errorf("log:\n%s", log)
	}
	if strings.Contains(log, "4711") || strings.Contains(log, "secret") {
		t.Errorf("evidence, keys or tokens are in the log:\n%s", log)
	}
}

func TestOtherVerdicts(t *testing.T) {
	o := newOffice(t)
	for body, state := range map[string]string{
		`{"outcome":"executed","evidence":"e"}`:                 "forgotten",
		`{"outcome":"executed","evidence":"e","response":null}`: "forgotten",
		`{"outcome":"not_executed","evidence":"e"}`:             "not_executed",
	} {
		r := o.unknown()
		a := o.resolve(r, body)
		if got := o.record(a); a.status != 200 || string(got.State) != state || got.Response != nil {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
	if o.executed.Load() != 2 || o.notExecuted.Load() != 1 {
		t.Errorf("counted %d and %d", o.executed.Load(), o.notExecuted.Load())
	}
}

// Of operators who disagree one is believed, and the others are told.
func TestOperatorsAtOnce(t *testing.T) {
	o := newOffice(t)
	for range 20 {
		r := o.unknown()
		var answers [4]answered
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() {
				token, outcome := aliceToken, "executed"
				if i%2 == 1 {
					token, outcome = bobToken, "not_executed"
				}
				answers[i] = o.resolve(r, fmt.Sprintf(`{"outcome":%q,"evidence":"e%d"}`, outcome, i), "Authorization", "Bearer "+token)
			})
		}
		all.Wait()
		good := 0
		for i, a := range answers {
			switch {
			case a.status == 200:
				good++
				if by := o.record(a).Resolution; by.Evidence != fmt.Sprint("e", i) {
					t.Errorf("%d was told that its word counts, and the record has %+v", i, by)
				}
			case a.status != 409 || a.slug() != "already-settled":
				t.Errorf("%d: %d %s", i, a.status, a.body)
			}
		}
		if good != 1 {
			t.Fatalf("%d resolutions counted", good)
		}
	}
}

func TestAnOwnerThatMayHoldTheAnswer(t *testing.T) {
	o := newOffice(t)
	o.acquire(idempotency.Instance{ID: [16]byte{3}, Host: "three", Spool: &idempotency.SpoolNote{}})
	owner := o.owner
	note := func(s *idempotency.SpoolNote) {
		t.Helper()
		if err := o.model.NoteSpool(t.Context(), owner.Instance, s); err != nil {
			t.Fatal(err)
		}
	}
	const plain, acknowledged = `{"outcome":"not_executed","evidence":"e"}`, `{"outcome":"not_executed","evidence":"e","acknowledge_spool":true}`
	ok := func(what string, r idempotency.Record, body string) {
		t.Helper()
		if a := o.resolve(r, body); a.status != 200 {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	refuses := func(what string, r idempotency.Record, says ...string) {
		t.Helper()
		a := o.resolve(r, plain)
		o.wants(what, a, 409, "owner-may-hold-answers")
		for _, s := range append(says, `\"three\"`, r.ID.String()) {
			if !strings.Contains(a.body, s) {
				t.Errorf("%s: the answer does not say %s: %s", what, s, a.body)
			}
		}
		if shown := o.record(o.send("GET", requestPath(r), "")); shown.Owner.MayHoldAnswers == nil || !*shown.Owner.MayHoldAnswers || shown.State != "unknown" {
			t.Errorf("%s: shown as %+v", what, shown.Owner)
		}
	}
	ok("alive with an empty spool", o.unknown(), plain)

	r := o.unknown()
	note(&idempotency.SpoolNote{Depth: 7, Oldest: time.Now().Add(-time.Minute)})
	refuses("spooled answers", r, "7 answers", "1m0s")
	o.acquire(idempotency.Instance{ID: [16]byte{3}, Host: "three", Spool: &idempotency.SpoolNote{}})
	refuses("spooled answers, under another lease", r, "7 answers")
	ok("acknowledged", r, acknowledged)

	r = o.unknown()
	note(&idempotency.SpoolNote{})
	if err := o.model.GiveBack(t.Context(), o.owner); err != nil {
		t.Fatal(err)
	}
	refuses("gone with its spool", r, "is gone")
	o.acquire(idempotency.Instance{ID: [16]byte{4}, Host: "four"})
	ok("of another owner", o.unknown(), plain)
	refuses("still gone with its spool", r, "is gone")
	note(nil)
	ok("emptied by whoever has its disk now", r, plain)
}
