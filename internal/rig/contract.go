package rig

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// Want is what the table of answers says about one.
type Want struct {
	Status int
	State  string
	Next   string
	Slug   string // of a problem
	Record bool   // a problem about a record: it has the operation and the record's address
}

// Is checks an answer against the table, and against all that the protocol says of every answer.
func (a *Answer) Is(t testing.TB, w Want) {
	t.Helper()
	got := Want{Status: a.Status, State: a.Header.Get("Idempotency-State"), Next: a.Header.Get("Idempotency-Next"), Slug: a.slug(), Record: w.Record}
	if got != w {
		t.Errorf("answer is %+v, want %+v\n%v\n%s", got, w, a.Header, a.Body[:min(len(a.Body), 500)])
		return
	}
	a.contract(t)
	if w.Slug != "" {
		a.problem(t, w)
	}
}

// Record is a record as JSON.
type Record struct {
	Key, Operation, State, Next string
	Revision                    int64
	Attempts                    int
	Request                     *struct{ Method, Target, Fingerprint string }
	Response                    *struct {
		Status        int
		Headers       map[string][]string
		Length        int64
		Digest        string
		BodyAvailable bool `json:"body_available"`
		Body          *string
		BodyEncoding  string `json:"body_encoding"`
	}
	Times struct {
		FirstSeen   *time.Time `json:"first_seen"`
		Dispatched  *time.Time
		Settled     *time.Time
		BodyExpires *time.Time `json:"body_expires"`
		Expires     *time.Time
	}
	TraceID string `json:"trace_id"`
}

// Problem is a problem document.
type Problem struct {
	Type, Code, Title, Detail, State, Next, Operation string
	Status                                            int
	StatusURL                                         string `json:"status_url"`
	TraceID                                           string `json:"trace_id"`
	Response                                          *struct {
		Status int
		Length *int64
		Digest string
	}
	ServerTime string `json:"server_time"`
}

// Problem decodes a problem document.
func (a *Answer) Problem(t testing.TB) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil {
		t.Errorf("no problem: %v\n%s", err, a.Body)
	}
	return p
}

// Record decodes a record.
func (a *Answer) Record(t testing.TB) Record {
	t.Helper()
	var r Record
	if err := json.Unmarshal([]byte(a.Body), &r); err != nil {
		t.Errorf("no record: %v\n%s", err, a.Body)
	}
	return r
}

func (a *Answer) slug() string {
	if a.Header.Get("Content-Type") != "application/problem+json" {
		return ""
	}
	var p Problem
	_ = json.Unmarshal([]byte(a.Body), &p)
	return p.Code
}

var (
	states = strings.Fields("executed replayed attached executing not_executed unknown cancelled forgotten rejected unprotected completed unseen")
	nexts  = strings.Fields("done wait resend reconcile stop")
	later  = strings.Fields("wait resend reconcile")
)

// contract checks what holds for every protected and every reconciliation answer.
func (a *Answer) contract(t testing.TB) {
	t.Helper()
	state, next := a.one(t, "Idempotency-State"), a.one(t, "Idempotency-Next")
	if !slices.Contains(states, state) || !slices.Contains(nexts, next) {
		t.Errorf("state %q, next %q", state, next)
	}
	if slices.Contains(later, next) {
		a.one(t, "Retry-After")
	} else if a.slug() != "" && a.Header.Get("Retry-After") != "" {
		t.Errorf("Retry-After on an answer whose next is %s", next)
	}
	if replayed := state == "replayed" || state == "attached"; replayed != (a.Header.Get("Idempotent-Replayed") == "true") {
		t.Errorf("state %s, Idempotent-Replayed %q", state, a.Header.Get("Idempotent-Replayed"))
	}
	if state != "rejected" && state != "unseen" && state != "unprotected" {
		if link := strings.Join(a.Header.Values("Link"), ", "); !strings.Contains(link, `>; rel="status"`) {
			t.Errorf("Link: %q", link)
		}
		if _, err := http.ParseTime(a.one(t, "Idempotency-Expires")); err != nil {
			t.Errorf("Idempotency-Expires: %v", err)
		}
	}
}

// one returns the value of a field that must be there once.
func (a *Answer) one(t testing.TB, name string) string {
	t.Helper()
	if n := len(a.Header.Values(name)); n != 1 {
		t.Errorf("%s is there %d times", name, n)
	}
	return a.Header.Get(name)
}

// problem checks what holds for every problem.
func (a *Answer) problem(t testing.TB, w Want) {
	t.Helper()
	p := a.Problem(t)
	if p.Status != a.Status || p.State != w.State || p.Next != w.Next || p.Title == "" || p.Detail == "" {
		t.Errorf("the problem's members do not fit its answer: %+v", p)
	}
	if p.Type != "/.well-known/idempotency/problems/"+p.Code {
		t.Errorf("type %q", p.Type)
	}
	if a.one(t, "Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", a.Header.Get("Cache-Control"))
	}
	if w.Record && (len(p.Operation) != 36 || !strings.HasPrefix(p.StatusURL, "/_reconcile/v1/requests/")) {
		t.Errorf("the problem is about a record, and has operation %q, status_url %q", p.Operation, p.StatusURL)
	}
	if !w.Record && (p.Operation != "" || p.StatusURL != "") {
		t.Errorf("the problem is about no record, and has operation %q, status_url %q", p.Operation, p.StatusURL)
	}
}
