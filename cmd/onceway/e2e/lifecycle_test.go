package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

func TestProbesOfTheProcess(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "drain_delay: 60s"})
	for _, path := range []string{"/livez", "/readyz"} {
		if a := g.AdminGet(t, path); a.Status != 200 {
			t.Errorf("%s: %d %s", path, a.Status, a.Body)
		}
	}
	if code, out, _ := rig.Run(t, t.TempDir(), "healthcheck", "--admin", g.Admin); code != 0 {
		t.Errorf("healthcheck: %d %s", code, out)
	}
	// Draining: not ready, still accepting.
	g.Signal(t, syscall.SIGTERM)
	g.AwaitNotReady(t)
	if a := g.AdminGet(t, "/livez"); a.Status != 200 {
		t.Errorf("/livez while draining: %d", a.Status)
	}
	g.Do(t, rig.Request{Key: newKey()}).Is(t, executed)
	if code, _, errs := rig.Run(t, t.TempDir(), "healthcheck", "--admin", g.Admin); code != 1 {
		t.Errorf("healthcheck while draining: %d %s", code, errs)
	}
	// A second signal ends it at once.
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t); code == 0 {
		t.Errorf("exit code %d after a second signal", code)
	}
	if code, _, _ := rig.Run(t, t.TempDir(), "healthcheck", "--admin", g.Admin); code != 1 {
		t.Errorf("healthcheck of nobody: %d", code)
	}
}

// Who reads the log may be stuck before there is any, with more to say at the start than a pipe holds: the gateway
// works, and can be stopped.
func TestStopWhileTheBannerIsPrinted(t *testing.T) {
	t.Parallel()
	var routes strings.Builder
	for i := range 300 { // of more than 300 bytes each
		fmt.Fprintf(&routes, "  - {name: r%[1]d, match: {path: /r%[1]d}, upstream: backend}\n", i)
	}
	admin := rig.FixedPort(t)
	g := rig.New(t, rig.Config{Targets: []string{"http://127.0.0.1:9"}, Routes: routes.String(), Env: []string{"ONCEWAY_ADMIN_LISTEN=" + admin}})
	g.StallOutput()
	g.Launched(t)
	g.Admin = admin
	g.AwaitReady(t)
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A signal that comes before the gateway is ready ends it in order, too: there is nothing to drain.
func TestStopWhileTheStoreDoesNotAnswer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	g := rig.New(t, rig.Config{Targets: []string{"http://127.0.0.1:9"}, Store: "postgres://a@" + silent.Addr().String() + "/a?sslmode=disable"})
	g.Launched(t)
	c, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	g.Signal(t, syscall.SIGTERM)
	if code := g.Exit(t); code != 0 || !strings.Contains(g.Output(), "told to stop before it was ready") {
		t.Errorf("exit code %d\n%s", code, g.Output())
	}
}

// SIGTERM: what runs is finished and answered, nothing new starts, what is settled is still told.
func TestDrain(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		settled := rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, settled).Is(t, executed)
		running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, After: newKey()}}
		answer := g.Go(t, running)
		b.Await(t, running.Script.After, 1)
		waiting := running
		waiting.Header = rig.Header("Prefer", "wait=30")
		waiter := g.Go(t, waiting)
		g.Until(t, "a duplicate waits", func() bool { return inFlight(t, g) == 2 })
		// Connections that are open before the listener closes. They have been accepted once a later one is served.
		fresh, retry := g.Dial(t), g.Dial(t)
		g.Get(t, "/.well-known/idempotency")

		g.Signal(t, syscall.SIGTERM)
		g.Until(t, "the listener is closed", func() bool {
			c, err := net.Dial("tcp", g.Addr)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		key := newKey()
		io.WriteString(fresh, rig.Request{Key: key, Body: "a"}.Raw())
		rig.ReadAnswer(t, fresh, "POST").Is(t, overloaded)
		io.WriteString(retry, settled.Raw())
		rig.ReadAnswer(t, retry, "POST").Is(t, replayed)
		if a := <-waiter; a == nil {
			t.Error("whoever waits for another's attempt got no answer")
		} else {
			a.Is(t, inProgress)
		}
		if a := g.AdminGet(t, "/readyz"); a.Status != 503 {
			t.Errorf("/readyz: %d", a.Status)
		}
		b.Open(t, running.Script.After)
		if a := <-answer; a == nil {
			t.Error("the running request got no answer")
		} else {
			a.Is(t, with(executed, 201))
		}
		if code := g.Exit(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		g.Start(t)
		g.Do(t, running).Is(t, with(replayed, 201))
		wantUnseen(t, g, b, key)
		wantEffects(t, b, running.Key, 1)
	})
}

// A drain outlasts the longest attempt: what ends in doubt while it lasts is recorded, and its client told.
func TestDrainOutlastsTheAttempts(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "drain_timeout: 6s", Upstream: "timeout: 1s"})
		var r rig.Request
		var answer <-chan *rig.Answer
		g.Until(t, "an attempt is at the backend", func() bool {
			if answer == nil || len(answer) > 0 { // its time was up before
				r = rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
				answer = g.Go(t, r)
			}
			return b.Effects(t, r.Key) > 0
		})
		g.Signal(t, syscall.SIGTERM)
		if a := <-answer; a == nil {
			t.Error("no answer")
		} else {
			a.Is(t, timedOut)
		}
		if code := g.Exit(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		g.Start(t)
		g.Do(t, r).Is(t, stillUnknown)
		wantEffects(t, b, r.Key, 1)
	})
}

// One flag is enough for a working gateway.
func TestUpstreamAlone(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Args: []string{"--upstream", b.URL(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}})
	r := rig.Request{Key: newKey(), Body: "a"}
	g.Do(t, r).Is(t, executed)
	g.Kill(t)
	g.Start(t)
	g.Do(t, r).Is(t, replayed)
	wantEffects(t, b, r.Key, 1)
}

// A gateway whose schema somebody has changed under it is not ready, until it is changed back.
func TestReadyOnlyWithItsSchema(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
	for _, step := range []struct {
		verb string
		wait func(testing.TB)
	}{{"down", g.AwaitNotReady}, {"up", g.AwaitReady}} {
		if code, _, errs := rig.Run(t, t.TempDir(), "migrate", step.verb, "--store", dsn); code != 0 {
			t.Fatalf("migrate %s: %d %s", step.verb, code, errs)
		}
		step.wait(t)
	}
}

// A gateway whose file somebody has taken away says so: it is not ready, until the file is back.
func TestReadyOnlyWithItsFile(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	path := filepath.Join(t.TempDir(), "onceway.db")
	g := rig.Serve(t, rig.Config{Store: "sqlite:" + path, Targets: []string{b.URL()}})
	for _, step := range []struct {
		from, to string
		wait     func(testing.TB)
	}{{path, path + ".away", g.AwaitNotReady}, {path + ".away", path, g.AwaitReady}} {
		if err := os.Rename(step.from, step.to); err != nil {
			t.Fatal(err)
		}
		step.wait(t)
	}
}
