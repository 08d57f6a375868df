package participant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// A repeated attempt, a lower and a higher one all get the recorded answer, on any instance.
func TestRepeatedAttempt(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		operation := newOperation()
		w.wantExecuted(t, w.do(t, Attempt{operation, 2}), Execute, operation, 2)
		for _, n := range []int{2, 1, 3} {
			w.wantExecuted(t, w.do(t, Attempt{operation, n}), Replay, operation, 2)
		}
		w.subject = w.reopen(t)
		w.wantExecuted(t, w.do(t, Attempt{operation, 2}), Replay, operation, 2)
		other := newOperation()
		w.wantExecuted(t, w.do(t, Attempt{other, 1}), Execute, other, 1)
	})
}

// What was reported absent is refused from then on, and nothing else is.
func TestFence(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		operation := newOperation()
		for range 2 {
			if e := w.fence(t, operation, 2); e.State != idempotency.EnvelopeAbsent || e.Attempt != 2 || e.Operation != operation {
				t.Fatalf("fenced as %+v", e)
			}
		}
		if e := w.fence(t, operation, 1); !e.Refuses(1) {
			t.Errorf("a lower fence: %+v", e)
		}
		for _, n := range []int{1, 2} { // a lower fence has taken nothing back
			if r := w.do(t, Attempt{operation, n}); r.Decision != Refuse || r.Response != nil {
				t.Errorf("attempt %d is %+v", n, r)
			}
		}
		w.wantEffects(t, operation)
		w.wantExecuted(t, w.do(t, Attempt{operation, 3}), Execute, operation, 3)
		for _, n := range []int{0, 1, 3, 7} {
			if e := w.fence(t, operation, n); e.State != idempotency.EnvelopeExecuted || e.Attempt != 3 || string(e.Response.Body) != "effect of attempt 3" {
				t.Errorf("probed as %+v", e)
			}
		}
		w.wantExecuted(t, w.do(t, Attempt{operation, 1}), Replay, operation, 3)

		forbidden := newOperation()
		if e := w.fence(t, forbidden, 0); e.State != idempotency.EnvelopeAbsent || e.Attempt != 0 {
			t.Errorf("fenced as %+v", e)
		}
		for _, n := range []int{1, 2, every - 1} {
			if r := w.do(t, Attempt{forbidden, n}); r.Decision != Refuse {
				t.Errorf("attempt %d of what is fenced for ever is %+v", n, r)
			}
		}
		w.wantEffects(t, forbidden)
	})
}

// Work that fails or panics leaves nothing behind, and the same attempt may come again.
func TestFailedWork(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a := Attempt{newOperation(), 1}
		mishap := errors.New("mishap")
		if r, err := w.Do(t.Context(), a, func(_ context.Context, effect effect) (*idempotency.Response, error) {
			return created(a), errors.Join(effect(), mishap)
		}); !errors.Is(err, mishap) {
			t.Errorf("%+v, %v", r, err)
		}
		if r, err := w.Do(t.Context(), a, func(_ context.Context, effect effect) (*idempotency.Response, error) {
			return nil, effect()
		}); err == nil {
			t.Errorf("without an answer: %+v", r)
		}
		func() {
			defer func() { recover() }()
			_, _ = w.Do(t.Context(), a, func(_ context.Context, effect effect) (*idempotency.Response, error) {
				_ = effect()
				panic("mishap")
			})
		}()
		w.wantEffects(t, a.Operation)
		w.wantExecuted(t, w.do(t, a), Execute, a.Operation, 1)
	})
}

// An answer that says "not executed" stays true for copies of its request.
func TestDecline(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a := Attempt{newOperation(), 1}
		r, err := w.Do(t.Context(), a, func(_ context.Context, effect effect) (*idempotency.Response, error) {
			return idempotency.NewResponse(429, nil, []byte("later")), effect()
		})
		if err != nil || r.Decision != Refuse || r.Response.Status != 429 {
			t.Errorf("%+v, %v", r, err)
		}
		if r := w.do(t, a); r.Decision != Refuse || r.Response != nil {
			t.Errorf("a copy is %+v", r)
		}
		w.wantEffects(t, a.Operation)
		next := Attempt{a.Operation, 2}
		w.wantExecuted(t, w.do(t, next), Execute, a.Operation, 2)
	})
}

