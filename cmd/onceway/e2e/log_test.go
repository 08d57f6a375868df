package e2e

import (
	"os/signal"
	"syscall"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// Who reads the log may go, as in `onceway serve 2>&1 | logger`: requests are answered, and a signal drains.
func TestTheLogsReaderLeaves(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	g.LeaveOutput()
	running := rig.Request{Key: newKey(), Script: ledger.Script{After: newKey()}}
	answer := g.Go(t, running)
	b.Await(t, running.Script.After, 1)
	// Each has its line in the log, which is written within a tenth of a second: the second meets a broken pipe.
	for range 2 {
		g.Get(t, "/_reconcile/v1/requests/"+running.Key+"?wait=1")
	}
	gone := syscall.SIGHUP // as a terminal that goes sends
	if signal.Ignored(gone) {
		gone = syscall.SIGTERM // these tests run under nohup, and so does the gateway
	}
	g.Signal(t, gone)
	b.Open(t, running.Script.After)
	if a := <-answer; a == nil {
		t.Error("what ran was not answered")
	} else {
		a.Is(t, executed)
	}
	if code := g.Exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Who reads the log may stop reading without going: that must not keep a process that was told to end.
func TestTheLogsReaderStalls(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	g.StallOutput()
	const pipe, line = 72 << 10, 300 // bytes that fit into the pipe and its reader; bytes of a request in the log, at least
	for range pipe/line + 1 {
		if a := g.Get(t, "/nothing"); a.Status == 0 {
			t.Fatal("no answer")
		}
	}
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
