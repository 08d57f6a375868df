package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func created(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Set-Cookie", "a=1")
	w.WriteHeader(201)
	_, _ = w.Write([]byte("made"))
}

func operation(key idempotency.Key) idempotency.OperationID {
	return idempotency.Operation{Caller: "anonymous", Key: key}.ID()
}

// A store may return a copy of the response; the first caller still gets what is not stored.
func TestFirstCallerGetsWhatIsNotStored(t *testing.T) {
	r := start(t, created, "")
	first := r.send(t, "POST", "/", "x", "Idempotency-Key", "k")
	first.is(t, 201, "executed", "done")
	if first.Header.Get("Set-Cookie") != "a=1" {
		t.Error("the first caller's Set-Cookie is lost")
	}
	again := r.send(t, "POST", "/", "x", "Idempotency-Key", "k")
	again.is(t, 201, "replayed", "done")
	if again.Header.Get("Set-Cookie") != "" {
		t.Error("Set-Cookie is replayed")
	}
}

// A stored answer that does not match its digest is refused to the first caller, too.
func TestDamagedBeforeTheFirstAnswer(t *testing.T) {
	r := start(t, created, "")
	r.store.Damage(operation("k"))
	r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 500, "unknown", "reconcile")
	r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 500, "unknown", "reconcile")
	r.send(t, "GET", "/_reconcile/v1/requests/k", "").is(t, 500, "unknown", "reconcile")
	r.send(t, "GET", "/_reconcile/v1/requests/k/response", "").is(t, 500, "unknown", "reconcile")
}

// An answer that proves a not_executed record wrong must not be told as "not executed".
func TestContradictedIsNotTold(t *testing.T) {
	r := start(t, created, "")
	resolve := func(ts []idempotency.Transition) {
		for _, x := range ts {
			c, ok := x.(idempotency.Complete)
			if !ok {
				continue
			}
			// An operator was wrong while the backend was still at work.
			for _, wrong := range []idempotency.Transition{
				idempotency.Doubt{Attempt: c.Attempt, Cause: "test", Retention: c.Retention},
				idempotency.Resolve{Operation: c.Attempt.Operation, N: c.Attempt.N, Verdict: idempotency.VerdictNotExecuted, By: "operator:x", Evidence: "guess", Retention: c.Retention},
			} {
				if _, err := r.store.Model.Apply(t.Context(), []idempotency.Transition{wrong}); err != nil {
					t.Error(err)
				}
			}
		}
	}
	r.store.before.Store(&resolve)
	r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 502, "unknown", "reconcile")
	r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 409, "unknown", "reconcile")
}

// A panic in an attempt leaves it in doubt, releases what it held, and does not end the process.
func TestPanicInAnAttempt(t *testing.T) {
	for _, prefer := range []string{"wait=1", "respond-async, wait=5"} {
		r := start(t, created, "")
		clockBreaks := func([]idempotency.Transition) { r.broken.Store(true) }
		r.store.before.Store(&clockBreaks)
		a := r.send(t, "POST", "/", "x", "Idempotency-Key", "k", "Prefer", prefer)
		a.is(t, 500, "unknown", "reconcile")
		if a.Header.Get("Link") == "" || a.Header.Get("Idempotency-Expires") == "" {
			t.Errorf("the answer does not lead to the record: %v", a.Header)
		}
		r.store.before.Store(nil)
		r.broken.Store(false)
		r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 409, "unknown", "reconcile")
		if n := r.InUse(); n != "0 slots, 0 bytes" {
			t.Errorf("still in use: %s", n)
		}
	}
}

// A panic before there is an attempt is answered, and holds nothing.
func TestPanicBeforeAnAttempt(t *testing.T) {
	r := start(t, created, "")
	r.broken.Store(true)
	r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 500, "rejected", "reconcile")
	r.broken.Store(false)
	r.send(t, "POST", "/", "x", "Idempotency-Key", "k").is(t, 201, "executed", "done")
	if n := r.InUse(); n != "0 slots, 0 bytes" {
		t.Errorf("still in use: %s", n)
	}
}

// panicky is a client whose fields cannot be written once the backend has answered.
type panicky struct {
	*httptest.ResponseRecorder
	answered *atomic.Bool
}

func (p panicky) Header() http.Header {
	if p.answered.Swap(false) {
		panic("broken fields")
	}
	return p.ResponseRecorder.Header()
}

// A panic in an unprotected request does not say that nothing was sent: nobody knows.
func TestPanicInPassThrough(t *testing.T) {
	for method, next := range map[string]string{"PUT": "stop", "GET": "resend"} {
		w := panicky{httptest.NewRecorder(), new(atomic.Bool)}
		r := start(t, func(http.ResponseWriter, *http.Request) { w.answered.Store(true) }, "")
		req := httptest.NewRequest(method, "/", nil)
		r.Gateway.ServeHTTP(w, req)
		resp := w.Result()
		if resp.StatusCode != 500 || resp.Header.Get("Idempotency-State") != "unprotected" || resp.Header.Get("Idempotency-Next") != next {
			t.Errorf("%s: %d %v", method, resp.StatusCode, resp.Header)
		}
	}
}

// A client that declares a body and does not send it must not hold a connection for ever.
func TestRefusedWithoutItsBody(t *testing.T) {
	r := start(t, created, "")
	for name, head := range map[string]string{
		"no key":    "POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
		"ambiguous": "POST //orders HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
		"own":       "POST /_reconcile/v1/requests/k HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n",
		"too large": "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 9999999\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if a := r.raw(t, head, time.Minute); a == nil {
				t.Error("no answer")
			}
		})
	}
}
