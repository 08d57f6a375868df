package gateway_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
)

// A drain begins while the store is asked whether a request's caller may have one more attempt: nothing is running
// yet, so it ends at once, and what it would cut is not begun.
func TestADrainBeginsDuringARequest(t *testing.T) {
	t.Parallel()
	var executed atomic.Int32
	r := startWith(t, func(http.ResponseWriter, *http.Request) { executed.Add(1) }, "caller: {none: {}}\nlimits: {unsettled: 5}\n"+
		"upstreams: {b: {targets: ['BACKEND']}}\nroutes:\n- {name: all, match: {path: '/**'}, upstream: b, idempotency: {mode: required}}\n")
	asked, drained := make(chan struct{}), make(chan struct{})
	var once sync.Once
	count := func() {
		once.Do(func() { close(asked) })
		<-drained
	}
	r.store.counts.Store(&count)
	answered := make(chan *http.Response, 1)
	go func() {
		defer close(answered)
		q, err := http.NewRequest("POST", "http://"+r.address+"/orders", nil)
		if err != nil {
			t.Error(err)
			return
		}
		q.Header.Set("Idempotency-Key", "order-1")
		q.Header.Set("Prefer", "respond-async")
		a, err := http.DefaultClient.Do(q)
		if err != nil {
			t.Error(err)
			return
		}
		a.Body.Close()
		answered <- a
	}()
	<-asked
	r.Refuse()
	close(drained)
	if a := <-answered; a != nil && (a.StatusCode != 503 || a.Header.Get("Idempotency-State") != "rejected" || a.Header.Get("Idempotency-Next") != "resend") {
		t.Errorf("answered %d, %v", a.StatusCode, a.Header)
	}
	if n := executed.Load(); n != 0 {
		t.Errorf("%d executed", n)
	}
}
