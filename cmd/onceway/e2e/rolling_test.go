package e2e

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// Two gateways behind HAProxy, with the documented configuration, restarted one after the other again and
// again under load. No operation is lost, none is executed twice, and none ends in doubt.
func TestRollingRestartsBehindHAProxy(t *testing.T) {
	t.Parallel()
	restarts := 20
	if testing.Short() {
		restarts = 4
	}
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	var gateways [2]*rig.Gateway
	var ports [4]string
	for i := range ports {
		ports[i] = rig.FixedPort(t)
	}
	for i := range gateways {
		gateways[i] = rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{b.URL()}, Extra: "drain_delay: 400ms\nlog: {access: false}",
			Env: []string{"ONCEWAY_LISTEN=" + ports[i], "ONCEWAY_ADMIN_LISTEN=" + ports[2+i]},
		})
	}
	front := startHAProxy(t, map[string]string{
		"127.0.0.1:8081": ports[0], "9091": portOf(ports[2]), "127.0.0.1:8082": ports[1], "9092": portOf(ports[3]), "inter 500ms": "inter 50ms",
	})

	var load shoppers
	stop := make(chan struct{})
	var working sync.WaitGroup
	for n := range 8 {
		working.Go(func() { load.shop(t, front.address, n, stop) })
	}
	for n := range restarts {
		g := gateways[n%2]
		before := load.done.Load()
		g.Signal(t, syscall.SIGTERM)
		if code := g.Exit(t); code != 0 {
			t.Errorf("restart %d: exit code %d", n, code)
		}
		g.Start(t)
		// The next one only when this one gets requests again.
		g.Until(t, "the load goes on", func() bool { return load.done.Load() > before+20 && front.up("ab"[n%2:n%2+1]) })
	}
	close(stop)
	working.Wait()

	effects := map[string]int{}
	for _, e := range b.Of(t, ledger.Effect, "") {
		effects[e.Key]++
	}
	duplicated := 0
	for key, n := range effects {
		if n != 1 {
			duplicated++
			t.Errorf("%s was executed %d times", key, n)
		}
	}
	if int64(len(effects)) != load.done.Load() || load.lost.Load() > 0 {
		t.Errorf("%d operations executed, %d finished, %d lost", len(effects), load.done.Load(), load.lost.Load())
	}
	if load.doubts.Load() > 0 {
		t.Errorf("%d answers in doubt", load.doubts.Load())
	}
	if load.strange.Load() > 0 {
		t.Logf("haproxy: %s", front)
	}
	t.Logf("%d restarts, %d operations; lost %d, duplicated %d, in doubt %d; answers sent again for: %d refusals, %d answers of HAProxy's own, %d broken connections",
		restarts, load.done.Load(), load.lost.Load(), duplicated, load.doubts.Load(), load.refused.Load(), load.strange.Load(), load.broken.Load())
}

// shoppers are clients that obey Idempotency-Next alone.
type shoppers struct{ done, lost, doubts, refused, strange, broken atomic.Int64 }

// shop executes one operation after the other. Every other client keeps its connections alive.
func (s *shoppers) shop(t *testing.T, front string, n int, stop <-chan struct{}) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: n%2 == 0, Proxy: nil}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	for {
		select {
		case <-stop:
			return
		default:
		}
		r := rig.Request{Key: newKey(), Body: strings.Repeat("x", rand.IntN(2000)), Script: ledger.Script{Pause: rand.IntN(60)}}
		if rand.IntN(20) == 0 {
			r.Script.Pause = 600 + rand.IntN(600) // longer than drain_delay
		}
		for begun := time.Now(); ; {
			if time.Since(begun) > time.Minute {
				s.lost.Add(1)
				return
			}
			next := s.try(t, client, front, r)
			if next == "done" {
				s.done.Add(1)
				break
			}
			if next == "stop" || next == "reconcile" {
				s.lost.Add(1)
				t.Errorf("a client was told to %s", next)
				break
			}
			time.Sleep(10 * time.Millisecond) // Retry-After speaks of seconds
		}
	}
}

// try sends a request once, and returns what to do next.
func (s *shoppers) try(t *testing.T, client *http.Client, front string, r rig.Request) string {
	resp, err := client.Do(r.HTTP(t, front))
	if err != nil {
		s.broken.Add(1)
		return "resend"
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		s.broken.Add(1)
		return "resend"
	}
	next := resp.Header.Get("Idempotency-Next")
	switch {
	case next == "":
		s.strange.Add(1)
		return "resend"
	case next == "resend":
		s.refused.Add(1)
	case resp.Header.Get("Idempotency-State") == "unknown":
		s.doubts.Add(1)
	}
	return next
}

// haproxy is a running one.
type haproxy struct {
	address string
	mu      sync.Mutex
	output  bytes.Buffer
}

func (h *haproxy) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.output.Write(b)
}

func (h *haproxy) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.output.String()
}

// up reports whether the last that it said of a server is that it is up.
func (h *haproxy) up(server string) bool {
	said := h.String()
	name := "Server gateways/" + server + " is "
	last := strings.LastIndex(said, name)
	return last >= 0 && strings.HasPrefix(said[last+len(name):], "UP")
}

// startHAProxy runs the documented configuration with other addresses.
func startHAProxy(t *testing.T, changes map[string]string) *haproxy {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		if program = "/usr/sbin/haproxy"; !exists(program) {
			t.Skip("there is no haproxy: .ci/prepare installs it when it is root")
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "deploy", "haproxy.cfg"))
	if err != nil {
		t.Fatal(err)
	}
	address := rig.FixedPort(t)
	h := &haproxy{address: address}
	for old, replacement := range changes {
		if !bytes.Contains(text, []byte(old)) {
			t.Fatalf("haproxy.cfg does not have %q", old)
		}
		text = bytes.ReplaceAll(text, []byte(old), []byte(replacement))
	}
	text = bytes.ReplaceAll(text, []byte("127.0.0.1:8000"), []byte(address))
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, "-db", "-f", file)
	command.Stdout, command.Stderr = h, h
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		command.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-exited
		if t.Failed() {
			t.Logf("haproxy: %s", h)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; {
		resp, err := http.Get("http://" + address + "/.well-known/idempotency")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return h
			}
		}
		select {
		case <-exited:
			t.Fatalf("haproxy ended: %s", h)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("haproxy does not serve")
		}
	}
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
