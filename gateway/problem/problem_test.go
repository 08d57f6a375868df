package problem

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/onceway/onceway/idempotency"
)

// TestTable states the contract of protocol.md once more, independently of the table in the code.
func TestTable(t *testing.T) {
	for _, want := range []struct {
		p           Problem
		status      int
		slug        string
		state, next string
	}{
		{NewKeyMissing("Idempotency-Key"), 400, "key-missing", "rejected", "stop"},
		{NewKeyMalformed("Idempotency-Key", "it is empty"), 400, "key-malformed", "rejected", "stop"},
		{NewPathAmbiguous("d"), 400, "path-ambiguous", "rejected", "stop"},
		{NewRequestMalformed("d"), 400, "request-malformed", "rejected", "stop"},
		{NewUnauthenticated("d"), 401, "unauthenticated", "rejected", "stop"},
		{NewForbidden("d"), 403, "forbidden", "rejected", "stop"},
		{NewNoRoute(), 404, "no-route", "rejected", "stop"},
		{NewMethodNotAllowed("d"), 405, "method-not-allowed", "rejected", "stop"},
		{NewRequestTooLarge("d"), 413, "request-too-large", "rejected", "stop"},
		{NewKeyReused(), 422, "key-reused", "rejected", "stop"},
		{NewRateLimited("d"), 429, "rate-limited", "rejected", "resend"},
		{NewOverloaded("d"), 503, "overloaded", "rejected", "resend"},
		{NewStoreUnavailable(), 503, "store-unavailable", "rejected", "resend"},
		{NewInProgress(), 409, "in-progress", "executing", "wait"},
		{NewBackendUnreachable("d"), 503, "backend-unreachable", "not_executed", "resend"},
		{NewWithoutEffect(0), 409, "not-settled", "not_executed", "resend"},
		{NewWithoutEffect(429), 429, "not-settled", "not_executed", "resend"},
		{NewWithoutEffect(599), 599, "not-settled", "not_executed", "resend"},
		{NewWithoutEffect(204), 409, "not-settled", "not_executed", "resend"}, // which could have no content
		{NewWithoutEffect(399), 409, "not-settled", "not_executed", "resend"},
		{NewOutcomeUnknown(true, "d"), 504, "outcome-unknown", "unknown", "reconcile"},
		{NewOutcomeUnknown(false, "d"), 502, "outcome-unknown", "unknown", "reconcile"},
		{NewStillUnknown(), 409, "outcome-unknown", "unknown", "reconcile"},
		{NewCancelled(), 409, "cancelled", "cancelled", "stop"},
		{NewResponseForgotten(0, -1, ""), 410, "response-forgotten", "forgotten", "done"},
		{NewKeyTooOld("d"), 412, "key-too-old", "rejected", "stop"},
		{NewDeadlinePassed("d"), 412, "deadline-passed", "rejected", "stop"},
		{NewRecordDamaged(), 500, "record-damaged", "unknown", "reconcile"},
		{NewInternal(0), 500, "internal", "rejected", "reconcile"},
		{NewInternal(Executing), 500, "internal", "executing", "reconcile"},
		{NewUnseen(), 404, "unseen", "unseen", "resend"},
		{NewNotSettled(Unknown, Reconcile), 409, "not-settled", "unknown", "reconcile"},
		{NewTooLate(Completed, Done), 409, "too-late", "completed", "done"},
		{NewTooManyKeys("d"), 400, "too-many-keys", "rejected", "stop"},
		{NewCursorExpired(), 410, "cursor-expired", "rejected", "reconcile"},
		{NewNoRecord(), 404, "no-record", "unseen", "stop"},
		{NewEvidenceMissing(), 422, "evidence-missing", "rejected", "stop"},
		{NewAlreadySettled(NotExecuted, Resend), 409, "already-settled", "not_executed", "resend"},
		{NewAttemptChanged("d"), 409, "attempt-changed", "unknown", "stop"},
		{NewOwnerMayHoldAnswers("d"), 409, "owner-may-hold-answers", "unknown", "stop"},
		{NewRangeNotSatisfiable(), 416, "range-not-satisfiable", "completed", "done"},
		{NewPreconditionFailed(), 412, "precondition-failed", "completed", "done"},
		{NewUnsupportedMediaType("d"), 415, "unsupported-media-type", "rejected", "stop"},
	} {
		t.Run(want.slug+"/"+strconv.Itoa(want.status), func(t *testing.T) {
			w := httptest.NewRecorder()
			Writer{}.Write(w, want.p)
			var body map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatal(err)
			}
			h := w.Header()
			for name, pair := range map[string][2]any{
				"status":         {w.Code, want.status},
				"member status":  {body["status"], float64(want.status)},
				"code":           {body["code"], want.slug},
				"type":           {body["type"], "/.well-known/idempotency/problems/" + want.slug},
				"state":          {h.Get("Idempotency-State"), want.state},
				"member state":   {body["state"], want.state},
				"next":           {h.Get("Idempotency-Next"), want.next},
				"member next":    {body["next"], want.next},
				"media type":     {h.Get("Content-Type"), "application/problem+json"},
				"cache":          {h.Get("Cache-Control"), "no-store"},
				"content length": {h.Get("Content-Length"), strconv.Itoa(w.Body.Len())},
			} {
				if pair[0] != pair[1] {
					t.Errorf("%s = %v, want %v", name, pair[0], pair[1])
				}
			}
			retries := want.next == "wait" || want.next == "resend" || want.next == "reconcile"
			if _, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31); (err == nil) != retries {
				t.Errorf("Retry-After = %q with next %s", h.Get("Retry-After"), want.next)
			}
			for _, member := range []string{"title", "detail"} {
				if s, _ := body[member].(string); s == "" {
					t.Errorf("%s is empty", member)
				}
			}
			for _, member := range []string{"operation", "status_url", "trace_id", "response"} {
				if _, there := body[member]; there {
					t.Errorf("%s is there without a record", member)
				}
			}
			if h.Get("Link") != "" {
				t.Errorf("Link = %q without a record", h.Get("Link"))
			}
		})
	}
}

