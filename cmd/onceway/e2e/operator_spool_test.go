package e2e

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// An answer lies in the spool of a gateway that was killed, and its client was told. An operator is warned,
// settles the record otherwise all the same, and is proved wrong when the gateway is back on its disk: the
// answer is kept, and nothing executes the operation again.
func TestAnswersInASpoolBeatAnOperator(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		cluster := pgtest.NewCluster(t, pgtest.Config{})
		c := rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Admin: rig.Tokens("alice"), Extra: "store_timeout: 1s\nlease: 2s"}
		other := rig.Serve(t, c)
		c.Extra += "\nspool: spool"
		g := rig.Serve(t, c)
		requests := sendOut(t, g, b, 1)
		cluster.Stop(pgtest.Immediate)
		requests.wants(t, b, with(executed, 201))
		g.Kill(t)
		cluster.Start(t)
		other.AwaitReady(t)
		provedWrong(t, b, requests.requests[0], other, func() *rig.Gateway { g.Revive(t); return g })
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		store := filepath.Join(t.TempDir(), "onceway.db")
		c := rig.Config{Store: "sqlite:" + store, Targets: []string{b.URL()}, Admin: rig.Tokens("alice"), Extra: "store_timeout: 1s\nspool: spool"}
		g := rig.Serve(t, c)
		requests := sendOut(t, g, b, 1)
		unlock := lockFile(t, store)
		requests.wants(t, b, with(executed, 201))
		g.Kill(t)
		unlock()
		c.Extra = "store_timeout: 1s"
		other := rig.Serve(t, c) // without its disk
		provedWrong(t, b, requests.requests[0], other, func() *rig.Gateway { other.Kill(t); g.Revive(t); return g })
	})
}

func provedWrong(t *testing.T, b *ledger.Backend, r rig.Request, other *rig.Gateway, back func() *rig.Gateway) {
	t.Helper()
	wantState(t, other, r.Key, "unknown", sent(t, b, r.Key))
	wantProblem(t, resolve(t, other, "alice", r.Key, `{"outcome":"not_executed","evidence":"a guess"}`), 409, "owner-may-hold-answers")
	if a := resolve(t, other, "alice", r.Key, `{"outcome":"not_executed","evidence":"a guess","acknowledge_spool":true}`); a.Status != 200 {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	g := back()
	g.Until(t, "the spooled answer is kept", func() bool { return shown(t, g, r.Key).Contradicted })
	rec := shown(t, g, r.Key)
	if rec.State != "not_executed" || len(rec.Contradictions) != 1 || rec.Contradictions[0].Response.Status != 201 || rec.Resolution.By != "alice" {
		t.Errorf("%+v", rec)
	}
	g.Until(t, "the spool is empty", func() bool { return spoolOf(t, g).Depth == 0 })
	insist(t, g, r).Is(t, stillUnknown)
	wantEffects(t, b, r.Key, 1)
}

// lockFile keeps everybody from writing a SQLite file.
func lockFile(t *testing.T, path string) (unlock func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(20000)") // the gateway may be writing
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err == nil {
		_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
			t.Error(err)
		}
		conn.Close()
	}
}
