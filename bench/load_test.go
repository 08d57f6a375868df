package main

import (
	"bytes"
	"context"
	"encoding/json"
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
	b := newBackend()
	backendAddr := startBackend(t, b)
	proxied := httptest.NewServer(newProxy(backendAddr))
	defer proxied.Close()
	keys := keySet{Millis: 1, Seed: 2, Count: 100}
	for _, addr := range []string{backendAddr, proxied.Listener.Addr().String()} {
		for _, w := range []workload{prime, fresh, replay, get} {
			name := addr + string(w)
			l := load{Addresses: []string{addr}, Workload: w, Cell: name, Connections: 8, Duration: 50 * time.Millisecond, Keys: keys, Expect: plainProxy.expects(w)}
			o, err := l.run(t.Context())
			if err != nil {
				t.Fatalf("%s: %v", w, err)
			}
			if o.Answered == 0 || w == prime && o.Answered != keys.Count {
				t.Errorf("%s: %d answers", w, o.Answered)
			}
			if got, want := int(b.count(name).Load()), plainProxy.executions(w, o.Answered); got != want {
				t.Errorf("%s: %d executions, want %d", w, got, want)
			}
		}
	}
}

func TestLoadFailsOnAWrongAnswer(t *testing.T) {
	addr := startBackend(t, newBackend())
	for _, e := range []expectation{{Status: 200}, {Status: 201, State: "executed"}, {Status: 201, Replayed: "true"}} {
		l := load{Addresses: []string{addr}, Workload: fresh, Connections: 4, Duration: time.Second, Expect: e}
		if _, err := l.run(t.Context()); err == nil {
			t.Errorf("expected %+v, and the run passed", e)
		}
	}
}

func TestLoadStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := load{Addresses: []string{startBackend(t, newBackend())}, Workload: get, Connections: 2, Duration: time.Minute, Expect: expectation{Status: 200}}
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

// Whoever had to wait before his request was sent has waited: otherwise a server that stands still would
// show in one latency for each connection, and not in all who came meanwhile.
func TestOpenLoopCountsFromArrival(t *testing.T) {
	addr := startBackend(t, newBackend())
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l := load{Workload: fresh, Expect: expectation{Status: 201}}
	c := newClient(conn, addr, l, l.sources()())
	arrivals := make(chan time.Time, 3)
	begin := time.Now()
	for _, ago := range []time.Duration{time.Minute, 10 * time.Second, 10 * time.Second} {
		arrivals <- begin.Add(-ago)
	}
	close(arrivals)
	if err := c.openLoop(arrivals, window{from: begin.Add(-30 * time.Second), to: begin}); err != nil {
		t.Fatal(err)
	}
	if got := c.latency.quantile(0); c.answered != 3 || c.latency.total != 2 || got < 9*time.Second {
		t.Errorf("%d answered, %d measured, shortest %v; want 3, the 2 after the warm-up, and 10s", c.answered, c.latency.total, got)
	}
}

// The schedule is one of independent users, and waits for nobody: here nobody reads it.
func TestArrive(t *testing.T) {
	to := time.Now()
	from := to.Add(-time.Second)
	arrivals := make(chan time.Time, 3000)
	arrive(t.Context(), arrivals, 1000, from, to)
	close(arrivals)
	n, last, short := 0, from, 0
	for at := range arrivals {
		if at.Before(last) || at.After(to) {
			t.Fatalf("arrival %d at %v, after %v", n, at.Sub(from), last.Sub(from))
		}
		if at.Sub(last) < 500*time.Microsecond {
			short++
		}
		n, last = n+1, at
	}
	// A Poisson distribution of 1000 leaves 840 to 1160 once in more than a million runs. Of exponential gaps
	// 39 % are shorter than half of their mean, of even ones none.
	if n < 840 || n > 1160 || short < n/4 {
		t.Errorf("%d arrivals in a second, want about 1000; %d short gaps, want about 390", n, short)
	}
}

func TestOpenLoopAnswersAllWhoArrived(t *testing.T) {
	b := newBackend()
	l := load{Addresses: []string{startBackend(t, b)}, Workload: fresh, Cell: "open", Connections: 2, Rate: 1000, Duration: 100 * time.Millisecond, Expect: expectation{Status: 201}}
	o, err := l.run(t.Context())
	if err != nil || o.Answered == 0 || int(o.Measured) != o.Answered || int(b.count("open").Load()) != o.Answered {
		t.Errorf("%+v, %d executions, %v", o, b.count("open").Load(), err)
	}
}

func TestBodyHasAboutTheSizeThatWasAskedFor(t *testing.T) {
	for _, want := range []int{1 << 10, 10 << 10, 200 << 10} {
		if n := len(body(want)); n < want*9/10 || n > want*5/4 || strings.Contains(body(want), "\n") || !json.Valid([]byte(body(want))) {
			t.Errorf("%d bytes, want about %d", n, want)
		}
	}
}
