package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// pairOfServers is a primary with a streaming standby, and the DSN of whichever takes writes.
func pairOfServers(t *testing.T) (primary, standby *pgtest.Cluster, dsn string) {
	t.Helper()
	primary = pgtest.NewCluster(t, pgtest.Config{TCP: true, Settings: map[string]string{"fsync": "off"}})
	const name = "records" // it ends with the clusters
	if _, err := connect(t, primary.DSN("postgres")).Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	standby = pgtest.NewStandby(t, primary)
	return primary, standby, pgtest.HostListDSN(name, primary, standby)
}

// With synchronous replication a failover under load loses nothing.
func TestStoreFailoverUnderLoad(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	primary, standby, dsn := pairOfServers(t)
	admin := connect(t, primary.DSN("postgres"))
	for _, sql := range []string{"SET synchronous_commit = local", "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: quiet}
	gateways := []*rig.Gateway{rig.Serve(t, c), rig.Serve(t, c)}
	gateways[0].Until(t, "the standby is synchronous", func() bool {
		var synchronous bool
		if err := admin.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')").Scan(&synchronous); err != nil {
			t.Fatal(err)
		}
		return synchronous
	})
	under(t, b, gateways, func(progress func(int)) {
		progress(100)
		primary.Stop(pgtest.Immediate)
		standby.Promote(t)
		progress(100)
	})
}

// With asynchronous replication a failover loses claims and answers that were confirmed. A key that is older
// than the change and has no record any more is not executed again: nobody knows. What a gateway that lives
// remembers comes back, also of keys without a date. (Those of a gateway that died are executed again: that
// is what remains lost.)
func TestStoreFailoverThatLostCommits(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	primary, standby, dsn := pairOfServers(t)
	c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: quiet}
	g, other := rig.Serve(t, c), rig.Serve(t, c)
	kept := rig.Request{Key: uuidv7(time.Now()), Body: "a"}
	first := insist(t, g, kept)
	first.Is(t, executed)
	conn := connect(t, primary.DSN("postgres"))
	g.Until(t, "the standby has it all", func() bool {
		var caughtUp bool
		if err := conn.QueryRow(t.Context(), "SELECT COALESCE(bool_and(replay_lsn >= pg_current_wal_flush_lsn()), false) FROM pg_stat_replication").Scan(&caughtUp); err != nil {
			t.Fatal(err)
		}
		return caughtUp
	})
	standby.Stop(pgtest.Fast)

	lost := rig.Request{Key: uuidv7(time.Now()), Body: "a"}
	insist(t, g, lost).Is(t, executed)
	g.Kill(t) // what it remembers dies with it
	g.Revive(t)
	remembered := rig.Request{Key: newKey(), Body: "a"}
	answered := insist(t, g, remembered)
	answered.Is(t, executed)
	running := rig.Request{Key: uuidv7(time.Now()), Body: "a", Script: ledger.Script{Status: 201, After: newKey()}}
	answer := resent(t, g, running)
	b.Await(t, running.Script.After, 1)
	primary.Stop(pgtest.Immediate)
	standby.Start(t)
	standby.Promote(t)
	for _, at := range []*rig.Gateway{g, other} {
		at.Until(t, "it has noticed", func() bool { return strings.Contains(at.Output(), "the store is another server now") })
		at.AwaitReady(t)
	}

	// The attempt that is under way has lost its record. A retry elsewhere does not execute it; the answer,
	// when it comes, is the answer.
	other.Until(t, "the record is back", func() bool { return other.Do(t, running).Status != 503 })
	insist(t, other, running).Is(t, stillUnknown)
	b.Open(t, running.Script.After)
	if a := <-answer; a == nil {
		t.Error("no answer")
	} else {
		a.Is(t, with(executed, 201))
	}
	insist(t, other, running).Is(t, with(replayed, 201))
	wantEffects(t, b, running.Key, 1)

	other.Until(t, "what a gateway remembers is back", func() bool { return other.Get(t, recordPath(remembered.Key)).Status == 200 })
	if a := insist(t, other, remembered); a.Bytes() != answered.Bytes() {
		t.Errorf("the answer was\n%s\nand is\n%s", answered.Bytes(), a.Bytes())
	}
	wantEffects(t, b, remembered.Key, 1)

	// The other gateway may not be done yet: what is back by now was brought by the first one.
	other.Until(t, "it claims again", func() bool { return other.Do(t, lost).Status != 503 })
	for range 2 {
		insist(t, other, lost).Is(t, stillUnknown)
	}
	wantState(t, other, lost.Key, "unknown", 1)
	wantEffects(t, b, lost.Key, 1)
	if kinds := evidenceOf(t, standby.DSN(database(t, dsn)), lost.Key); kinds != "import" {
		t.Errorf("evidence %q", kinds)
	}
	if a := insist(t, other, kept); a.Bytes() != first.Bytes() {
		t.Errorf("the answer of before is now %s", a.Bytes())
	}
	fresh := rig.Request{Key: uuidv7(time.Now().Add(time.Second)), Body: "a"}
	g.Until(t, "it claims again", func() bool { return g.Do(t, fresh).Status == 200 })
	insist(t, other, fresh).Is(t, replayed)
	wantEffects(t, b, fresh.Key, 1)
}
