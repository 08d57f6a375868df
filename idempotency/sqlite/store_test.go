package sqlite_test

import (
	"database/sql"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/sqlite"
	"github.com/onceway/onceway/idempotency/storetest"
	"github.com/onceway/onceway/migrations"
	_ "modernc.org/sqlite"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		path := migrated(t)
		var offset atomic.Int64
		s := open(t, path, sqlite.Options{
			Lease: storetest.Lease,
			Grace: storetest.Grace,
			Clock: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) },
		})
		raw := rawFile(t, path)
		return storetest.Harness{
			Store:   s,
			Advance: func(_ *testing.T, d time.Duration) { offset.Add(int64(d)) },
			Damages: map[string]func(*testing.T, idempotency.OperationID){
				"body":   damage(raw, `UPDATE payloads SET body = zeroblob(length(body)) WHERE seq = (SELECT seq FROM requests WHERE id = ?)`),
				"fields": damage(raw, `UPDATE payloads SET fields = CAST(fields || x'00' AS BLOB) WHERE seq = (SELECT seq FROM requests WHERE id = ?)`),
				"status": damage(raw, `UPDATE requests SET status = 500 WHERE id = ?`),
				"digest": damage(raw, `UPDATE requests SET digest = zeroblob(32) WHERE id = ?`),
				"lost":   damage(raw, `DELETE FROM payloads WHERE seq = (SELECT seq FROM requests WHERE id = ?)`),
			},
			Evidence:  func(t *testing.T, id idempotency.OperationID) []idempotency.Evidence { return evidence(t, raw, id) },
			LockLease: true,
		}
	})
}

// migrated returns the path of an empty store.
func migrated(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "onceway 100%.db")
	if err := migrations.Up(t.Context(), "sqlite:"+path); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string, o sqlite.Options) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return s
}

// rawFile opens the file behind the store's back.
func rawFile(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Dir(path)+"/onceway%20100%25.db?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func damage(db *sql.DB, statement string) func(*testing.T, idempotency.OperationID) {
	return func(t *testing.T, id idempotency.OperationID) {
		t.Helper()
		r, err := db.ExecContext(t.Context(), statement, id[:])
		if err != nil {
			t.Fatal(err)
		}
		if n, _ := r.RowsAffected(); n != 1 {
			t.Fatalf("damaged %d rows", n)
		}
	}
}

func evidence(t *testing.T, db *sql.DB, id idempotency.OperationID) (all []idempotency.Evidence) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `
		SELECT attempt, kind, n, by, text, at, status, length, digest, fields, body, seal FROM evidence WHERE id = ?`, id[:])
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		e := idempotency.Evidence{Operation: id}
		var attempt, digest, fields, body, seal []byte
		var at int64
		var status, length sql.NullInt64
		if err := rows.Scan(&attempt, &e.Kind, &e.N, &e.By, &e.Text, &at, &status, &length, &digest, &fields, &body, &seal); err != nil {
			t.Fatal(err)
		}
		e.Attempt, e.At = idempotency.AttemptID(attempt), time.UnixMicro(at)
		if status.Valid {
			e.Response = &idempotency.Response{Status: int(status.Int64), Length: length.Int64, Digest: [32]byte(digest)}
			if seal != nil {
				if err := e.Response.Unseal(fields, body, [32]byte(seal)); err != nil {
					t.Error(err)
				}
			}
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