// An attempt that was seen makes lower ones impossible, even if it came to nothing itself.
func TestSeenAttemptRefusesLowerOnes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		operation := newOperation()
		if _, err := w.Do(t.Context(), Attempt{operation, 3}, func(context.Context, effect) (*idempotency.Response, error) {
			return nil, errors.New("mishap")
		}); err == nil {
			t.Error("no error")
		}
		for _, n := range []int{1, 2} {
			if r := w.do(t, Attempt{operation, n}); r.Decision != Refuse {
				t.Errorf("attempt %d after attempt 3 is %+v", n, r)
			}
		}
		w.wantExecuted(t, w.do(t, Attempt{operation, 3}), Execute, operation, 3)
	})
}

// A transaction of the backend's own, committed and rolled back.
func TestOwnTransaction(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a := Attempt{newOperation(), 1}
		run := func(end func(transaction)) Claim {
			t.Helper()
			tx, err := w.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			claim, err := tx.Claim(a)
			if err != nil {
				t.Fatal(err)
			}
			if claim.Decision == Execute {
				if err := tx.Effect(a); err != nil {
					t.Fatal(err)
				}
				if err := tx.Record(a, created(a)); err != nil {
					t.Fatal(err)
				}
			} else if err := tx.Record(a, created(a)); err == nil {
				t.Error("recorded what was not claimed")
			}
			end(tx)
			return claim
		}
		if c := run(transaction.Rollback); c.Decision != Execute {
			t.Errorf("%+v", c)
		}
		w.wantEffects(t, a.Operation)
		if c := run(func(tx transaction) {
			if err := tx.Commit(); err != nil {
				t.Error(err)
			}
		}); c.Decision != Execute {
			t.Errorf("%+v", c)
		}
		if c := run(transaction.Rollback); c.Decision != Replay || c.By != 1 || string(c.Response.Body) != "effect of attempt 1" {
			t.Errorf("%+v", c)
		}
		w.wantEffects(t, a.Operation, 1)
	})
}

// A claim that is committed counts as executed even if no answer was recorded: the effect may be there.
func TestForgottenRecord(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		a := Attempt{newOperation(), 1}
		tx, err := w.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Claim(a); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(tx.Effect(a), tx.Commit()); err != nil {
			t.Fatal(err)
		}
		if e := w.fence(t, a.Operation, 1); e.State != idempotency.EnvelopeExecuted || e.Response != nil {
			t.Errorf("probed as %+v", e)
		}
		r := w.do(t, a)
		answer := httptest.NewRecorder()
		r.Answer(answer)
		if r.Decision != Replay || answer.Code != http.StatusGone {
			t.Errorf("%+v is answered with %d", r, answer.Code)
		}
		w.wantEffects(t, a.Operation, 1)
	})
}

func TestRecordRefuses(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for name, response := range map[string]*idempotency.Response{
			"what was never claimed":          idempotency.NewResponse(200, nil, nil),
			"a status that says not executed": idempotency.NewResponse(429, nil, nil),
			"the status of a refusal":         idempotency.NewResponse(421, nil, nil),
			"an interim status":               idempotency.NewResponse(103, nil, nil),
			"a body where there is none":      idempotency.NewResponse(204, nil, []byte("x")),
			"a field that HTTP cannot carry":  idempotency.NewResponse(200, map[string][]string{"X": {"a\r\nb"}}, nil),
			"a field that JSON cannot carry":  idempotency.NewResponse(200, map[string][]string{"X": {"\xff"}}, nil),
		} {
			a := Attempt{newOperation(), 1}
			tx, err := w.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if name != "what was never claimed" {
				if _, err := tx.Claim(a); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Record(a, response); err == nil {
				t.Errorf("recorded %s", name)
			}
			tx.Rollback()
		}
	})
}

