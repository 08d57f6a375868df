package postgres

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
)

// Guards against indexes and padding that make the one update of each row leave its page: measured,
// that cost 30 % more log.
func TestCompletionsStayOnTheirPage(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	const batches, size = 40, 50
	for range batches {
		apply(t, s, completions(apply(t, s, newClaims(size, owner)), []byte("x")))
	}
	s.Close() // a backend that ends has reported its statistics
	var updated, hot int64
	eventually(t, func() bool {
		err := admin.QueryRow(context.Background(),
			`SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'requests'`).Scan(&updated, &hot)
		return err == nil && updated >= batches*size
	})
	if hot < updated*98/100 {
		t.Errorf("%d of %d updates stayed on their page", hot, updated)
	}
}

// Guards against plans that were made for an empty table and are kept while it grows.
func TestAGrowingTableIsSearchedByIndex(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	execute(t, admin, "ALTER TABLE requests SET (autovacuum_enabled = off)")
	owner := newOwner(t, s)
	for range 30 {
		results := apply(t, s, newClaims(50, owner))
		var ids []idempotency.OperationID
		for _, r := range results {
			ids = append(ids, r.Record.ID)
		}
		if _, err := s.Find(context.Background(), ids); err != nil {
			t.Fatal(err)
		}
		apply(t, s, completions(results, []byte("x")))
		if _, err := s.Find(context.Background(), ids); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	var scans, reads int64
	eventually(t, func() bool {
		err := admin.QueryRow(context.Background(), `SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'requests'`).Scan(&scans, &reads)
		return err == nil && reads > 100
	})
	// Making each of the indexes read the empty table once.
	if built := queryOne[int64](t, admin, `SELECT count(*) FROM pg_indexes WHERE tablename = 'requests'`); scans > built {
		t.Errorf("requests was read from end to end %d times", scans-built)
	}
	if n := queryOne[int64](t, admin, `SELECT COALESCE(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes WHERE relname = 'requests'`); n > 30*50*20 {
		t.Errorf("%d index entries were read for %d records", n, 30*50)
	}
}

// Every statement of a batch must have a plan that touches single operations, whatever it is planned on.
func TestPlans(t *testing.T) {
	dsn := newDatabase(t)
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	usual := map[string]string{
		"read with payloads": readWithPayloads, "claim": claimIfUnseen, "complete in time": completeIfOwnInTime,
	}
	all := map[string]string{
		"lock": lockRows, "read": readRecords, "claim again": claimIfNotExecutedOrResend, "complete": completeIfOwnOrEarlier,
		"release": releaseIfOwn, "doubt": doubtIfOwnExecuting, "resolve": resolveIfUnknown, "note": noteIfUnknown,
		"cancel": cancelIfUnseen, "cancel again": cancelIfNotExecuted, "acknowledge": acknowledgeIfCompleted, "import": importIfUnseen, "log": logChanges,
	}
	maps.Copy(all, usual)
	t.Run("usual", func(t *testing.T) { plan(t, conn, settingsWithoutJoins, usual) })
	t.Run("all", func(t *testing.T) { plan(t, conn, settings, all) })
}

// plan fails if a statement has a plan, under these settings, that reads something from end to end.
func plan(t *testing.T, conn *pgx.Conn, settings string, statements map[string]string) {
	ctx := context.Background()
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, settings); err != nil {
		t.Fatal(err)
	}
	for name, sql := range statements {
		t.Run(name, func(t *testing.T) {
			sd, err := tx.Prepare(ctx, t.Name(), sql)
			if err != nil {
				t.Fatal(err)
			}
			nulls := strings.TrimSuffix(strings.Repeat("NULL,", len(sd.ParamOIDs)), ",")
			rows, err := tx.Query(ctx, fmt.Sprintf("EXPLAIN (COSTS OFF) EXECUTE %s (%s)", pgx.Identifier{sd.Name}.Sanitize(), nulls), pgx.QueryExecModeSimpleProtocol)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil {
				t.Fatal(err)
			}
			text := strings.Join(plan, "\n")
			if strings.Contains(text, "Seq Scan") {
				t.Errorf("reads a table from end to end:\n%s", text)
			}
			for i, line := range plan {
				if strings.Contains(line, "Scan using") || strings.Contains(line, "Bitmap Index Scan") {
					if i+1 == len(plan) || !strings.Contains(plan[i+1], "Index Cond") {
						t.Errorf("reads an index from end to end:\n%s", text)
					}
				}
			}
		})
	}
}

// What has expired is removed by where it lies, and not searched for by id.
func TestExpiredRecordsAreFoundWhereTheyLie(t *testing.T) {
	sql := strings.NewReplacer("$1::uuid[]", "ARRAY[gen_random_uuid(), gen_random_uuid()]", "$2::text[]", `'{"(0,1)","(7,2)"}'::text[]`, "$3::bigint", "1000").Replace(purgeRecords)
	if text := planOfSweep(t, sql); !strings.Contains(text, "Tid Scan on requests") {
		t.Errorf("plan:\n%s", text)
	}
}

// What is due for a probe is found by its own index, whatever else the table has, and in its order.
func TestProbesAreFoundByTheirIndex(t *testing.T) {
	sql := strings.NewReplacer("$1::text[]", "'{a,b}'::text[]", "$2::integer", "5", "$3::bigint", "1000").Replace(takeProbes)
	text := planOfSweep(t, sql)
	if !strings.Contains(text, "Index Scan using requests_probe_due") || !strings.Contains(text, "Index Cond: ((route = m.route) AND (GREATEST(") ||
		strings.Contains(text, "Sort") || strings.Contains(text, "Seq Scan") {
		t.Errorf("plan:\n%s", text)
	}
}

// planOfSweep returns the plan of a statement of the sweeps, on an empty database.
func planOfSweep(t *testing.T, sql string) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, newDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, transactionSettings, "5000"); err != nil {
		t.Fatal(err)
	}
	rows, err := tx.Query(ctx, "EXPLAIN (COSTS OFF) "+sql, pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}
