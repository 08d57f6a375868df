package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// The test binary plays the roles, as the benchmark's own binary does.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "role" {
		exit(runRole(os.Args[2:]))
	}
	os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0") // else each of the processes takes a second to end
	os.Exit(m.Run())
}

// startFarm starts a backend and the plain proxy as processes.
func startFarm(t *testing.T) *farm {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := &farm{targets: map[target]*running{}, keys: keySet{Millis: 1, Seed: 1, Count: 50}, hot: 20, length: 50 * time.Millisecond}
	f.self, f.dir = self, t.TempDir()
	t.Cleanup(f.end)
	b, err := f.role(t.Context(), "backend")
	if err != nil {
		t.Fatal(err)
	}
	f.backend, f.upstream = b.processes[0], b.addresses[0]
	if f.targets[plainProxy], err = f.start(t.Context(), plainProxy, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestMeasureProcesses(t *testing.T) {
	f := startFarm(t)
	for _, w := range []workload{fresh, replay, cold, get, status, statusCold, body10, body200} {
		s, err := f.measure(t.Context(), cell{plainProxy, w, 4}, 3)
		if err != nil {
			t.Fatal(err)
		}
		if s.Answered == 0 || s.Round != 3 || s.Workload != w || s.Generator != "own" {
			t.Errorf("%s: %+v", w, s)
		}
	}
	if err := f.prime(t.Context(), plainProxy, 50); err != nil {
		t.Error(err)
	}
}

// A benchmark that does not notice a lost or doubled execution would reward it.
func TestMeasureFailsWhenTheBackendCountsOtherwise(t *testing.T) {
	f := startFarm(t)
	idle := startBackend(t, newBackend())
	f.upstream = idle // asked for the count, executes nothing
	if _, err := f.measure(t.Context(), cell{plainProxy, fresh, 2}, 0); err == nil || !strings.Contains(err.Error(), "executed 0 times") {
		t.Errorf("measure: %v", err)
	}
	if err := f.prime(t.Context(), plainProxy, 50); err == nil || !strings.Contains(err.Error(), "0 executed") {
		t.Errorf("prime: %v", err)
	}
}

// A proxy without a store executes again instead of replaying: whoever claims to replay must be caught.
func TestMeasureFailsWhenAReplayIsNone(t *testing.T) {
	f := startFarm(t)
	for _, impostor := range []target{usualMiddleware, oncewayPostgres} {
		f.targets[impostor] = f.targets[plainProxy]
		_, err := f.measure(t.Context(), cell{impostor, replay, 2}, 0)
		delete(f.targets, impostor)
		if err == nil {
			t.Errorf("a plain proxy passed for %s", impostor)
		}
	}
}

// Every packaged peer that is installed takes our configuration, and passes what it must.
func TestMeasurePackagedPeers(t *testing.T) {
	f := startFarm(t)
	absent, advice := missing([]string{"nginx", "haproxy", "caddy"})
	t.Log(advice)
	for _, peer := range packaged {
		if slices.Contains(absent, string(peer)) {
			continue
		}
		var err error
		if f.targets[peer], err = f.start(t.Context(), peer, 0); err != nil {
			t.Fatal(err)
		}
		for _, w := range []workload{fresh, get} {
			if _, err := f.measure(t.Context(), cell{peer, w, 4}, 0); err != nil {
				t.Error(err)
			}
		}
	}
}

// The backend executes as often as wrk counts, so it understands what wrk sends.
func TestMeasureByWrk(t *testing.T) {
	path, ok := program{name: "wrk"}.find()
	if !ok {
		t.Skip("wrk is not installed")
	}
	f := startFarm(t)
	f.wrk, f.length = path, time.Second
	s, err := f.measure(t.Context(), cell{plainProxy, fresh, 3}, 0)
	if err != nil || s.Generator != "wrk" || s.Rate == 0 {
		t.Errorf("%+v, %v", s, err)
	}
	f.targets[plainProxy].addresses = []string{"127.0.0.1:1"}
	if _, err := f.load(cell{plainProxy, get, 1}).wrk(t.Context(), path, f.dir); err == nil {
		t.Error("wrk passed without anybody who listens")
	}
}

// A key that came twice would be a replay where a fresh request was to be measured.
func TestWrkSendsEachKeyOnce(t *testing.T) {
	path, ok := program{name: "wrk"}.find()
	if !ok {
		t.Skip("wrk is not installed")
	}
	var mu sync.Mutex
	requests, keys, servers := 0, map[string]bool{}, map[string]bool{}
	var addresses []string
	for range 2 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			content, err := io.ReadAll(r.Body)
			mu.Lock()
			requests++
			keys[r.Header.Get("Idempotency-Key")] = true
			servers[r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()] = true
			mu.Unlock()
			if err != nil || string(content) != body(1<<10) || r.Header.Get("Bench-Cell") != "7" {
				w.WriteHeader(http.StatusBadRequest)
			}
		}))
		defer server.Close()
		addresses = append(addresses, server.Listener.Addr().String())
	}
	l := load{Addresses: addresses, Workload: fresh, Cell: "7", Connections: 4, Duration: time.Second}
	if _, err := l.wrk(t.Context(), path, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(keys) != requests || requests == 0 || len(servers) != 2 {
		t.Errorf("%d keys in %d requests to %d of 2 servers", len(keys), requests, len(servers))
	}
	for key := range keys {
		k, err := idempotency.ParseKey(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := k.Date(idempotency.DateUUIDv7); !ok || len(key) != keyLength {
			t.Fatalf("%s is no UUIDv7", key)
		}
	}
}

func TestReadyReportsAProcessThatEnds(t *testing.T) {
	f := startFarm(t)
	p, err := startProcess(f.dir, "broken", exec.Command(f.self, "role", "backend", "-listen", "nowhere"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.ready(t.Context(), dialable("127.0.0.1:1")); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("the cause is missing: %v", err)
	}
}
