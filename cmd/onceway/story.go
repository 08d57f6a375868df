package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

// story is the narrated part of the demo. Every step is a real HTTP call, and every claim is checked: the
// backend's ledger is the witness, not the gateway.
type story struct {
	out      io.Writer
	gateway  string
	basePath string
	backend  *demoBackend
	client   *http.Client
}

const tea = `{"item":"tea","quantity":1}`

func (s *story) play(ctx context.Context) error {
	first, lost, doubt := newUUIDv7(), newUUIDv7(), newUUIDv7()
	steps := []struct {
		title string
		play  func(context.Context) error
	}{
		{"A client orders once.", func(ctx context.Context) error { return s.orders(ctx, first) }},
		{"It retries with the same key. The backend is not called; the answer is the same, byte for byte.", func(ctx context.Context) error { return s.retries(ctx, first) }},
		{"The answer is lost on the way: the order is booked, and the client's connection is cut. It sends the order again.", func(ctx context.Context) error { return s.losesAnswer(ctx, lost) }},
		{"The backend dies after it has booked the order and before it answers. Nobody can know, so the answer is \"unknown\".", func(ctx context.Context) error { return s.backendDies(ctx, doubt) }},
		{"The client reconciles: it asks what became of its request before it does anything else. A retry executes nothing.", func(ctx context.Context) error { return s.reconciles(ctx, doubt) }},
		{"A client uses a key again for another order. It is refused, and nothing is executed.", func(ctx context.Context) error { return s.reusesKey(ctx, first) }},
	}
	for i, step := range steps {
		fmt.Fprintf(s.out, "%d. %s\n", i+1, step.title)
		if err := step.play(ctx); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		fmt.Fprintln(s.out)
	}
	return nil
}

func (s *story) orders(ctx context.Context, key string) error {
	a, err := s.post(ctx, key, tea)
	if err != nil {
		return err
	}
	return s.check(a.is(201, "executed"), s.booked(ctx, 1))
}

func (s *story) retries(ctx context.Context, key string) error {
	a, err := s.post(ctx, key, tea)
	if err != nil {
		return err
	}
	b, err := s.post(ctx, key, tea)
	if err != nil {
		return err
	}
	if !bytes.Equal(a.body, b.body) {
		return fmt.Errorf("the bodies differ: %q, %q", a.body, b.body)
	}
	return s.check(a.is(201, "replayed"), b.is(201, "replayed"), s.booked(ctx, 1))
}

// losesAnswer sends an order over a connection of its own, waits until the ledger has it, and cuts the
// connection without having read a byte.
func (s *story) losesAnswer(ctx context.Context, key string) error {
	c, err := net.Dial("tcp", strings.TrimPrefix(s.gateway, "http://"))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c, "POST /orders HTTP/1.1\r\nHost: %s\r\nIdempotency-Key: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		strings.TrimPrefix(s.gateway, "http://"), key, len(tea), tea)
	if err == nil {
		err = s.until(ctx, func() (bool, error) { n, err := s.count(ctx); return n >= 2, err })
	}
	_ = c.(*net.TCPConn).SetLinger(0) // cut, not closed
	c.Close()
	if err != nil {
		return err
	}
	s.say("POST /orders            the connection is cut before the answer is read")
	a, err := s.post(ctx, key, tea)
	if err != nil {
		return err
	}
	if a.state != "replayed" && a.state != "attached" {
		return fmt.Errorf("the retry was answered %q", a.state)
	}
	return s.check(a.is(201, a.state), s.booked(ctx, 2))
}

func (s *story) backendDies(ctx context.Context, key string) error {
	a, err := s.post(ctx, key, tea, crashHeader, "after-commit")
	if err != nil {
		return err
	}
	if err := s.check(a.is(502, "unknown"), s.backend.died()); err != nil {
		return err
	}
	if err := s.backend.start(); err != nil {
		return err
	}
	s.say("the backend is started again")
	return s.booked(ctx, 3)
}

