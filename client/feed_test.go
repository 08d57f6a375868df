package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// turn serves one connection of a reader.
type turn func(http.ResponseWriter, *http.Request)

// says is a stream of the gateway that ends after some events, without being cut.
func says(events ...string) turn {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Idempotency-State", "completed")
		for _, e := range events {
			fmt.Fprint(w, e)
		}
	}
}

// then goes on after an answer has begun.
func (t turn) then(next func(r *http.Request)) turn {
	return func(w http.ResponseWriter, r *http.Request) {
		t(w, r)
		_ = http.NewResponseController(w).Flush()
		next(r)
	}
}

func cutOff(*http.Request)      { panic(http.ErrAbortHandler) }
func staysOpen(r *http.Request) { <-r.Context().Done() }

// refuses is a problem of the gateway.
func refuses(status int, next, code string) turn {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Idempotency-State", "rejected")
		w.Header().Set("Idempotency-Next", next)
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"code":%q}`, code)
	}
}

func aRequest(id, key string) string {
	return fmt.Sprintf("id: %s\nevent: request\ndata: {\"key\":%q,\"state\":\"completed\",\"more\":1}\n\n", id, key)
}

func aSync(id string) string {
	return "id: " + id + "\nevent: sync\ndata: {\"caught_up\":true}\n\n"
}

var errEnough = errors.New("enough")

// follow follows turns until n changes are told, and returns them, and where each connection began.
func follow(t *testing.T, n int, f Feed, o Options, turns ...turn) (told, begun []string, err error) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun = append(begun, r.Header.Get("Last-Event-ID")+r.URL.RawQuery+r.Header.Get("Authorization"))
		if r.Header.Get("Accept") != "text/event-stream" || r.URL.Path != "/_reconcile/v1/requests" {
			t.Errorf("%s %v", r.URL, r.Header)
		}
		if len(begun) <= len(turns) {
			turns[len(begun)-1](w, r)
		}
	}))
	defer server.Close()
	base := &http.Transport{DisableKeepAlives: true}
	defer base.CloseIdleConnections()
	o.Base, o.Backoff, o.Retries = base, time.Millisecond, 1000
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	f.Gateway = server.URL
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	err = c.Follow(ctx, f, func(ch Change) error {
		if told = append(told, fmt.Sprint(ch.Event, " ", ch.Record.Key, "@", ch.Cursor)); len(told) == n {
			return errEnough
		}
		return nil
	})
	return told, begun, err
}

func TestEachConnectionGoesOnWhereTheOneBeforeEnded(t *testing.T) {
	told, begun, err := follow(t, 8, Feed{Since: "0"}, Options{},
		says(": hello\n\n", aRequest("1", "a"), aRequest("2", "b"), "id: 3\nevent: request\ndata: {\"key\":\"cut sho"),
		says(aRequest("3", "c"), "id: 4\nevent: request\ndata: {}\n").then(cutOff),
		says(aRequest("4", "d"), "id: 4\nevent: bye\ndata: {\"reason\":\"draining\"}\n\n", aRequest("never", "x")),
		says(aRequest("5", "e"), "id: 6\nevent: request\ndata: {\"key\":\n\n", aRequest("never", "x")),
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) },
		func(w http.ResponseWriter, _ *http.Request) { // a captive portal
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, aRequest("portal", "x"))
		},
		refuses(503, "resend", "store-unavailable"),
		says("id: 6\nevent: later\ndata: {}\n\n", aSync("7")),
		says("id: new\nevent: reset\ndata: null\n\n", aRequest("8", "a")).then(staysOpen),
	)
	want := []string{"request a@1", "request b@2", "request c@3", "request d@4", "request e@5", "sync @7", "reset @new", "request a@8"}
	if !slices.Equal(told, want) || err != errEnough {
		t.Errorf("%q, %v", told, err)
	}
	if want := []string{"0", "2", "3", "4", "5", "5", "5", "5", "7"}; !slices.Equal(begun, want) {
		t.Errorf("begun at %q, want %q", begun, want)
	}
}

func TestAConnectionThatSaysNothingIsDead(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) { staysOpen(r) } // not even a status
	// On a busy machine even what is said at once comes only after a while, and its connection was given up for dead.
	turns := append([]turn{says(aRequest("1", "a")).then(staysOpen), slow, says(aSync("2"))}, slices.Repeat([]turn{says(aSync("late"))}, 1000)...)
	for silence := 200 * time.Millisecond; ; silence *= 4 {
		told, begun, err := follow(t, 2, Feed{Silence: silence}, Options{}, turns...)
		if slices.Equal(told, []string{"request a@1", "sync @2"}) && slices.Equal(begun, []string{"", "1", "1"}) && err == errEnough {
			return
		}
		if silence > 10*time.Second || len(begun) < 3 {
			t.Fatalf("%q from %q, %v", told, begun, err)
		}
	}
}

func TestACursorThatHasExpiredBeginsAnew(t *testing.T) {
	told, begun, err := follow(t, 2, Feed{Since: "old", States: []string{"unknown", "executing"}}, Options{}, refuses(410, "reconcile", "cursor-expired"), says(aSync("1")))
	if !slices.Equal(told, []string{"reset @", "sync @1"}) || !slices.Equal(begun, []string{"oldstate=unknown&state=executing", "state=unknown&state=executing"}) || err != errEnough {
		t.Errorf("%q from %q, %v", told, begun, err)
	}
}

// A change counts when it has been taken, and other credentials are tried once.
func TestFollowEnds(t *testing.T) {
	authorize := func(r *http.Request, again bool) error {
		r.Header.Set("Authorization", map[bool]string{false: "old", true: "new"}[again])
		return nil
	}
	told, begun, err := follow(t, 2, Feed{}, Options{Authorize: authorize}, refuses(401, "stop", "unauthenticated"), says(aSync("1")),
		refuses(401, "stop", "unauthenticated"), refuses(401, "stop", "unauthenticated"), says(aSync("2")))
	var refused *FeedRefusedError
	if !slices.Equal(told, []string{"sync @1"}) || !slices.Equal(begun, []string{"old", "new", "1old", "1new"}) || !errors.As(err, &refused) || refused.Status != 401 || refused.Code != "unauthenticated" {
		t.Errorf("%q from %q, %v", told, begun, err)
	}
	if _, _, err := follow(t, 1, Feed{}, Options{}, refuses(400, "stop", "request-malformed")); !errors.As(err, &refused) || refused.Code != "request-malformed" {
		t.Errorf("%v", err)
	}
	c, err := New(Options{Base: noTransport{t}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errEnough)
	if err := c.Follow(ctx, Feed{Gateway: "http://shop.test"}, nil); err != errEnough {
		t.Errorf("after the end of its context: %v", err)
	}
}
