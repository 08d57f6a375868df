package rig

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/freeport"
)

// patience bounds every wait for something that must happen: far above what a loaded machine needs.
const patience = 60 * time.Second

// Gateway is a gateway process that can be started again on its store and configuration.
type Gateway struct {
	Addr  string // host:port for clients; changes with each start
	Admin string // host:port for operators

	file    string
	args    []string
	env     []string
	tags    string
	process *os.Process
	exited  chan struct{}
	code    int
	output  *output
}

// Serve starts a gateway and returns when it is ready. It ends with the test.
func Serve(t testing.TB, c Config) *Gateway {
	t.Helper()
	g := New(t, c)
	g.Start(t)
	return g
}

// New prepares a gateway that is not running.
func New(t testing.TB, c Config) *Gateway {
	t.Helper()
	dir := t.TempDir()
	if c.Store == "" {
		c.Store = "sqlite:" + filepath.Join(dir, "onceway.db")
	}
	g := &Gateway{file: filepath.Join(dir, "onceway.yaml"), env: c.Env, tags: c.Tags, output: newOutput()}
	g.args = []string{"serve", "--config", g.file, "--migrate"}
	if c.Migrated {
		g.args = g.args[:len(g.args)-1]
	}
	if c.Args != nil {
		g.args = append([]string{"serve"}, c.Args...)
	}
	if err := os.WriteFile(g.file, []byte(c.yaml()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.Kill(t)
		log := g.output.String()
		if bytes.Contains([]byte(log), []byte("DATA RACE")) {
			t.Error("the gateway has a data race")
		}
		if t.Failed() {
			t.Logf("%s\ngateway's output, last part:\n%s", c.yaml(), log[max(0, len(log)-3000):])
		}
	})
	return g
}

// Start starts the process and returns when it is ready.
func (g *Gateway) Start(t testing.TB) {
	t.Helper()
	g.Launch(t)
	g.AwaitReady(t)
}

var banner = regexp.MustCompile(`listen +https?://(\S+) .*admin http://(\S+)`)

// Launch starts the process and returns when it has printed its addresses.
func (g *Gateway) Launch(t testing.TB) {
	t.Helper()
	from := g.output.Len()
	g.launch(t)
	g.Until(t, "the gateway prints its addresses", func() bool {
		found := banner.FindStringSubmatch(g.output.String()[from:])
		if found != nil {
			g.Addr, g.Admin = found[1], found[2]
		}
		return found != nil
	})
}

// Launched starts a process that is expected to end by itself: see Exit.
func (g *Gateway) Launched(t testing.TB) {
	t.Helper()
	g.launch(t)
}

// Revive starts the process, again if it ends, and returns when it is ready: its store may be away.
func (g *Gateway) Revive(t testing.TB) {
	t.Helper()
	BinaryWith(t, g.tags) // which may take longer than patience
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		from := g.output.Len()
		g.launch(t)
		for poll, alive := newPoll(), true; alive; {
			select {
			case <-g.exited:
				alive = false
			case <-poll.next():
				if found := banner.FindStringSubmatch(g.output.String()[from:]); found != nil {
					g.Addr, g.Admin = found[1], found[2]
					if g.ready(t) == http.StatusOK {
						return
					}
				}
				if time.Now().After(deadline) {
					t.Fatalf("the gateway is not ready within %v", patience)
				}
			}
		}
	}
	t.Fatalf("the gateway does not start within %v", patience)
}

