package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

const shopProgram = "github.com/onceway/onceway/deploy/example-backend"

// buildShop makes the example backend, beside the gateway's binary.
var buildShop = sync.OnceValues(func() (string, error) {
	gateway, err := builtWith("")
	if err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(gateway), "example-backend")
	build := exec.Command("go", "build", "-o", path, shopProgram)
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped, and as other tests build it
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// Shop is a process of the example backend, which takes part, that can be killed and started again.
type Shop struct {
	Addr string // host:port; stays the same over all starts

	database string
	process  *os.Process
	exited   chan struct{}
	output   *output
}

// StartShop starts an example backend on a Postgres database. It ends with the test.
func StartShop(t testing.TB, database string) *Shop {
	t.Helper()
	s := &Shop{Addr: "127.0.0.1:0", database: database, output: newOutput()}
	t.Cleanup(func() {
		s.Kill()
		if log := s.output.String(); t.Failed() {
			t.Logf("backend's output, last part:\n%s", log[max(0, len(log)-3000):])
		}
	})
	s.Start(t)
	return s
}

var shopBanner = regexp.MustCompile(`listening on http://(\S+)\n`)

// Start starts the process on its address, and returns when it listens. It tries again for as long as
// the database is away.
func (s *Shop) Start(t testing.TB) {
	t.Helper()
	path, err := buildShop()
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(patience)
	for !s.launch(t, path, deadline) {
	}
}

// launch reports whether the process listens, as opposed to has ended.
func (s *Shop) launch(t testing.TB, path string, deadline <-chan time.Time) bool {
	t.Helper()
	from := s.output.Len()
	command := exec.Command(path, "--listen", s.Addr, "--database", s.database)
	command.Env, command.Stdout, command.Stderr = environ(), s.output, s.output
	command.SysProcAttr = &syscall.SysProcAttr{}
	endWithParent(command.SysProcAttr)
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // as in Gateway.launch
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := command.Start()
		started <- err
		if err == nil {
			command.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	s.process, s.exited = command.Process, exited
	for poll := newPoll(); ; {
		if found := shopBanner.FindStringSubmatch(s.output.String()[from:]); found != nil {
			s.Addr = found[1]
			return true
		}
		select {
		case <-exited:
			return false
		case <-deadline:
			t.Fatalf("the example backend does not start within %v", patience)
		case <-poll.next():
		}
	}
}

// Kill ends the process with SIGKILL, if it runs.
func (s *Shop) Kill() {
	if s.process == nil {
		return
	}
	s.process.Kill()
	<-s.exited
	s.process = nil
}

// Output is what the process has printed and logged so far, over all its starts.
func (s *Shop) Output() string { return s.output.String() }

// URL is the target for a gateway.
func (s *Shop) URL() string { return "http://" + s.Addr }