// What is recorded is what is replayed, whatever its bytes; fields of one connection are left out.
func TestRecordedBytes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for name, body := range map[string][]byte{"none": nil, "bytes": {0, 0xff, '\'', '\\'}, "text": []byte("é\u2028\x00"), "much": []byte(strings.Repeat("x", 1<<20))} {
			a := Attempt{newOperation(), 1}
			if _, err := w.Do(t.Context(), a, func(_ context.Context, effect effect) (*idempotency.Response, error) {
				return idempotency.NewResponse(200, map[string][]string{
					"x-note": {`"é", \ 'b'`, ""}, "Connection": {"close"}, "Date": {"now"}, "Set-Cookie": {"a=b"}, "Content-Length": {"7"}, "Retry-After": {"3"},
				}, body), effect()
			}); err != nil {
				t.Fatal(err)
			}
			e := w.fence(t, a.Operation, 1)
			if string(e.Response.Body) != string(body) || fmt.Sprint(e.Response.Header) != `map[Retry-After:[3] X-Note:["é", \ 'b' ]]` {
				t.Errorf("%s: probed as %.100q %v", name, e.Response.Body, e.Response.Header)
			}
			wire, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := idempotency.DecodeEnvelope(wire); err != nil || string(back.Response.Body) != string(body) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestProbe(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		operation := newOperation()
		answer := w.probe(t, operation, HeaderAttempt, "1")
		body, _ := io.ReadAll(answer.Body)
		if want := `{"operation":"` + operation.String() + `","attempt":1,"state":"absent"}`; answer.StatusCode != 404 ||
			answer.Header.Get("Onceway-Fenced") != "true" || answer.Header.Get("Content-Type") != "application/vnd.onceway.operation+json" || string(body) != want {
			t.Errorf("absent: %d %v %s", answer.StatusCode, answer.Header, body)
		}
		w.wantExecuted(t, w.do(t, Attempt{operation, 2}), Execute, operation, 2)
		answer = w.probe(t, operation, HeaderAttempt, "1")
		body, _ = io.ReadAll(answer.Body)
		if want := `{"operation":"` + operation.String() + `","attempt":2,"state":"executed","response":{"status":201,` +
			`"headers":{"Content-Type":["text/plain"],"X-Many":["a","b"]},"body":"effect of attempt 2","body_encoding":"utf-8"}}`; answer.StatusCode != 200 ||
			answer.Header.Get("Onceway-Fenced") != "" || answer.Header.Get("Content-Type") != "application/vnd.onceway.operation+json" || string(body) != want {
			t.Errorf("executed: %d %v %s", answer.StatusCode, answer.Header, body)
		}
		if answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control %q", answer.Header.Get("Cache-Control"))
		}

		forbidden := newOperation()
		answer = w.probe(t, forbidden)
		body, _ = io.ReadAll(answer.Body)
		if want := `{"operation":"` + forbidden.String() + `","state":"absent"}`; answer.StatusCode != 404 || string(body) != want {
			t.Errorf("absent for ever: %d %s", answer.StatusCode, body)
		}
	})
}

// Who is no prober fences nothing.
func TestNotAProbe(t *testing.T) {
	w := newSQLite(t)
	mux := http.NewServeMux()
	mux.Handle("/operations/{operation}", w.Probe())
	for name, change := range map[string]func(*http.Request, idempotency.OperationID){
		"no field": func(r *http.Request, _ idempotency.OperationID) { r.Header.Del(HeaderOperation) },
		"other operation": func(r *http.Request, _ idempotency.OperationID) {
			r.Header.Set(HeaderOperation, newOperation().String())
		},
		"two operations": func(r *http.Request, o idempotency.OperationID) { r.Header.Add(HeaderOperation, o.String()) },
		"no UUID":        func(r *http.Request, _ idempotency.OperationID) { r.Header.Set(HeaderOperation, "4711") },
		"attempt 0":      func(r *http.Request, _ idempotency.OperationID) { r.Header.Set(HeaderAttempt, "0") },
		"attempt text":   func(r *http.Request, _ idempotency.OperationID) { r.Header.Set(HeaderAttempt, "one") },
		"attempt empty":  func(r *http.Request, _ idempotency.OperationID) { r.Header.Set(HeaderAttempt, "") },
		"two attempts":   func(r *http.Request, _ idempotency.OperationID) { r.Header.Add(HeaderAttempt, "2") },
		"attempt huge":   func(r *http.Request, _ idempotency.OperationID) { r.Header.Set(HeaderAttempt, "2147483647") },
		"POST":           func(r *http.Request, _ idempotency.OperationID) { r.Method = http.MethodPost },
		"HEAD":           func(r *http.Request, _ idempotency.OperationID) { r.Method = http.MethodHead },
	} {
		operation := newOperation()
		r := httptest.NewRequest(http.MethodGet, "/operations/"+operation.String(), nil)
		r.Header.Set(HeaderOperation, operation.String())
		r.Header.Set(HeaderAttempt, "1")
		change(r, operation)
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, r)
		if answer.Code != 400 && answer.Code != 405 || answer.Header().Get("Onceway-Fenced") != "" {
			t.Errorf("%s: %d %v", name, answer.Code, answer.Header())
		}
		w.wantExecuted(t, w.do(t, Attempt{operation, 1}), Execute, operation, 1)
	}
}