// FixedPort returns a loopback address that is the test's own to its end, and so still free after a restart. A gateway
// takes it by ONCEWAY_LISTEN and ONCEWAY_ADMIN_LISTEN.
func FixedPort(t testing.TB) string {
	t.Helper()
	port, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// launch keeps the thread that forks until the process is gone, because the kernel sends the
// parent-death signal when that thread ends.
func (g *Gateway) launch(t testing.TB) {
	t.Helper()
	command := exec.Command(BinaryWith(t, g.tags), g.args...)
	command.Env = append(environ(), g.env...)
	command.Dir = filepath.Dir(g.file)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = w, w
	command.SysProcAttr = &syscall.SysProcAttr{}
	endWithParent(command.SysProcAttr)
	started, exited := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(exited)
		err := command.Start()
		w.Close()
		read := g.output.read(r)
		started <- err
		if err == nil {
			command.Wait()
			g.code = command.ProcessState.ExitCode()
			select {
			case <-read:
			case <-g.output.stalled:
			}
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	g.process, g.exited = command.Process, exited
}

// environ is the test's environment without what would change a gateway.
func environ() []string {
	var kept []string
	for _, v := range os.Environ() {
		if !regexp.MustCompile(`^(ONCEWAY|OTEL)_`).MatchString(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// AwaitReady returns when /readyz says so.
func (g *Gateway) AwaitReady(t testing.TB) {
	t.Helper()
	g.Until(t, "the gateway is ready", func() bool { return g.ready(t) == http.StatusOK })
}

// AwaitNotReady returns when /readyz says that.
func (g *Gateway) AwaitNotReady(t testing.TB) {
	t.Helper()
	g.Until(t, "the gateway is not ready", func() bool { return g.ready(t) == http.StatusServiceUnavailable })
}

func (g *Gateway) ready(t testing.TB) int {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.Admin+"/readyz", nil)
	if err != nil {
		return 0
	}
	resp, err := operators.Do(req)
	if err != nil {
		return 0
	}
	resp.Body.Close()
	return resp.StatusCode
}

var operators = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Until polls until done, and fails the test if that does not happen or the gateway ends.
func (g *Gateway) Until(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for poll := newPoll(); !done(); {
		select {
		case <-poll.next():
		case <-g.exited:
			t.Fatalf("%s: the gateway ended with %d", what, g.code)
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// Signal sends a signal.
func (g *Gateway) Signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	if err := g.process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the process with SIGKILL, if it runs.
func (g *Gateway) Kill(t testing.TB) {
	if g.process == nil {
		return
	}
	g.process.Kill()
	<-g.exited
	g.process = nil
}

// Exit returns the exit code once the process has ended by itself.
func (g *Gateway) Exit(t testing.TB) int {
	t.Helper()
	select {
	case <-g.exited:
	case <-time.After(patience):
		t.Fatal("the gateway does not end")
	}
	g.process = nil
	return g.code
}

// Pid is the process id.
func (g *Gateway) Pid() int { return g.process.Pid }

// Exited is closed when the process is gone.
func (g *Gateway) Exited() <-chan struct{} { return g.exited }

// Output is what the process has printed and logged so far, over all its starts.
func (g *Gateway) Output() string { return g.output.String() }

// AwaitOutput returns when the process has printed or logged a text: the log is written a little later than what it is about.
func (g *Gateway) AwaitOutput(t testing.TB, text string) {
	t.Helper()
	g.Until(t, "the output has "+strconv.Quote(text), func() bool { return strings.Contains(g.Output(), text) })
}

// File is the path of the configuration.
func (g *Gateway) File() string { return g.file }

// LeaveOutput makes the reader of the process's output go away: what it writes from now on meets a broken pipe.
func (g *Gateway) LeaveOutput() { close(g.output.left) }

// StallOutput makes the reader of the process's output stop reading for good.
func (g *Gateway) StallOutput() { close(g.output.stalled) }

// output collects what a process writes.
type output struct {
	mu            sync.Mutex
	b             bytes.Buffer
	left, stalled chan struct{}
	unread        *os.File
}

func newOutput() *output { return &output{left: make(chan struct{}), stalled: make(chan struct{})} }

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// read collects what comes, in a goroutine of its own, and closes done at its end. If it has stalled, r stays open.
func (o *output) read(r *os.File) (done chan struct{}) {
	done = make(chan struct{})
	go func() {
		defer close(done)
		for chunk := make([]byte, 4<<10); ; {
			n, err := r.Read(chunk)
			select {
			case <-o.stalled:
				o.unread = r // or the collector closes it
				return
			case <-o.left:
				err = io.EOF
			default:
				_, _ = o.Write(chunk[:n])
			}
			if err != nil {
				r.Close()
				return
			}
		}
	}()
	return done
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func (o *output) Len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Len()
}
