package postgres

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
	"github.com/onceway/onceway/internal/pgtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Harness { return harness(t, newDatabase(t)) })
}

// A pooler in transaction mode needs a mode without prepared statements: all values travel as text,
// their types guessed from Go's.
func TestConformanceWithoutPreparedStatements(t *testing.T) {
	t.Parallel()
	// Beside the suite above, so with a server of its own: transactions in another database hold a feed up.
	cluster := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"fsync": "off", "max_connections": "300"}})
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		dsn := cluster.NewDatabase(t)
		migrate(t, dsn)
		return harness(t, withParameter(dsn, "default_query_exec_mode=exec"))
	})
}

func withParameter(dsn, parameter string) string {
	if strings.Contains(dsn, "?") {
		return dsn + "&" + parameter
	}
	return dsn + "?" + parameter
}

func harness(t *testing.T, dsn string) storetest.Harness {
	admin := openAdmin(t, dsn)
	return storetest.Harness{
		Store:   openStore(t, dsn),
		Advance: func(t *testing.T, d time.Duration) { advance(t, admin, d) },
		Evidence: func(t *testing.T, id idempotency.OperationID) []idempotency.Evidence {
			return readEvidence(t, admin, id)
		},
		Damages: map[string]func(*testing.T, idempotency.OperationID){
			"body":           damage(admin, "UPDATE payloads SET body = set_byte(body, 0, get_byte(body, 0) # 1) WHERE id = $1"),
			"shorter body":   damage(admin, "UPDATE payloads SET body = substr(body, 2) WHERE id = $1"),
			"fields":         damage(admin, "UPDATE payloads SET fields = set_byte(fields, 1, get_byte(fields, 1) # 1) WHERE id = $1"),
			"seal":           damage(admin, "UPDATE payloads SET seal = set_byte(seal, 31, get_byte(seal, 31) # 1) WHERE id = $1"),
			"status":         damage(admin, "UPDATE requests SET response_status = 299 WHERE id = $1"),
			"digest":         damage(admin, "UPDATE requests SET response_digest = set_byte(response_digest, 0, get_byte(response_digest, 0) # 1) WHERE id = $1"),
			"lost body":      damage(admin, "DELETE FROM payloads WHERE id = $1"),
			"lost partition": damage(admin, "UPDATE payloads SET day = day + 1000 WHERE id = $1"),
		},
		Second: func(t *testing.T) storetest.Store { return openStore(t, dsn) },
	}
}

func damage(admin *pgxpool.Pool, sql string) func(*testing.T, idempotency.OperationID) {
	return func(t *testing.T, id idempotency.OperationID) {
		if n := execute(t, admin, sql, uuid(id)); n != 1 {
			t.Fatalf("damaged %d rows", n)
		}
	}
}

// advance makes everything older.
func advance(t *testing.T, admin *pgxpool.Pool, d time.Duration) {
	for _, sql := range []string{
		`UPDATE requests SET first_seen = first_seen - $1::interval, claimed_at = claimed_at - $1, deadline = deadline - $1,
			settled_at = settled_at - $1, unknown_since = unknown_since - $1, probe_due = probe_due - $1, resolved_at = resolved_at - $1,
			expires = expires - $1, body_expires = body_expires - $1`,
		`UPDATE evidence SET at = at - $1::interval`,
		`UPDATE instances SET lease_until = lease_until - $1::interval, started_at = started_at - $1, spool_oldest = spool_oldest - $1`,
		`UPDATE walks SET claimed_at = claimed_at - $1::interval`,
		`UPDATE changes SET at = at - $1::interval`,
		`UPDATE feed SET since = since - $1::interval`,
	} {
		execute(t, admin, sql, d)
	}
	execute(t, admin, `UPDATE payloads p SET day = (r.body_expires AT TIME ZONE 'UTC')::date FROM requests r
		WHERE r.id = p.id AND r.state = 2 AND p.day < now() + interval '900 days'`)
}

func readEvidence(t *testing.T, admin *pgxpool.Pool, id idempotency.OperationID) []idempotency.Evidence {
	rows, err := admin.Query(context.Background(), `SELECT attempt_id, n, kind, by, text, at,
		response_status, response_length, response_digest, fields, body, seal FROM evidence WHERE operation = $1`, uuid(id))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []idempotency.Evidence
	for rows.Next() {
		e := idempotency.Evidence{Operation: id}
		var attempt [16]byte
		var kind string
		var status *int
		var length *int64
		var digest, fields, body, seal []byte
		if err := rows.Scan(&attempt, &e.N, &kind, &e.By, &e.Text, &e.At, &status, &length, &digest, &fields, &body, &seal); err != nil {
			t.Fatal(err)
		}
		e.Attempt, e.Kind = attempt, idempotency.EvidenceKind(kind)
		if status != nil {
			e.Response = &idempotency.Response{Status: *status, Length: *length, Digest: [32]byte(digest)}
		}
		if seal != nil {
			if err := e.Response.Unseal(fields, body, [32]byte(seal)); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