// A database that is away is never taken for absence.
func TestProbeWithoutDatabase(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.exec(t, "DROP TABLE onceway_operations")
		answer := w.probe(t, newOperation(), HeaderAttempt, "1")
		if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" || answer.Header.Get("Onceway-Fenced") != "" {
			t.Errorf("%d %v", answer.StatusCode, answer.Header)
		}
	})
}

func TestServe(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		send := func(operation idempotency.OperationID, attempt string, work func(context.Context, effect) (*idempotency.Response, error)) *http.Response {
			r := httptest.NewRequest(http.MethodPost, "/orders", nil)
			r.Header.Set(HeaderOperation, operation.String())
			r.Header.Set(HeaderAttempt, attempt)
			if attempt == "" {
				r.Header.Del(HeaderAttempt)
			}
			answer := httptest.NewRecorder()
			w.Serve(answer, r, work)
			return answer.Result()
		}
		operation := newOperation()
		a := Attempt{operation, 1}
		if answer := send(operation, "", book(a)); answer.StatusCode != 400 {
			t.Errorf("without an attempt: %d", answer.StatusCode)
		}
		if answer := send(operation, "1", func(context.Context, effect) (*idempotency.Response, error) {
			return nil, errors.New("mishap")
		}); answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" {
			t.Errorf("after a failure: %d", answer.StatusCode)
		}
		for range 2 {
			answer := send(operation, "1", book(a))
			body, _ := io.ReadAll(answer.Body)
			if answer.StatusCode != 201 || string(body) != "effect of attempt 1" || answer.Header.Get("Content-Length") != "19" {
				t.Errorf("%d %v %s", answer.StatusCode, answer.Header, body)
			}
		}
		w.wantEffects(t, operation, 1)
		fenced := newOperation()
		w.fence(t, fenced, 1)
		answer := send(fenced, "1", book(Attempt{fenced, 1}))
		if answer.StatusCode != 421 || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("refused: %d %v", answer.StatusCode, answer.Header)
		}
		w.wantEffects(t, fenced)
	})
}