func (s *story) reconciles(ctx context.Context, key string) error {
	a, err := s.send(ctx, http.MethodGet, s.basePath+"/requests/"+key, "", "")
	if err != nil {
		return err
	}
	var record struct{ State, Next string }
	if err := json.Unmarshal(a.body, &record); err != nil {
		return err
	}
	if record.State != "unknown" || record.Next != "reconcile" {
		return fmt.Errorf("the record says %q, %q", record.State, record.Next)
	}
	retry, err := s.post(ctx, key, tea, crashHeader, "after-commit")
	if err != nil {
		return err
	}
	return s.check(a.is(200, "unknown"), retry.is(409, "unknown"), s.booked(ctx, 3))
}

func (s *story) reusesKey(ctx context.Context, key string) error {
	a, err := s.post(ctx, key, `{"item":"coffee","quantity":100}`)
	if err != nil {
		return err
	}
	return s.check(a.is(422, "rejected"), s.booked(ctx, 3))
}

// invite prints calls that work as printed.
func (s *story) invite() {
	fmt.Fprintf(s.out, `
Now you. The gateway stays up until you press Ctrl-C.

  curl -i %[1]s/orders -H 'Idempotency-Key: mine-1' -H 'Content-Type: application/json' -d '{"item":"tea","quantity":2}'
  curl -i %[1]s/orders -H 'Idempotency-Key: mine-1' -H 'Content-Type: application/json' -d '{"item":"tea","quantity":2}'
  curl -i %[1]s%[2]s/requests/mine-1
  curl -i %[1]s/orders -H 'Idempotency-Key: mine-2' -H 'Content-Type: application/json' -H 'Demo-Crash: after-commit' -d '{"item":"tea","quantity":2}'
  curl -i %[1]s/orders

The fourth kills the backend after it has booked the order (it is started again at once): the answer is
"unknown", and the fifth shows that the order is there. Send the fourth again: it executes nothing.
`, s.gateway, s.basePath)
}

// answer is what a call came to.
type answer struct {
	status int
	state  string
	next   string
	body   []byte
}

func (a answer) is(status int, state string) error {
	if a.status != status || a.state != state {
		return fmt.Errorf("answered %d, state %q; want %d, %q: %s", a.status, a.state, status, state, a.body)
	}
	return nil
}

func (s *story) post(ctx context.Context, key, body string, header ...string) (answer, error) {
	return s.send(ctx, http.MethodPost, "/orders", key, body, header...)
}

func (s *story) send(ctx context.Context, method, path, key, body string, header ...string) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.gateway+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	a := answer{resp.StatusCode, resp.Header.Get("Idempotency-State"), resp.Header.Get("Idempotency-Next"), b}
	if key != "" || a.state != "" {
		shown := path
		if i := strings.Index(shown, "/requests/"); i >= 0 {
			shown = shown[:i] + "/requests/…"
		}
		s.say("%-4s %-18s -> %d   state %s, next %s", method, shown, a.status, a.state, a.next)
	}
	return a, err
}

// count asks the backend itself, past the gateway.
func (s *story) count(ctx context.Context) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.backend.address+"/orders", nil)
	if err != nil {
		return 0, err
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var all []order
	err = json.NewDecoder(resp.Body).Decode(&all)
	return len(all), err
}

// booked checks the backend's ledger.
func (s *story) booked(ctx context.Context, want int) error {
	n, err := s.count(ctx)
	if err != nil {
		return err
	}
	s.say("the backend's ledger has %d", n)
	if n != want {
		return fmt.Errorf("the ledger has %d orders, want %d", n, want)
	}
	return nil
}

func (s *story) until(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, "   "+format+"\n", args...) }

func (s *story) check(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func newUUIDv7() string { return uuid.Must(uuid.NewV7FromReader(rand.Reader)).String() }
