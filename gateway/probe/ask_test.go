package probe

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/gateway/config"
)

// What a backend says is read as it is: a redirect is an answer, a cut one is none, and what is too long,
// or ends with its connection, is not whole.
func TestAsk(t *testing.T) {
	var followed atomic.Bool
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			io.WriteString(c, text)
		}
	}
	mux := http.NewServeMux()
	for kind, h := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"exact":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 100)) },
		"long":     func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, strings.Repeat("x", 101)) },
		"chunked": func(w http.ResponseWriter, _ *http.Request) {
			http.NewResponseController(w).Flush()
			io.WriteString(w, "whole")
		},
		"empty":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) },
		"open end":    raw("HTTP/1.1 200 OK\r\n\r\nperhaps whole"),
		"open end 2":  raw("HTTP/2.0 200 OK\r\n\r\nperhaps whole"),
		"cut":         raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhal"),
		"cut chunk":   raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n"),
		"no answer":   raw(""),
		"long header": raw("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n"),
	} {
		mux.HandleFunc("/"+strings.ReplaceAll(kind, " ", "-")+"/", h)
	}
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { followed.Store(true) })
	server := httptest.NewServer(mux)
	defer server.Close()
	transport := newTransport()
	defer transport.CloseIdleConnections()
	for kind, want := range map[string]string{
		"redirect": "302 true", "exact": "200 true", "long": "200 false", "chunked": "200 true", "empty": "204 true", "open end": "200 false", "open end 2": "200 false",
		"cut": "none", "cut chunk": "none", "no answer": "none", "long header": "none",
	} {
		r := &Route{Policy: &config.Probe{URL: server.URL + "/" + strings.ReplaceAll(kind, " ", "-") + "/{operation}"}, MaxAnswer: 100}
		a, err := ask(t.Context(), transport, r, Question{Operation: operation, Attempt: 2}, func(http.Header) {})
		got := fmt.Sprint(a.Status, a.Whole)
		if err != nil {
			got = "none"
		}
		if got != want {
			t.Errorf("%s: %s, want %s (%v)", kind, got, want, err)
		}
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
}

// A question that nobody answers ends by itself.
func TestAskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Route{Policy: &config.Probe{URL: "http://a/{operation}"}}
		begun := time.Now()
		if _, err := ask(context.Background(), &backend{answer: hang}, r, Question{}, func(http.Header) {}); err == nil || time.Since(begun) != timeout {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}
