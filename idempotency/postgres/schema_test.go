package postgres

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency/storetest"
	"github.com/onceway/onceway/internal/pgtest"
)

// newDatabase returns the DSN of a database with the schema and nothing else.
func newDatabase(t testing.TB) string {
	t.Helper()
	dsn := pgtest.New(t)
	migrate(t, dsn)
	return dsn
}

func migrate(t testing.TB, dsn string) {
	t.Helper()
	names, err := filepath.Glob("../../migrations/postgres/*.up.sql")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d migrations, error %v", len(names), err)
	}
	conn, err := pgx.Connect(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(context.Background(), string(text), pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

func openStore(t testing.TB, dsn string) *Store {
	t.Helper()
	s, err := Open(context.Background(), dsn, Options{StoreTimeout: 10 * time.Second, Lease: storetest.Lease, Retention: storetest.Keep, Grace: storetest.Grace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// openAdmin returns connections for looking behind the store's back.
func openAdmin(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

func execute(t testing.TB, pool *pgxpool.Pool, sql string, args ...any) int64 {
	t.Helper()
	tag, err := pool.Exec(context.Background(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return tag.RowsAffected()
}

func queryOne[T any](t testing.TB, pool *pgxpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(context.Background(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// Rows that no move can make are refused, whoever writes them.
func TestImpossibleRowsAreRefused(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	executing := uuid(apply(t, s, newClaims(1, owner))[0].Record.ID)
	completed := uuid(apply(t, s, completions(apply(t, s, newClaims(1, owner)), []byte("x")))[0].Record.ID)
	for _, c := range []struct {
		id  pgtype.UUID
		set string
	}{
		{executing, "state = 0"}, {executing, "state = 7, settled_at = now()"}, {executing, "revision = 0"},
		{executing, "key = ''"}, {executing, "key = repeat('x', 256)"}, {executing, "fingerprint = ''"}, {executing, "trace = 'x'"},
		{executing, "attempt = 0"}, {executing, "attempt = -1"}, {executing, "attempt_id = NULL"}, {executing, "owner = NULL"}, {executing, "deadline = NULL"},
		{executing, "state = 3"}, {executing, "state = 4, settled_at = now()"}, {executing, "settled_at = now()"}, {executing, "unknown_since = now()"},
		{executing, "state = 2, settled_at = now()"}, {completed, "body_expires = NULL"}, {completed, "state = 3"},
		{completed, "response_status = NULL"}, {completed, "response_length = NULL"}, {completed, "response_digest = NULL"},
		{completed, "response_status = 99"}, {completed, "response_status = 1000"}, {completed, "response_length = -1"}, {completed, "response_digest = 'x'"},
	} {
		_, err := admin.Exec(context.Background(), "UPDATE requests SET "+c.set+" WHERE id = $1", c.id)
		var e *pgconn.PgError
		if !errors.As(err, &e) || e.Code != "23514" && e.Code != "23502" {
			t.Errorf("%s: %v", c.set, err)
		}
	}
}