func TestWriteRecordMembers(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Link", "</docs>; rel=\"help\"")
	p := NewResponseForgotten(201, 17, "sha-256=:AA==:").About("0190", "/_reconcile/v1/requests/k", "4bf9")
	Writer{}.Write(w, p)
	want := `"operation":"0190","status_url":"/_reconcile/v1/requests/k","trace_id":"4bf9","response":{"digest":"sha-256=:AA==:","length":17,"status":201}}` + "\n"
	if !strings.HasSuffix(w.Body.String(), want) {
		t.Errorf("body = %s, want it to end with %s", w.Body, want)
	}
	if links := w.Header().Values("Link"); len(links) != 2 || links[1] != `</_reconcile/v1/requests/k>; rel="status"` {
		t.Errorf("Link = %q", links)
	}
}

func TestExtensionsCannotReplaceMembers(t *testing.T) {
	w := httptest.NewRecorder()
	p := NewNoRoute()
	p.Extensions = map[string]any{"status": 200, "code": "fine", "hint\"": 1, "broken": func() {}}
	Writer{}.Write(w, p)
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatal(err)
	}
	if body["status"] != 404.0 || body["code"] != "no-route" || body["hint\""] != 1.0 || body["broken"] != nil {
		t.Errorf("body = %v", body)
	}
}

