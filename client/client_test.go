package client

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// full is an outbox that takes nothing.
type full struct{ Outbox }

func (full) Put(Entry) error { return errors.New("no space left") }

type noTransport struct{ t *testing.T }

func (n noTransport) RoundTrip(*http.Request) (*http.Response, error) {
	n.t.Error("something was sent")
	return nil, errors.New("sent")
}

// What cannot be stored is not sent, and not remembered; nobody waits for anybody because of it.
func TestNothingIsSentThatIsNotStored(t *testing.T) {
	c, err := New(Options{Outbox: full{NewMemory()}, Base: noTransport{t}})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				r, err := http.NewRequestWithContext(t.Context(), "POST", "http://shop.test/orders", strings.NewReader("a"))
				if err != nil {
					t.Error(err)
					return
				}
				var unsettled *UnsettledError
				if _, err := c.RoundTrip(r); err == nil || errors.As(err, &unsettled) {
					t.Errorf("%v", err)
				}
				r, _ = http.NewRequestWithContext(t.Context(), "POST", "http://shop.test/orders", strings.NewReader("a"))
				if _, err := c.Queue(r); err == nil {
					t.Error("it was queued")
				}
				c.Entries()
			}
		})
	}
	all.Wait()
	if left := c.Entries(); len(left) != 0 {
		t.Errorf("%d are remembered", len(left))
	}
}

// A key stands for one request.
func TestAKeyIsForOneRequest(t *testing.T) {
	c, err := New(Options{Base: noTransport{t}})
	if err != nil {
		t.Fatal(err)
	}
	make := func(body string) *http.Request {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://shop.test/orders", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Idempotency-Key", "k")
		return r
	}
	if _, err := c.Queue(make("a")); err != nil {
		t.Error(err)
	}
	if _, err := c.Queue(make("a")); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	if _, err := c.Queue(make("b")); err == nil {
		t.Error("another request took the key")
	}
	if _, err := c.RoundTrip(make("b")); err == nil {
		t.Error("another request took the key")
	}
	if outcome, err := c.Cancel(t.Context(), "k"); outcome != OutcomeCancelled || err != nil || len(c.Entries()) != 0 {
		t.Errorf("%s, %v: what was never sent is cancelled without asking", outcome, err)
	}
}
