package main

import (
	"bytes"
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// startBackend serves b on a loopback address until the test ends.
func startBackend(t *testing.T, b *backend) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- b.serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestLoadCountsWhatTheBackendExecuted(t *testing.T) {
	b := new(backend)
	backendAddr := startBackend(t, b)
	proxied := httptest.NewServer(newProxy(backendAddr))
	defer proxied.Close()
	keys := keySet{Millis: 1, Seed: 2, Count: 100}
	for _, addr := range []string{backendAddr, proxied.Listener.Addr().String()} {
		for _, w := range []workload{prime, fresh, replay, get} {
			before := b.executions.Load()
			l := load{Address: addr, Workload: w, Connections: 8, Duration: 50 * time.Millisecond, Keys: keys, Expect: plainProxy.expects(w)}
			o, err := l.run(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", w, err)
			}
			if o.Answered == 0 || w == prime && o.Answered != keys.Count {
				t.Errorf("%s: %d answers", w, o.Answered)
			}
			if got, want := int(b.executions.Load()-before), plainProxy.executions(w, o.Answered); got != want {
				t.Errorf("%s: %d executions, want %d", w, got, want)
			}
		}
	}
}

func TestLoadFailsOnAWrongAnswer(t *testing.T) {
	addr := startBackend(t, new(backend))
	for _, e := range []expectation{{Status: 200}, {Status: 201, State: "executed"}, {Status: 201, Replayed: "true"}} {
		l := load{Address: addr, Workload: fresh, Connections: 4, Duration: time.Second, Expect: e}
		if _, err := l.run(t.Context()); err == nil {
			t.Errorf("expected %+v, and the run passed", e)
		}
	}
}

func TestLoadStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := load{Address: startBackend(t, new(backend)), Workload: get, Connections: 2, Duration: time.Minute, Expect: expectation{Status: 200}}
	if _, err := l.run(ctx); err == nil {
		t.Error("a cancelled run passed")
	}
}

func TestCheck(t *testing.T) {
	key := []byte("the-key")
	good := func() (head, []byte) {
		return head{start: []byte("HTTP/1.1 201 Created"), length: 12, state: []byte("executed")}, []byte(`{"the-key"} `)
	}
	e := expectation{Status: 201, State: "executed"}
	h, body := good()
	if err := e.check(&h, body, key); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*head, *[]byte){
		"status":                 func(h *head, _ *[]byte) { h.start = []byte("HTTP/1.1 409 Conflict") },
		"no length":              func(h *head, _ *[]byte) { h.length = -1 },
		"state":                  func(h *head, _ *[]byte) { h.state = []byte("replayed") },
		"no state":               func(h *head, _ *[]byte) { h.state = nil },
		"replayed":               func(h *head, _ *[]byte) { h.replayed = []byte("true") },
		"empty":                  func(_ *head, b *[]byte) { *b = nil },
		"another request's body": func(_ *head, b *[]byte) { *b = []byte(`{"another-key"}`) },
	} {
		h, body := good()
		spoil(&h, &body)
		if err := e.check(&h, body, key); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestKeysAreDistinctUUIDv7OfTheirTime(t *testing.T) {
	now := time.UnixMilli(1_800_000_000_123).UTC()
	seen := map[string]bool{}
	note := func(b []byte) {
		k, err := idempotency.ParseKey(string(b))
		if err != nil {
			t.Fatal(err)
		}
		if date, ok := k.Date(idempotency.DateUUIDv7); !ok || !date.Equal(now) {
			t.Fatalf("%s has date %v, %v", k, date, ok)
		}
		if seen[string(b)] {
			t.Fatalf("%s came twice", k)
		}
		seen[string(b)] = true
	}
	set := keySet{Millis: now.UnixMilli(), Seed: 7, Count: 1000}
	for _, k := range set.keys() {
		note(k[:])
	}
	var dst [keyLength]byte
	for range 1000 {
		freshKeys{newRandom()}.next(dst[:], now)
		note(dst[:])
	}
	again := set.keys()
	if !bytes.Equal(again[999][:], set.keys()[999][:]) {
		t.Error("the same set has other keys the second time")
	}
}

func TestOrderBodyIsAboutOneKilobyte(t *testing.T) {
	if n := len(orderBody()); n < 900 || n > 1300 || strings.Contains(orderBody(), "\n") {
		t.Errorf("%d bytes", n)
	}
}
