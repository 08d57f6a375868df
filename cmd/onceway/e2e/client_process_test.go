package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceway/onceway/client"
	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

// clientVariable makes the test binary a program that uses the client, and says what it does.
const clientVariable = "ONCEWAY_TEST_CLIENT"

// program is what such a program is to do: settle what is in its outbox, then, if nothing was told yet and nothing
// is left, begin with its one intent, which has no key so far. It writes each outcome to a file. It ends itself with
// SIGKILL when it comes to a step.
type program struct {
	Outbox, Told, Addr string
	Intent             rig.Request
	Wish               string // "cancel": it does not want its intent any more, once that is in the outbox
	KillAt             int    // 1, 2, …: the step before which it dies; 0 = none
}

// clientMain runs the program, if this process is one.
func clientMain() {
	text := os.Getenv(clientVariable)
	if text == "" {
		return
	}
	var p program
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		log.Fatal(err)
	}
	if err := p.run(); err != nil {
		log.Fatal(err)
	}
	os.Exit(0)
}

// steps counts what can be interrupted: each write to the outbox, each call, each answer and each outcome, before
// it and after it.
type steps struct {
	mu     sync.Mutex
	n      int
	killAt int
}

func (s *steps) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.n == s.killAt {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

type steppedOutbox struct {
	client.Outbox
	*steps
}

func (o steppedOutbox) Put(e client.Entry) error {
	o.step()
	defer o.step()
	return o.Outbox.Put(e)
}

func (o steppedOutbox) Remove(key string) error {
	o.step()
	defer o.step()
	return o.Outbox.Remove(key)
}

type steppedBase struct {
	http.RoundTripper
	*steps
}

func (b steppedBase) RoundTrip(r *http.Request) (*http.Response, error) {
	b.step()
	defer b.step()
	return b.RoundTripper.RoundTrip(r)
}

func (p *program) run() error {
	dir, err := client.OpenDir(p.Outbox)
	if err != nil {
		return err
	}
	s := &steps{killAt: p.KillAt}
	o := hasty
	o.Outbox, o.Base = steppedOutbox{dir, s}, steppedBase{&http.Transport{DisableKeepAlives: true}, s}
	c, err := client.New(o)
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	tell := func(r client.Result) error {
		s.step()
		defer s.step()
		return p.tell(r.Outcome)
	}
	if err := c.Resume(ctx, tell); err != nil {
		return err
	}
	if told, _ := os.ReadFile(p.Told); len(told) > 0 {
		return nil
	}
	d := &device{Client: c, addr: p.Addr}
	if p.Wish == "" {
		resp, err := c.RoundTrip(d.request(ctx, p.Intent))
		if err != nil {
			return err
		}
		if err := tell(client.Result{Outcome: client.OutcomeExecuted}); err != nil {
			return err
		}
		return resp.Body.Close()
	}
	key, err := c.Queue(d.request(ctx, p.Intent))
	if err != nil {
		return err
	}
	resumed := make(chan error, 1)
	go func() { resumed <- c.Resume(ctx, tell) }()
	outcome, err := c.Cancel(ctx, key)
	if err := <-resumed; err != nil {
		return err
	}
	if told, _ := os.ReadFile(p.Told); len(told) > 0 {
		return nil // also if there was nothing to cancel any more
	}
	if err != nil {
		return err
	}
	return tell(client.Result{Outcome: outcome})
}

// tell writes an outcome down, durably.
func (p *program) tell(o client.Outcome) error {
	f, err := os.OpenFile(p.Told, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, o); err != nil {
		return err
	}
	return f.Sync()
}

// start runs the program to its end, and reports whether it came to the step at which it dies.
func (p program) start(t *testing.T) (killed bool) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(p)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	command := exec.CommandContext(ctx, self)
	command.Env = append(os.Environ(), clientVariable+"="+string(text))
	out, err := command.CombinedOutput()
	if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL && ctx.Err() == nil {
		return true
	}
	if err != nil {
		t.Fatalf("step %d: %v\n%s", p.KillAt, err, out)
	}
	return false
}

// The program is killed before each of its steps, at the next start before another one, and then left alone: its
// intent is executed once, and it hears so. The first answer on its way is cut, so that the way is a long one.
func TestClientKilledAtEachStep(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "log: {access: false}"})
	for _, wish := range []string{"", "cancel"} {
		t.Run("wish "+wish, func(t *testing.T) {
			t.Parallel()
			for step, killed := 1, true; killed; step++ {
				relay := between(t, g.Addr, nemesis.First(nemesis.Plan{Down: nemesis.Flow{After: 30, Fault: nemesis.CutRST}}))
				dir := t.TempDir()
				p := program{Outbox: filepath.Join(dir, "outbox"), Told: filepath.Join(dir, "told"), Addr: relay.Addr(), Intent: rig.Request{Body: "amount=1, " + newKey()}, Wish: wish, KillAt: step}
				killed = p.start(t)
				if !killed {
					t.Logf("%d steps", step-1)
				}
				if !killed && step < 7 {
					t.Error("those are too few")
				}
				if p.KillAt = 1 + step%7; killed {
					p.start(t)
				}
				p.KillAt = 0
				p.start(t)
				p.check(t, b)
			}
		})
	}
}

// check holds what was told against the ledger, and looks into the outbox.
func (p program) check(t *testing.T, b *ledger.Backend) {
	t.Helper()
	told, err := os.ReadFile(p.Told)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range b.Of(t, ledger.Effect, "") {
		if string(e.Body) == p.Intent.Body {
			n++
		}
	}
	want := map[string]int{"executed": 1, "cancelled": 0}
	for outcome := range strings.FieldsSeq(string(told)) {
		effects, ok := want[outcome]
		if !ok || n != effects || p.Wish == "" && outcome != "executed" {
			t.Errorf("step %d: it hears %q, and the ledger has %d effects", p.KillAt, outcome, n)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(p.Outbox, "*.entry")); len(left) != 0 || len(told) == 0 {
		t.Errorf("step %d: it heard %q, left in the outbox: %v", p.KillAt, told, left)
	}
}