func TestRetryAfterIsSpreadOverTheWholeRange(t *testing.T) {
	at := func(random float64, p Problem) string {
		w := httptest.NewRecorder()
		Writer{Random: func() float64 { return random }}.Write(w, p)
		return w.Header().Get("Retry-After")
	}
	if least, most := at(0, NewOverloaded("")), at(0.999999, NewOverloaded("")); least != "1" || most != "4" {
		t.Errorf("overloaded: %s to %s, want 1 to 4", least, most)
	}
	// A foreign key must look like an unseen one, whatever the dice say.
	if a, b := at(0, NewUnseen()), at(0.999999, NewUnseen()); a != "0" || b != "0" {
		t.Errorf("unseen: %s and %s, want 0", a, b)
	}
	if least, most := at(0, NewNotSettled(Unknown, Reconcile)), at(0.999999, NewNotSettled(Unknown, Reconcile)); least != "2" || most != "5" {
		t.Errorf("not settled, reconcile: %s to %s, want 2 to 5", least, most)
	}
	for next, want := range map[Next]string{Wait: "1", Resend: "1", Reconcile: "2", Done: "", Stop: ""} {
		if got := (Writer{Random: func() float64 { return 0 }}).RetryAfter(next); got != want {
			t.Errorf("RetryAfter(%s) = %q, want %q", next, got, want)
		}
	}
}

func TestTableIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Slugs() {
		row := s.row()
		if row.slug == "" || row.title == "" || row.meaning == "" || row.advice == "" || row.state == 0 || row.next == 0 {
			t.Errorf("slug %d has an incomplete row: %+v", s, row)
		}
		if seen[row.slug] {
			t.Errorf("%s stands twice", row.slug)
		}
		seen[row.slug] = true
		if row.status < 400 || row.status > 599 {
			t.Errorf("%s has status %d", row.slug, row.status)
		}
		if row.retry.least > row.retry.most || !row.next.RetryAfter() && row.retry != (backoff{}) {
			t.Errorf("%s: next %s does not go with %+v", row.slug, row.next, row.retry)
		}
		if back, ok := ParseSlug(s.String()); !ok || back != s {
			t.Errorf("ParseSlug(%s) = %v, %v", s, back, ok)
		}
	}
	for s := State(1); s < StateCount; s++ {
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
}

func TestRecordStatesHaveAStateAndANext(t *testing.T) {
	for state, want := range map[idempotency.State]string{
		idempotency.Unseen: "resend", idempotency.Executing: "wait", idempotency.Completed: "done", idempotency.NotExecuted: "resend",
		idempotency.Unknown: "reconcile", idempotency.Cancelled: "stop", idempotency.Forgotten: "done",
	} {
		if got := OfRecord(state).String(); got != state.String() {
			t.Errorf("OfRecord(%s) = %s", state, got)
		}
		if got := NextOfRecord(state).String(); got != want {
			t.Errorf("NextOfRecord(%s) = %s, want %s", state, got, want)
		}
	}
}

func TestPages(t *testing.T) {
	for _, s := range Slugs() {
		html, ok := Page(s.String())
		if !ok {
			t.Fatalf("%s has no page", s)
		}
		text := string(html)
		if !strings.Contains(text, "<code>"+s.String()+"</code>") || !strings.Contains(text, `<html lang="en">`) || !strings.HasSuffix(text, "</html>\n") {
			t.Errorf("page of %s is incomplete:\n%s", s, text)
		}
		for _, outside := range []string{"http://", "https://", "<script", "src="} {
			if strings.Contains(text, outside) {
				t.Errorf("page of %s contains %q", s, outside)
			}
		}
		if n := strings.Count(s.row().meaning+" "+s.row().advice, ". ") + 1; n < 3 || n > 9 {
			t.Errorf("page of %s has %d sentences", s, n)
		}
	}
	for _, slug := range []string{"", "nonsense", "../unseen", "UNSEEN"} {
		if _, ok := Page(slug); ok {
			t.Errorf("Page(%q) exists", slug)
		}
	}
}

// A client that is gone must not make the writer panic.
func TestWriteToAClientThatIsGone(t *testing.T) {
	Writer{}.Write(gone{header: http.Header{}}, NewNoRoute())
}

type gone struct{ header http.Header }

func (g gone) Header() http.Header       { return g.header }
func (g gone) Write([]byte) (int, error) { return 0, errors.New("gone") }
func (g gone) WriteHeader(int)           {}
