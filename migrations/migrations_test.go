package migrations_test

import (
	"database/sql"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/migrations"
)

// store is an empty one, and a way to look at it behind the package's back.
type store struct {
	dsn string
	raw func(t *testing.T) *sql.DB
}

func stores(t *testing.T) map[string]store {
	path := filepath.Join(t.TempDir(), "a #?%.db")
	pg := pgtest.New(t)
	return map[string]store{
		"sqlite": {"sqlite:" + path, func(t *testing.T) *sql.DB {
			return opened(t, "sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?_pragma=busy_timeout(5000)")
		}},
		"postgres": {withParameters(pg), func(t *testing.T) *sql.DB { return opened(t, "pgx", pg) }},
	}
}

// withParameters adds parameters that only a pool understands.
func withParameters(dsn string) string {
	mark := "?"
	if strings.Contains(dsn, "?") {
		mark = "&"
	}
	return dsn + mark + "pool_max_conns=7&default_query_exec_mode=exec"
}

func opened(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func execute(t *testing.T, db *sql.DB, statement string) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func reason(t *testing.T, dsn string) migrations.Reason {
	t.Helper()
	err := migrations.Check(t.Context(), dsn)
	if err == nil {
		return 0
	}
	var s *migrations.SchemaError
	if !errors.As(err, &s) {
		t.Fatal("check:", err)
	}
	return s.Reason
}

func TestUpDownUp(t *testing.T) {
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			v, err := migrations.Status(t.Context(), s.dsn)
			if err != nil || v.Current != 0 || v.Latest == 0 || v.Dirty {
				t.Fatalf("status of an empty store: %+v, %v", v, err)
			}
			if r := reason(t, s.dsn); r != migrations.Empty {
				t.Errorf("check of an empty store says %v", r)
			}
			for range 2 {
				for range 2 { // the second does nothing
					if err := migrations.Up(t.Context(), s.dsn); err != nil {
						t.Fatal("up:", err)
					}
				}
				if r := reason(t, s.dsn); r != 0 {
					t.Errorf("after up, check says %v", r)
				}
				db := s.raw(t)
				execute(t, db, `SELECT id, state FROM requests WHERE false`)
				if err := migrations.Down(t.Context(), s.dsn, int(v.Latest)+1); err == nil {
					t.Error("more steps down than there are were not refused")
				}
				execute(t, db, `SELECT id FROM requests WHERE false`)
				for left := v.Latest; left > 0; left-- {
					if err := migrations.Down(t.Context(), s.dsn, 1); err != nil {
						t.Fatal("down:", err)
					}
					want := migrations.Older
					if left == 1 {
						want = migrations.Empty
					}
					if r := reason(t, s.dsn); r != want {
						t.Errorf("after down to %d, check says %v, want %v", left-1, r, want)
					}
				}
				if _, err := db.ExecContext(t.Context(), `SELECT id FROM requests`); err == nil {
					t.Error("the table is still there")
				}
				if err := migrations.Up(t.Context(), s.dsn); err != nil {
					t.Fatal("up again:", err)
				}
				if err := migrations.Down(t.Context(), s.dsn, int(v.Latest)); err != nil {
					t.Fatal("all the way down:", err)
				}
			}
			if err := migrations.Down(t.Context(), s.dsn, 0); err == nil {
				t.Error("zero steps were not refused")
			}
		})
	}
}

func TestSchemaThatDoesNotFit(t *testing.T) {
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			if err := migrations.Up(t.Context(), s.dsn); err != nil {
				t.Fatal(err)
			}
			db := s.raw(t)
			for _, broken := range []struct {
				statement string
				want      migrations.Reason
				says      string
			}{
				{`UPDATE schema_migrations SET version = 999`, migrations.Newer, "newer onceway"},
				{`UPDATE schema_migrations SET version = 1, dirty = true`, migrations.Dirty, "by hand"},
			} {
				execute(t, db, broken.statement)
				if r := reason(t, s.dsn); r != broken.want {
					t.Errorf("check says %v, want %v", r, broken.want)
				}
				for verb, err := range map[string]error{
					"up":    migrations.Up(t.Context(), s.dsn),
					"down":  migrations.Down(t.Context(), s.dsn, 1),
					"check": migrations.Check(t.Context(), s.dsn),
				} {
					var e *migrations.SchemaError
					if !errors.As(err, &e) || e.Reason != broken.want || !strings.Contains(err.Error(), broken.says) {
						t.Errorf("%s: %v", verb, err)
					}
				}
			}
		})
	}
}

// Gateways that start together with --migrate must all come up.
func TestUpAtOnce(t *testing.T) {
	dsn := withParameters(pgtest.New(t))
	var wg sync.WaitGroup
	errs := make([]error, 4)
	for i := range errs {
		wg.Go(func() { errs[i] = migrations.Up(t.Context(), dsn) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if r := reason(t, dsn); r != 0 {
		t.Errorf("afterwards, check says %v", r)
	}
}

// A schema that somebody is migrating looks dirty, and is not.
func TestUpWaitsForAnothersMigration(t *testing.T) {
	dsn := pgtest.New(t)
	if err := migrations.Up(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	other, err := opened(t, "pgx", dsn).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	run := func(sql string) {
		t.Helper()
		if _, err := other.ExecContext(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	run(`SELECT pg_advisory_lock(hashtextextended('onceway migrates', 0))`)
	run(`UPDATE schema_migrations SET dirty = true`)
	done := make(chan error, 1)
	go func() { done <- migrations.Up(t.Context(), dsn) }()
	for waiting := false; !waiting; {
		select {
		case err := <-done:
			t.Fatalf("it did not wait: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		if err := other.QueryRowContext(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	run(`UPDATE schema_migrations SET dirty = false`)
	run(`SELECT pg_advisory_unlock_all()`)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Looking must not create anything: a role without the right to create tables can serve.
func TestStatusWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent.db")
	if _, err := migrations.Status(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	if found, _ := filepath.Glob(path + "*"); len(found) != 0 {
		t.Errorf("status created %v", found)
	}
	dsn := pgtest.New(t)
	if _, err := migrations.Status(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := opened(t, "pgx", dsn).QueryRowContext(t.Context(), `SELECT count(*) FROM pg_tables WHERE schemaname = 'public'`).Scan(&n); err != nil || n != 0 {
		t.Errorf("status created %d tables, %v", n, err)
	}
}

func TestErrorsHideThePassword(t *testing.T) {
	const password = "s3cret-pass"
	for _, dsn := range []string{
		"postgres://u:" + password + "@127.0.0.1:1/db",
		"postgres://u:" + password + "@127.0.0.1:1/db?pool_max_conns=none",
		"postgres://u:" + password + "@127.0.0.1:none/db",
		"postgres://u:" + password + "%zz@127.0.0.1:1/db",
		"postgres://u:x@127.0.0.1:1/db?connect_timeout=" + password,
		"postgres://127.0.0.1:1/db?password=" + password,
		"postgresql://u:" + password + "@[::1/db",
		"mysql://u:" + password + "@127.0.0.1:1/db",
		password,
		"",
		"sqlite:",
	} {
		for verb, err := range map[string]error{
			"up":    migrations.Up(t.Context(), dsn),
			"down":  migrations.Down(t.Context(), dsn, 1),
			"check": migrations.Check(t.Context(), dsn),
		} {
			if err == nil {
				t.Errorf("%s of %q gave no error", verb, dsn)
			} else if strings.Contains(err.Error(), password) {
				t.Errorf("%s of %q: %v", verb, dsn, err)
			}
		}
	}
}
