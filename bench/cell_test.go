package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
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
	t.Cleanup(f.stop)
	b, err := f.role(t.Context(), "backend")
	if err != nil {
		t.Fatal(err)
	}
	f.backend, f.upstream = b.process, b.addr
	if f.targets[plainProxy], err = f.start(t.Context(), plainProxy, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestMeasureProcesses(t *testing.T) {
	f := startFarm(t)
	for _, w := range []workload{fresh, replay, cold, get} {
		s, err := f.measure(t.Context(), cell{plainProxy, w, 4}, 3)
		if err != nil {
			t.Fatal(err)
		}
		if s.Answered == 0 || s.Round != 3 || s.Workload != w {
			t.Errorf("%s: %+v", w, s)
		}
	}
	if err := f.prime(t.Context(), plainProxy); err != nil {
		t.Error(err)
	}
}

// A benchmark that does not notice a lost or doubled execution would reward it.
func TestMeasureFailsWhenTheBackendCountsOtherwise(t *testing.T) {
	f := startFarm(t)
	idle := startBackend(t, new(backend))
	f.upstream = idle // asked for the count, executes nothing
	if _, err := f.measure(t.Context(), cell{plainProxy, fresh, 2}, 0); err == nil || !strings.Contains(err.Error(), "executed 0 times") {
		t.Errorf("measure: %v", err)
	}
	if err := f.prime(t.Context(), plainProxy); err == nil || !strings.Contains(err.Error(), "0 executed") {
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
