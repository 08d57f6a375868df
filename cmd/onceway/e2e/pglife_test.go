package e2e

import (
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// quiet is what the gateways of these tests have in common.
const quiet = "lease: 2s\nstore_timeout: 1s\nlog: {access: false}"

// database returns the name in a DSN of pgtest.
func database(t *testing.T, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// A server that crashes and starts again under load, again and again.
func TestStoreRestartUnderLoad(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	c := rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: quiet}
	gateways := []*rig.Gateway{rig.Serve(t, c), rig.Serve(t, c)}
	under(t, b, gateways, func(progress func(int)) {
		for _, mode := range []pgtest.Mode{pgtest.Immediate, pgtest.Fast, pgtest.Immediate} {
			cluster.Restart(t, mode)
			progress(20)
		}
	})
}

// Sessions that are terminated every 200 ms, whatever they are doing.
func TestStoreSessionsTerminated(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: quiet}
	gateways := []*rig.Gateway{rig.Serve(t, c), rig.Serve(t, c)}
	conn := connect(t, dsn)
	under(t, b, gateways, func(progress func(int)) {
		var terminated int
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for range 20 {
			<-tick.C
			var n int
			if err := conn.QueryRow(t.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			terminated += n
		}
		progress(20)
		t.Logf("%d sessions terminated", terminated)
	})
}

// A pooler in transaction mode, with the exec mode that it needs, also while it loses its sessions.
func TestStorePoolerInTransactionMode(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"fsync": "off"}})
	pooler := pgtest.NewPooler(t, cluster)
	direct := cluster.NewDatabase(t)
	if code, _, errs := rig.Run(t, t.TempDir(), "migrate", "up", "--store", direct); code != 0 {
		t.Fatal(errs)
	}
	// Not quiet's store_timeout: on a machine that is busy a large answer takes longer.
	c := rig.Config{Store: pooler.DSN(database(t, direct)), Migrated: true, Targets: []string{b.URL()}, Extra: "lease: 20s\nstore_timeout: 10s\nlog: {access: false}"}
	gateways := []*rig.Gateway{rig.Serve(t, c), rig.Serve(t, c)}

	big := rig.Request{Key: newKey(), Body: strings.Repeat("a", 100_000), Script: ledger.Script{Big: 900_000, Header: map[string][]string{"X-Many": {"a", "b"}}}}
	first := gateways[0].Do(t, big)
	first.Is(t, executed)
	again := gateways[1].Do(t, big)
	again.Is(t, replayed)
	if first.Bytes() != again.Bytes() {
		t.Error("the replay differs")
	}
	slow := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := gateways[0].Go(t, slow)
	b.Await(t, slow.Script.After, 1)
	waiter := gateways[1].Go(t, slow)
	b.Open(t, slow.Script.After)
	for _, a := range []*rig.Answer{<-answer, <-waiter} {
		if a == nil || a.Status != 200 {
			t.Errorf("answer %+v", a)
		}
	}
	// Each statement may reach another session, which can be set up by its defaults only. Wrong ones are refused.
	unfit := cluster.NewDatabase(t)
	if _, err := connect(t, unfit).Exec(t.Context(), "ALTER DATABASE "+pgx.Identifier{database(t, unfit)}.Sanitize()+" SET default_transaction_isolation = 'serializable'"); err != nil {
		t.Fatal(err)
	}
	code, _, errs := rig.Run(t, t.TempDir(), "serve", "--migrate", "--upstream", b.URL(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--store", pooler.DSN(database(t, unfit)))
	if code != 4 || !strings.Contains(errs, "default_transaction_isolation = serializable; Onceway needs READ COMMITTED") || !strings.Contains(errs, "ALTER ROLE") {
		t.Errorf("exit code %d\n%s", code, errs)
	}

	conn := connect(t, direct)
	under(t, b, gateways, func(progress func(int)) {
		progress(100)
		for range 5 {
			if _, err := conn.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
				WHERE datname = current_database() AND pid <> pg_backend_pid()`); err != nil {
				t.Fatal(err)
			}
			progress(20)
		}
	})
}

// A server that takes no writes is refused at the start, and at run time nothing is sent.
func TestStoreReadOnly(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{TCP: true, Settings: map[string]string{"fsync": "off"}})
	dsn := cluster.NewDatabase(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: quiet})
	settled := rig.Request{Key: newKey(), Body: "a"}
	insist(t, g, settled).Is(t, executed)
	admin := connect(t, cluster.DSN("postgres"))
	readOnly := func(value string) {
		for _, sql := range []string{"SET default_transaction_read_only = off", "ALTER SYSTEM SET default_transaction_read_only = " + value, "SELECT pg_reload_conf()"} {
			if _, err := admin.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
	}
	running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := resent(t, g, running)
	b.Await(t, running.Script.After, 1)
	readOnly("on")
	g.AwaitNotReady(t)
	key := newKey()
	g.Do(t, rig.Request{Key: key, Body: "a"}).Is(t, noStore)
	if n := len(b.Of(t, ledger.Begin, key)); n != 0 {
		t.Errorf("%d requests were sent without a claim", n)
	}
	b.Open(t, running.Script.After)
	if a := <-answer; a == nil {
		t.Error("no answer")
	} else {
		a.Is(t, doubted)
	}
	readOnly("off")
	g.AwaitReady(t)
	insist(t, g, rig.Request{Key: key, Body: "a"}).Is(t, executed)
	insist(t, g, settled).Is(t, replayed)
	g.Until(t, "the answer is recorded late", func() bool { return g.Get(t, recordPath(running.Key)).Record(t).State == "completed" })
	wantEffects(t, b, running.Key, 1)
	wantEffects(t, b, key, 1)

	standby := pgtest.NewStandby(t, cluster)
	for what, store := range map[string]string{
		"a standby":          standby.TCPDSN(database(t, dsn)),
		"a read-only server": dsn + "&default_transaction_read_only=on",
	} {
		code, _, errs := rig.Run(t, t.TempDir(), "serve", "--upstream", b.URL(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--store", store)
		if code != 4 || !strings.Contains(errs, "read-only") {
			t.Errorf("%s: exit code %d: %s", what, code, errs)
		}
	}
}

// A primary that waits for a synchronous standby which is not there: nothing counts as durable, so nothing
// is sent, and no answer is told. Leases need no standby: nothing that runs is doubted for it.
func TestStoreSynchronousStandbyMissing(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"fsync": "off"}})
	dsn := cluster.NewDatabase(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: quiet})
	settled := rig.Request{Key: newKey(), Body: "a"}
	insist(t, g, settled).Is(t, executed)
	running := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := resent(t, g, running)
	b.Await(t, running.Script.After, 1)
	admin := connect(t, cluster.DSN("postgres"))
	do := func(sql string) {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	do("SET synchronous_commit = local")
	do("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	do("SELECT pg_reload_conf()")
	// Waits for the standby are broken off by hand, over and over: that makes commits visible, not durable.
	quit := make(chan struct{})
	var breaking sync.WaitGroup
	breaker := connect(t, cluster.DSN("postgres"))
	breaking.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				_, _ = breaker.Exec(t.Context(), "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			}
		}
	})
	g.Until(t, "commits wait for the standby", func() bool {
		return g.Do(t, rig.Request{Key: newKey(), Body: "probe", Script: ledger.Script{NoEffect: true}}).Status == 503
	})
	for range 3 {
		key := newKey()
		g.Do(t, rig.Request{Key: key, Body: "a"}).Is(t, noStore)
		if n := len(b.Of(t, ledger.Begin, key)); n != 0 {
			t.Errorf("%d requests were sent on a claim that a failover may lose", n)
		}
	}
	b.Open(t, running.Script.After)
	if a := <-answer; a == nil {
		t.Error("no answer")
	} else {
		a.Is(t, doubted)
	}
	if a := g.AdminGet(t, "/readyz?verbose"); !strings.Contains(a.Body, "lease") || strings.Contains(a.Body, "could not renew") {
		t.Errorf("the lease needs a standby: %s", a.Body)
	}
	close(quit)
	breaking.Wait()
	do("ALTER SYSTEM RESET synchronous_standby_names")
	do("SELECT pg_reload_conf()")
	key := newKey()
	g.Until(t, "commits need no standby", func() bool { return g.Do(t, rig.Request{Key: key, Body: "a"}).Status == 200 })
	wantEffects(t, b, key, 1)
	g.Until(t, "the answer is recorded late", func() bool { return g.Get(t, recordPath(running.Key)).Record(t).State == "completed" })
	wantEffects(t, b, running.Key, 1)
	insist(t, g, settled).Is(t, replayed)
}
