package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// A drain with a hundred requests in flight finishes every one of them.
func TestDrainWithAHundredInFlight(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "log: {access: false}"})
		gate := newKey()
		requests := make([]rig.Request, 100)
		answers := make([]<-chan *rig.Answer, len(requests))
		for i := range requests {
			requests[i] = rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: gate}}
			answers[i] = g.Go(t, requests[i])
		}
		b.Await(t, gate, len(requests))
		g.Signal(t, syscall.SIGTERM)
		g.Until(t, "the listener is closed", func() bool {
			c, err := net.Dial("tcp", g.Addr)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		b.Open(t, gate)
		for _, answer := range answers {
			if a := <-answer; a == nil {
				t.Error("no answer")
			} else {
				a.Is(t, executed)
			}
		}
		if code := g.Exit(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		g.Start(t)
		for _, r := range requests {
			g.Do(t, r).Is(t, replayed)
			wantEffects(t, b, r.Key, 1)
		}
	})
}

// While a gateway drains, each answer asks its client to use another connection, so that none is left
// open for a request that nobody would read: Connection: close, and GOAWAY.
func TestDrainSendsClientsAway(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "drain_delay: 60s"})
	kept := g.Dial(t)
	io.WriteString(kept, rig.Request{Key: newKey()}.Raw())
	if a := rig.ReadAnswer(t, kept, "POST"); a.Header.Get("Connection") != "" {
		t.Errorf("Connection: %s", a.Header.Get("Connection"))
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	var dialled atomic.Int64
	transport := &http.Transport{Protocols: &protocols, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}}
	defer transport.CloseIdleConnections()
	send := func() {
		t.Helper()
		resp, err := transport.RoundTrip(rig.Request{Key: newKey(), Body: "a"}.HTTP(t, g.Addr))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.Header.Get("Idempotency-State") != "executed" {
			t.Errorf("%d %v %v", resp.StatusCode, resp.Header, err)
		}
	}
	send()
	send()
	if n := dialled.Load(); n != 1 {
		t.Fatalf("two requests took %d connections", n)
	}

	g.Signal(t, syscall.SIGTERM)
	g.AwaitNotReady(t)
	io.WriteString(kept, rig.Request{Key: newKey()}.Raw())
	a := rig.ReadAnswer(t, kept, "POST")
	a.Is(t, executed)
	if n, err := kept.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the connection is not closed after its answer: %d bytes, %v", n, err)
	}
	send() // the old connection's last one
	g.Until(t, "requests use another connection", func() bool {
		send()
		return dialled.Load() > 1
	})
	g.Signal(t, syscall.SIGTERM)
	g.Exit(t)
}

// A drained gateway gives its lease back, so that nobody waits for it to lapse; one that a second signal ends
// in the middle of a drain exits at once and leaves that to the lease.
func TestDrainGivesTheLeaseBack(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "lease: 60s"})
	conn := connect(t, dsn)
	held := func() (n int) {
		t.Helper()
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM instances WHERE lease_until > now()").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := held(); n != 1 {
		t.Fatalf("%d leases", n)
	}
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t); code != 0 || held() != 0 {
		t.Errorf("exit code %d, %d leases", code, held())
	}

	g.Start(t)
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Before: newKey()}}
	answer := g.Go(t, r)
	b.Await(t, r.Script.Before, 1)
	g.Signal(t, syscall.SIGTERM)
	g.AwaitNotReady(t)
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t); code != 1 || held() != 1 {
		t.Errorf("after a second signal: exit code %d, %d leases", code, held())
	}
	if a := <-answer; a != nil {
		t.Errorf("answered %d", a.Status)
	}
	b.Open(t, r.Script.Before)
}
