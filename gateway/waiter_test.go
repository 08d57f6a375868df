package gateway_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// Who waits at another gateway knows of the attempt only what the record says. It is told the same status as who waits
// where the answer came in, and never that the backend was not reached when it was.
func TestWaiterAtAnotherGateway(t *testing.T) {
	const settings = "caller: {none: {}}\nupstreams: {b: {targets: ['BACKEND']}}\nroutes:\n" +
		"- {name: all, match: {path: '/**'}, upstream: b, idempotency: {mode: required, not_executed_statuses: [303, 401, 429]}}\n"
	send := func(t *testing.T, r *rig) <-chan answer {
		done := make(chan answer, 1)
		go func() {
			defer close(done)
			done <- r.send(t, "POST", "/orders", "x", "Idempotency-Key", "k", "Prefer", "wait=30", "Host", "shop.test")
		}()
		return done
	}
	for name, c := range map[string]struct {
		answers []int // of the backend, to the attempts 1, 2, …
		status  int
		state   string
		next    string
		says    string
	}{
		"throttled":          {[]int{429}, 429, "not_executed", "resend", "The backend answered 429, "},
		"unauthorised":       {[]int{401}, 401, "not_executed", "resend", "The backend answered 401, "},
		"no error":           {[]int{303}, 409, "not_executed", "resend", "The backend answered 303, "},
		"throttled twice":    {[]int{429, 429}, 409, "not_executed", "resend", "had no effect, which is proven"},
		"throttled and made": {[]int{429, 201}, 201, "attached", "done", ""},
		"throttled and lost": {[]int{429, 503}, 409, "unknown", "reconcile", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var began atomic.Int32
			arrived, answered := make(chan struct{}), make(chan struct{})
			backend := func(w http.ResponseWriter, _ *http.Request) {
				n := int(began.Add(1))
				if n == 1 {
					close(arrived)
					<-answered
				}
				w.Header().Set("Retry-After", "30")
				w.WriteHeader(c.answers[min(n, len(c.answers))-1])
			}
			here := startWith(t, backend, settings)
			there := startOn(t, here.store.Model, here.config.Upstreams[0].Targets[0].String(), settings)

			first := send(t, here)
			<-arrived
			// It has looked once when it looks again; then it looks no more before all is over.
			var looks atomic.Int32
			waits, over := make(chan struct{}), make(chan struct{})
			var once sync.Once
			look := func() {
				if looks.Add(1) > 1 {
					once.Do(func() { close(waits) })
					<-over
				}
			}
			there.store.looks.Store(&look)
			waiter := send(t, there)
			select {
			case <-waits:
			case a := <-waiter:
				close(answered)
				t.Fatalf("does not wait: %v", a.Response)
			}
			close(answered)
			told := <-first
			for range c.answers[1:] {
				told = <-send(t, here)
			}
			close(over)
			got := <-waiter
			got.is(t, c.status, c.state, c.next)
			if len(c.answers) == 1 && c.status == told.StatusCode && got.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			if c.says != "" && (!strings.Contains(got.body, c.says) || !strings.Contains(got.body, `"code":"`+problem.NotSettled.String()+`"`)) {
				t.Errorf("says %s", got.body)
			}
			if n := int(began.Load()); n != len(c.answers) {
				t.Errorf("%d attempts", n)
			}
			if rec, err := here.store.Model.Find(t.Context(), []idempotency.OperationID{operation("k")}); err != nil || rec[0].Attempt.N != len(c.answers) {
				t.Errorf("attempt %d, %v", rec[0].Attempt.N, err)
			}
		})
	}
}
