package gateway_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// A store that is away takes every turn and gives none back. At the end of a drain, whole answers that wait in
// files for one are recorded all the same, before there is nobody left to take them.
func TestNoAnswerWaitsInAFileForTheStore(t *testing.T) {
	const many, size = 4, 50 << 10
	reached, heal := make(chan idempotency.OperationID, many), make(chan struct{})
	var arrived sync.WaitGroup
	arrived.Add(many)
	r := start(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived.Done()
		arrived.Wait() // no answer before all requests are in: their bodies must find room
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = fmt.Fprint(w, strings.Repeat("x", size))
	}, ", max_request_body: 1KiB, max_response_body: 60KiB}}\nbody_budget: 60KiB\nstore_timeout: 10m\nlease: 30m # ")
	away := func(ts []idempotency.Transition) {
		for _, x := range ts {
			if c, ok := x.(idempotency.Complete); ok {
				if c.Response.Replayable {
					reached <- c.Attempt.Operation
				} else {
					t.Error("an answer came without its content")
				}
				defer func() { <-heal }()
			}
		}
	}
	r.store.before.Store(&away)
	var clients sync.WaitGroup
	for i := range many {
		clients.Go(func() {
			a := r.send(t, "POST", "/", "x", "Idempotency-Key", fmt.Sprint("k", i))
			if a.is(t, 200, "executed", "done"); len(a.body) != size {
				t.Errorf("%d bytes", len(a.body))
			}
		})
	}
	next := func() {
		t.Helper()
		select {
		case <-reached:
		case <-time.After(30 * time.Second):
			close(heal)
			t.Fatal("a whole answer still waits in a file")
		}
	}
	next() // from memory
	next() // from a file
	for r.WaitingForTurns() < many-2 {
		runtime.Gosched() // a test that hangs here says where
	}
	r.Close()
	for range many - 2 {
		next()
	}
	close(heal)
	clients.Wait()
}

// On a route that resends, the answer of an earlier attempt may be recorded while a later one gets its own.
// That one's first caller gets the recorded answer, although both have the same content.
func TestFieldsOfTheRecordedAttempt(t *testing.T) {
	calls := 0
	r := start(t, func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("X-Attempt", "2")
		created(w, nil)
	}, ", on_unknown: resend")
	var first idempotency.Attempt
	late := func(ts []idempotency.Transition) {
		for _, x := range ts {
			switch x := x.(type) {
			case idempotency.Doubt:
				first = x.Attempt
			case idempotency.Complete:
				response := *x.Response
				response.Header = map[string][]string{"X-Attempt": {"1"}}
				earlier := idempotency.Complete{Attempt: first, Response: &response, Retention: x.Retention}
				if _, err := r.store.Model.Apply(t.Context(), []idempotency.Transition{earlier}); err != nil {
					t.Error(err)
				}
			}
		}
	}
	r.store.before.Store(&late)
	if a := r.send(t, "POST", "/", "x", "Idempotency-Key", "k"); a.StatusCode != http.StatusBadGateway {
		t.Fatal(a.StatusCode)
	}
	a := r.send(t, "POST", "/", "x", "Idempotency-Key", "k")
	if a.is(t, 201, "executed", "done"); a.Header.Get("X-Attempt") != "1" || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("the recorded answer is attempt 1's, and its caller got %v", a.Header)
	}
}