func TestFromRequest(t *testing.T) {
	operation := newOperation()
	for name, tt := range map[string]struct {
		header http.Header
		ok     bool
	}{
		"both":            {http.Header{HeaderOperation: {operation.String()}, HeaderAttempt: {"7"}}, true},
		"upper case":      {http.Header{HeaderOperation: {strings.ToUpper(operation.String())}, HeaderAttempt: {"7"}}, true},
		"none":            {http.Header{}, false},
		"no attempt":      {http.Header{HeaderOperation: {operation.String()}}, false},
		"no operation":    {http.Header{HeaderAttempt: {"7"}}, false},
		"attempt twice":   {http.Header{HeaderOperation: {operation.String()}, HeaderAttempt: {"7", "7"}}, false},
		"attempt 0":       {http.Header{HeaderOperation: {operation.String()}, HeaderAttempt: {"0"}}, false},
		"attempt +7":      {http.Header{HeaderOperation: {operation.String()}, HeaderAttempt: {"+7"}}, false},
		"attempt 07":      {http.Header{HeaderOperation: {operation.String()}, HeaderAttempt: {"07"}}, false},
		"attempt for all": {http.Header{HeaderOperation: {operation.String()}, HeaderAttempt: {fmt.Sprint(every)}}, false},
	} {
		a, err := FromRequest(&http.Request{Header: tt.header})
		if (err == nil) != tt.ok || tt.ok && a != (Attempt{operation, 7}) {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
	}
}

func TestPurge(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		if _, err := w.Purge(t.Context(), Retention{Response: 2 * time.Hour, Key: time.Hour}); err == nil {
			t.Error("answers were to be kept longer than their operations")
		}
		old, young, fenced, forbidden := newOperation(), newOperation(), newOperation(), newOperation()
		w.do(t, Attempt{old, 1})
		w.do(t, Attempt{young, 1})
		w.fence(t, fenced, 1)
		w.fence(t, forbidden, 0)
		age := func(d time.Duration, operations ...idempotency.OperationID) {
			for _, o := range operations {
				if w.kind == "sqlite" {
					w.exec(t, "UPDATE onceway_operations SET changed_at = changed_at - $2 WHERE operation = $1", o.String(), int(d.Seconds()))
					w.exec(t, "UPDATE onceway_responses SET recorded_at = recorded_at - $2 WHERE operation = $1", o.String(), int(d.Seconds()))
					continue
				}
				w.exec(t, "UPDATE onceway_operations SET changed_at = changed_at - make_interval(secs => $2) WHERE operation = $1", o.String(), d.Seconds())
				w.exec(t, "UPDATE onceway_responses SET recorded_at = recorded_at - make_interval(secs => $2) WHERE operation = $1", o.String(), d.Seconds())
			}
		}
		purge := func(responses, operations int64) {
			t.Helper()
			p, err := w.Purge(t.Context(), Retention{Response: 24 * time.Hour, Key: 60 * 24 * time.Hour})
			if err != nil || p != (Purged{responses, operations}) {
				t.Errorf("%+v, %v, want %d and %d", p, err, responses, operations)
			}
		}
		purge(0, 0)
		age(25*time.Hour, old, fenced, forbidden)
		purge(1, 0)
		if e := w.fence(t, old, 1); e.State != idempotency.EnvelopeExecuted || e.Attempt != 1 || e.Response != nil {
			t.Errorf("without its answer it is probed as %+v", e)
		}
		if e := w.fence(t, young, 1); e.Response == nil {
			t.Error("a young answer is gone")
		}
		if r := w.do(t, Attempt{fenced, 1}); r.Decision != Refuse {
			t.Errorf("fenced: %+v", r)
		}
		age(60*24*time.Hour, old, fenced, forbidden)
		purge(0, 2)
		if r := w.do(t, Attempt{forbidden, 1}); r.Decision != Refuse {
			t.Errorf("fenced for ever: %+v", r)
		}
		if r := w.do(t, Attempt{young, 1}); r.Decision != Replay {
			t.Errorf("young: %+v", r)
		}
	})
}

// An operation stays as long as its answer does: that would be taken for the answer of a later execution.
func TestPurgeLeavesNoAnswerBehind(t *testing.T) {
	w := newPgx(t)
	a := Attempt{newOperation(), 1}
	w.do(t, a)
	w.exec(t, "UPDATE onceway_operations SET changed_at = now() - interval '90 days'")
	w.exec(t, "UPDATE onceway_responses SET recorded_at = now() - interval '90 days'")
	reader, err := w.look.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Rollback()
	if _, err := reader.Exec("SELECT FROM onceway_responses FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	retention := Retention{Response: time.Hour, Key: time.Hour}
	if p, err := w.Purge(t.Context(), retention); err != nil || p != (Purged{}) {
		t.Errorf("%+v, %v", p, err)
	}
	reader.Rollback()
	if p, err := w.Purge(t.Context(), retention); err != nil || p != (Purged{1, 1}) {
		t.Errorf("%+v, %v", p, err)
	}
}

// More than one batch is purged, and what is in use is left alone.
func TestPurgeOfMany(t *testing.T) {
	w := newPgx(t)
	w.exec(t, "INSERT INTO onceway_operations (operation, executed, changed_at) SELECT gen_random_uuid(), 1, now() - interval '90 days' FROM generate_series(1, $1)", 2*purgeBatch+1)
	tx, err := w.look.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("SELECT FROM onceway_operations ORDER BY operation LIMIT 1 FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	p, err := w.Purge(t.Context(), Retention{Response: time.Hour, Key: time.Hour})
	if err != nil || p.Operations != 2*purgeBatch {
		t.Errorf("%+v, %v", p, err)
	}
}
