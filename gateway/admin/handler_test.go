package admin_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/gateway/admin"
)

func get(h http.Handler, method, target string) (int, string, http.Header) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Code, w.Body.String(), w.Header()
}

func check(name string, err error) admin.Check {
	return admin.Check{Name: name, Run: func(context.Context) error { return err }}
}

func TestAnswers(t *testing.T) {
	ill := errors.New("dial tcp db.internal:5432: refused")
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "onceway_requests_total 1\n") })
	for _, tt := range []struct {
		name           string
		checks         []admin.Check
		method, target string
		status         int
		body           string
	}{
		{"alive although the store is ill", []admin.Check{check("store", ill)}, "GET", "/livez", 200, "ok\n"},
		{"ready", []admin.Check{check("store", nil), check("lease", nil)}, "GET", "/readyz", 200, "ready\n"},
		{"ready without checks", nil, "GET", "/readyz", 200, "ready\n"},
		{"not ready", []admin.Check{check("store", ill), check("lease", nil), check("draining", ill)}, "GET", "/readyz", 503, "not ready: store, draining\n"},
		{"verbose", []admin.Check{check("store", ill), check("lease", nil)}, "GET", "/readyz?verbose", 503,
			`{"ready":false,"checks":[{"name":"store","ok":false},{"name":"lease","ok":true}]}` + "\n"},
		{"metrics", nil, "GET", "/metrics", 200, "onceway_requests_total 1\n"},
		{"only to be read", nil, "POST", "/readyz", 405, "Method Not Allowed\n"},
		{"nothing else", nil, "GET", "/", 404, "404 page not found\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := admin.Handler(admin.Options{Checks: tt.checks, Metrics: metrics, Log: slog.New(slog.DiscardHandler)})
			status, body, _ := get(h, tt.method, tt.target)
			if status != tt.status || body != tt.body {
				t.Errorf("%d %q, want %d %q", status, body, tt.status, tt.body)
			}
		})
	}
}

func TestCausesGoToTheLogAndOnlyWhenTheyChange(t *testing.T) {
	var log bytes.Buffer
	var err error
	h := admin.Handler(admin.Options{Log: slog.New(slog.NewTextHandler(&log, nil)),
		Checks: []admin.Check{{Name: "store", Run: func(context.Context) error { return err }}}})
	for _, now := range []error{nil, errors.New("refused"), errors.New("refused"), nil, nil} {
		err = now
		get(h, "GET", "/readyz")
	}
	if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "check=store error=refused") || !strings.Contains(text, "ready again") {
		t.Errorf("log:\n%s", text)
	}
}

func TestAnswersAreUsedAgainWhileFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cached, always atomic.Int64
		h := admin.Handler(admin.Options{Log: slog.New(slog.DiscardHandler), Checks: []admin.Check{
			{Name: "store", Fresh: time.Second, Run: func(context.Context) error { cached.Add(1); return nil }},
			{Name: "draining", Run: func(context.Context) error { always.Add(1); return nil }},
		}})
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { get(h, "GET", "/readyz") })
		}
		all.Wait()
		if cached.Load() != 1 || always.Load() != 50 {
			t.Errorf("store was asked %d times, want 1; draining %d times, want 50", cached.Load(), always.Load())
		}
		time.Sleep(time.Second)
		get(h, "GET", "/readyz")
		if cached.Load() != 2 {
			t.Errorf("a stale answer was used again")
		}
	})
}

func TestVerboseSaysWhatIsInTheSpool(t *testing.T) {
	oldest := time.Date(2026, 11, 21, 6, 0, 0, 0, time.UTC)
	for want, spool := range map[string]*admin.Spool{
		`{"ready":true,"checks":[]}`: nil,
		`{"ready":true,"checks":[],"spool":{"depth":0,"bytes":0,"limit":9,"oldest":null,"damaged":1}}`:                   {Limit: 9, Damaged: 1},
		`{"ready":true,"checks":[],"spool":{"depth":2,"bytes":5,"limit":9,"oldest":"2026-11-21T06:00:00Z","damaged":0}}`: {Depth: 2, Bytes: 5, Limit: 9, Oldest: &oldest},
	} {
		h := admin.Handler(admin.Options{Log: slog.New(slog.DiscardHandler), Spool: func() *admin.Spool { return spool }})
		if status, body, _ := get(h, "GET", "/readyz?verbose"); status != 200 || body != want+"\n" {
			t.Errorf("%d %s, want %s", status, body, want)
		}
	}
}

// A probe that gives up must not make the next one see a failure.
func TestACheckSurvivesItsProbeAndEndsByItsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := admin.Handler(admin.Options{Log: slog.New(slog.DiscardHandler), Timeout: 3 * time.Second, Checks: []admin.Check{
			{Name: "a", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			{Name: "b", Run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			{Name: "c", Run: func(ctx context.Context) error { return ctx.Err() }},
		}})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil).WithContext(ctx))
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("two hanging checks took %v, want their common timeout of 3s", took)
		}
		if w.Body.String() != "not ready: a, b\n" {
			t.Errorf("%q", w.Body)
		}
	})
}
