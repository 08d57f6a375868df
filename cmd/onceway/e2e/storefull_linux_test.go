package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// A server that gives this gateway no connection any more: nothing is sent, what is out is in doubt for its
// client, and all of it ends by itself when there are connections again.
func TestStoreHasNoConnectionLeft(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"fsync": "off"}})
	dsn := cluster.NewDatabase(t)
	admin := connect(t, dsn)
	exec := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE ROLE app LOGIN")
	exec("ALTER DATABASE " + database(t, dsn) + " OWNER TO app")
	exec("ALTER SCHEMA public OWNER TO app")
	g := rig.Serve(t, rig.Config{
		Store: strings.Replace(dsn, "user="+pgtest.User, "user=app", 1), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nlease: 60s",
	})
	settled := rig.Request{Key: newKey(), Body: "a"}
	insist(t, g, settled).Is(t, executed)
	running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := resent(t, g, running)
	b.Await(t, running.Script.After, 1)

	exec("ALTER ROLE app CONNECTION LIMIT 0")
	exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
	r := rig.Request{Key: newKey(), Body: "a"}
	g.Do(t, r).Is(t, noStore)
	g.Do(t, settled).Is(t, replayed)
	if n := len(b.Of(t, ledger.Begin, r.Key)); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
	b.Open(t, running.Script.After)
	if a := <-answer; a == nil {
		t.Error("no answer")
	} else {
		a.Is(t, doubted)
	}

	exec("ALTER ROLE app CONNECTION LIMIT -1")
	g.Until(t, "claims are taken again", func() bool { return g.Do(t, r).Status == 200 })
	g.Until(t, "the answer is recorded late", func() bool { return g.Get(t, recordPath(running.Key)).Record(t).State == "completed" })
	insist(t, g, running).Is(t, replayed)
	wantEffects(t, b, running.Key, 1)
	wantEffects(t, b, r.Key, 1)
}

// A Postgres whose disk takes no more data: what cannot be recorded is in doubt, and nothing is executed
// again. No file of the server may grow beyond 16 MiB, which it treats as a full disk; its log, in files of just
// that size, goes on.
func TestStoreDiskIsFull(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"fsync": "off"}})
	dsn := cluster.NewDatabase(t)
	admin := connect(t, dsn)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 2s\nlog: {access: false}", Policy: "max_response_body: 4MiB, max_request_body: 4MiB"})
	limit := func(n string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(cluster.Dir, "data", "postmaster.pid"))
		if err != nil {
			t.Fatal(err)
		}
		var postmaster int
		if _, err := fmt.Sscan(string(text), &postmaster); err != nil {
			t.Fatal(err)
		}
		// Only the server's own user may do that.
		owner, err := os.Stat(filepath.Join(cluster.Dir, "data"))
		if err != nil {
			t.Fatal(err)
		}
		command := exec.Command("prlimit", "--pid", strconv.Itoa(postmaster), "--fsize="+n+":")
		if is := owner.Sys().(*syscall.Stat_t); int(is.Uid) != os.Getuid() {
			command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: is.Uid, Gid: is.Gid}}
		}
		command.Dir = "/"
		if out, err := command.CombinedOutput(); err != nil {
			t.Skipf("the limit of another process cannot be set here: %v %s", err, out)
		}
		// Sessions inherit it.
		if _, err := admin.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
	}
	limit(strconv.Itoa(16 << 20))
	random := make([]byte, 2<<20)
	rand.Read(random) // an echo of it cannot be compressed
	large := base64.StdEncoding.EncodeToString(random)
	var full rig.Request
	for n := 0; full.Key == ""; n++ {
		r := rig.Request{Key: newKey(), Body: large, Script: ledger.Script{Then: ledger.Echo}}
		a := g.Do(t, r)
		switch {
		case n == 40:
			t.Fatal("the disk is never full")
		case a.Header.Get("Idempotency-State") == "unknown":
			a.Is(t, doubted)
			full = r
		case a.Status == 200:
			a.Is(t, executed)
		default:
			a.Is(t, noStore) // while the pool finds new connections
		}
	}
	for range 2 {
		a := insist(t, g, full)
		a.Is(t, rig.Want{Status: 409, State: a.Header.Get("Idempotency-State"), Next: a.Header.Get("Idempotency-Next"), Slug: a.Problem(t).Code, Record: true})
	}
	// What needs little room is recorded.
	small := rig.Request{Key: newKey(), Body: "a"}
	insist(t, g, small).Is(t, executed)

	limit("unlimited")
	r := rig.Request{Key: newKey(), Body: large, Script: ledger.Script{Then: ledger.Echo}}
	g.Until(t, "large answers are recorded again", func() bool { return g.Do(t, r).Status == 200 })
	if state := record(t, g, full.Key).State; state != "completed" && state != "unknown" {
		t.Errorf("the answer that was refused: %s", state)
	}
	g.Do(t, full)
	wantEffects(t, b, full.Key, 1)
	wantEffects(t, b, small.Key, 1)
	wantEffects(t, b, r.Key, 1)
}
