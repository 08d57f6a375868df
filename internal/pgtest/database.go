package pgtest

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// shared is the one cluster of a test process. It runs with fsync off: its tests are about answers,
// not about power failures, and nothing survives the process anyway. Autovacuum is off, which comes when it likes, locks
// tables, and has transactions of its own.
var shared = sync.OnceValues(func() (*Cluster, error) {
	c, err := create(Config{Settings: map[string]string{"fsync": "off", "autovacuum": "off", "max_connections": "300"}})
	if err != nil {
		return nil, err
	}
	return c, c.start()
})

// New returns the DSN of a fresh, empty database, which is dropped at the end of the test. Its server
// is one cluster per test process, without fsync, or the one that ONCEWAY_TEST_POSTGRES points to.
// Without any server the test fails.
func New(t testing.TB) string {
	t.Helper()
	if dsn := os.Getenv("ONCEWAY_TEST_POSTGRES"); dsn != "" {
		return withDatabase(dsn, newDatabase(t, dsn))
	}
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c.NewDatabase(t)
}

func newDatabase(t testing.TB, admin string) (name string) {
	t.Helper()
	name = "onceway_test_" + strings.ToLower(rand.Text()[:16])
	execute(t, admin, "CREATE DATABASE "+name)
	t.Cleanup(func() { execute(t, admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	return name
}

func execute(t testing.TB, dsn, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Error(err)
	}
}

// withDatabase returns dsn, in either of its two forms, with another database.
func withDatabase(dsn, name string) string {
	if u, err := url.Parse(dsn); err == nil && strings.HasPrefix(u.Scheme, "postgres") {
		u.Path = "/" + name
		q := u.Query()
		q.Del("dbname")
		q.Del("database")
		u.RawQuery = q.Encode()
		return u.String()
	}
	return dsn + " dbname=" + name
}
