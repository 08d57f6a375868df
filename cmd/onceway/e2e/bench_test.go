package e2e

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// A store is measured in a room of its own, of which nothing is left.
func TestBench(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		dir := t.TempDir()
		if strings.HasPrefix(dsn, "sqlite:") {
			dsn = "sqlite:onceway.db"
		}
		before := contents(t, dsn, dir)
		code, out, errs := rig.Run(t, dir, "bench", "--store", dsn, "--duration", "20ms", "--requests", "1,8", "--json")
		if code != 0 {
			t.Fatalf("exit code %d\n%s", code, errs)
		}
		type row struct {
			AtATime   int     `json:"at_a_time"`
			PerSecond float64 `json:"per_second"`
			Commits   float64 `json:"commits_per_second"`
			P50       float64 `json:"p50_us"`
			P99       float64 `json:"p99_us"`
		}
		var report struct {
			Bare     row   `json:"bare_insert"`
			Requests []row `json:"requests"`
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		rows := append(report.Requests, report.Bare)
		if len(rows) != 3 || rows[0].AtATime != 1 || rows[1].AtATime != 8 {
			t.Fatalf("%s", out)
		}
		for _, r := range rows {
			if r.PerSecond <= 0 || r.Commits <= 0 || r.P50 <= 0 || r.P99 < r.P50 {
				t.Errorf("%+v", r)
			}
		}
		if lone := rows[0]; lone.Commits < 1.9*lone.PerSecond {
			t.Errorf("a lone request has fewer than two commits: %+v", lone)
		}
		if after := contents(t, dsn, dir); after != before {
			t.Errorf("there was %q, and now there is %q", before, after)
		}
		if code, out, errs := rig.Run(t, dir, "bench", "--store", dsn, "--duration", "20ms", "--requests", "2"); code != 0 || !strings.Contains(out, "What to expect") {
			t.Errorf("exit code %d\n%s%s", code, out, errs)
		}
	})
}

// contents names what is in a database, and in a directory.
func contents(t *testing.T, dsn, dir string) string {
	t.Helper()
	var names []string
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		names = append(names, f.Name())
	}
	if strings.HasPrefix(dsn, "postgres") {
		db, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close(t.Context())
		rows, _ := db.Query(t.Context(), `SELECT n.nspname || '.' || coalesce(c.relname, '') FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid
			WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' ORDER BY 1`)
		there, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, there...)
	}
	return strings.Join(names, " ")
}

// Behind a pooler that knows nothing of schemas the measurement would go to the store in use.
func TestBenchRefusesAPooler(t *testing.T) {
	t.Parallel()
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	direct := cluster.NewDatabase(t)
	dsn := pgtest.NewPooler(t, cluster).DSN(database(t, direct))
	before := contents(t, direct, t.TempDir())
	code, _, errs := rig.Run(t, t.TempDir(), "bench", "--store", dsn, "--duration", "20ms", "--requests", "1")
	if code != 4 || !strings.Contains(errs, "pooler") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	if after := contents(t, direct, t.TempDir()); after != before {
		t.Errorf("there was %q, and now there is %q", before, after)
	}
}

func TestBenchExitCodes(t *testing.T) {
	t.Parallel()
	for args, code := range map[string]int{
		"--requests 0": 2, "--requests x": 2, "--requests 5000": 2, "--duration 1ms": 2, "--duration 1h": 2, "--body -1": 2, "--body 9999999": 2, "more": 2,
		"--store nothing:x": 3, "--store postgres://127.0.0.1:9/x": 4, "--store sqlite:/nowhere/at/all.db": 4,
	} {
		if got, _, errs := rig.Run(t, t.TempDir(), append([]string{"bench"}, strings.Fields(args)...)...); got != code {
			t.Errorf("%s: exit code %d, want %d\n%s", args, got, code, errs)
		}
	}
}
