package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// A panic of our own ends one request and not the process. Before the claim nothing is sent and the key is as
// good as new; in an attempt, nobody knows. The fault is a clock whose file has gone, so that the store must
// not be the one that has the gateway's own clock.
func TestOurselvesPanicInAHandler(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	clock := filepath.Join(t.TempDir(), "clock")
	set := func(broken bool) {
		t.Helper()
		err := os.Remove(clock)
		if !broken {
			err = os.WriteFile(clock, []byte("0s"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set(false)
	shake := make(chan struct{})
	relay := between(t, b.TLS()[len("https://"):], nemesis.First(nemesis.Plan{Up: nemesis.Flow{Fault: nemesis.Hold, Release: shake}}))
	g := rig.Serve(t, rig.Config{
		Store: pgtest.New(t), Targets: []string{"https://" + relay.Addr()}, Tags: "onceway_testclock",
		Env: []string{"ONCEWAY_TEST_CLOCK=" + clock, "SSL_CERT_FILE=" + b.CA()},
	})
	internal := rig.Want{Status: 500, State: "rejected", Next: "reconcile", Slug: "internal"}

	// In the attempt, immediately before its first byte.
	r := rig.Request{Key: newKey(), Body: "a"}
	answer := g.Go(t, r)
	<-relay.Conn(0).Up.Struck()
	set(true)
	close(shake)
	a := <-answer
	if a == nil {
		t.Fatal("no answer")
	}
	a.Is(t, rig.Want{Status: 500, State: "unknown", Next: "reconcile", Slug: "internal", Record: true})

	// Before the claim.
	early := rig.Request{Key: newKey(), Body: "a"}
	g.Do(t, early).Is(t, internal)
	set(false)
	wantUnseen(t, g, b, early.Key)
	g.Do(t, early).Is(t, executed)
	wantEffects(t, b, early.Key, 1)

	g.Do(t, r).Is(t, stillUnknown)
	if n := b.Effects(t, r.Key); n != 0 {
		t.Errorf("%d executions", n)
	}
}
