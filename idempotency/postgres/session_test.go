package postgres

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/internal/pgtest"
)

// The settings of the usual statements hold on every connection, also where batches do without their
// own, and a session that would not wait for its commits is made to.
func TestSessionSettings(t *testing.T) {
	dsn := newDatabase(t)
	for given, want := range map[string]string{"off": "on", "local": "local", "remote_apply": "remote_apply"} {
		s := openStore(t, withParameter(dsn, "synchronous_commit="+given))
		for _, pool := range []*pgxpool.Pool{s.claims, s.asks, s.outcomes} {
			conn, err := pool.Acquire(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if conn.Conn().PgConn().CustomData()[direct] == nil {
				t.Error("a connection without a pooler in between is not recognised")
			}
			for name, want := range map[string]string{
				"synchronous_commit": want, "lock_timeout": "250ms", "plan_cache_mode": "force_generic_plan", "enable_seqscan": "off",
			} {
				var got string
				if err := conn.QueryRow(context.Background(), "SHOW "+name).Scan(&got); err != nil || got != want {
					t.Errorf("%s is %q (%v), want %q", name, got, err, want)
				}
			}
			conn.Release()
		}
	}
}

// strange are defaults with which a server serves nobody here, and all that stands behind the exec modes that read text.
const strange = `ALTER DATABASE %[1]s SET default_transaction_isolation = 'serializable';
	ALTER DATABASE %[1]s SET datestyle = 'German, DMY';
	ALTER DATABASE %[1]s SET bytea_output = 'escape'`

func makeStrange(t *testing.T, dsn string) (database string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	database = strings.TrimPrefix(u.Path, "/")
	for sql := range strings.SplitSeq(strings.ReplaceAll(strange, "%[1]s", pgx.Identifier{database}.Sanitize()), ";") {
		execute(t, openAdmin(t, dsn), sql)
	}
	return database
}

// Whatever a database or a role has as its defaults, a session of our own has what we need.
func TestStrangeDefaults(t *testing.T) {
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			dsn := newDatabase(t)
			makeStrange(t, dsn)
			s := openStore(t, withParameter(dsn, "default_query_exec_mode="+mode))
			for _, pool := range []*pgxpool.Pool{s.claims, s.asks, s.outcomes, s.leases} {
				var got string
				if err := pool.QueryRow(context.Background(), "SHOW transaction_isolation").Scan(&got); err != nil || got != "read committed" {
					t.Errorf("transactions are %q, error %v", got, err)
				}
			}
			claims := newClaims(3, newOwner(t, s))
			answers := completions(apply(t, s, claims), []byte("\x00x\\"))
			apply(t, s, answers)
			for _, r := range apply(t, s, answers) {
				if r.Record.Response == nil || string(r.Record.Response.Body) != "\x00x\\" {
					t.Errorf("the answer reads %+v", r.Record.Response)
				}
			}
		})
	}
}

// Behind a pooler nobody can tell for which session, so it is refused, in words that say what to do.
func TestStrangeDefaultsBehindAPooler(t *testing.T) {
	cluster := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"fsync": "off"}})
	dsn := cluster.NewDatabase(t)
	migrate(t, dsn)
	pooler := pgtest.NewPooler(t, cluster)
	behind := pooler.DSN(makeStrange(t, dsn))
	s, err := Open(context.Background(), behind, Options{})
	if err == nil {
		s.Close()
		t.Fatal("it was opened")
	}
	for _, want := range []string{"default_transaction_isolation = serializable", "datestyle = German, DMY", "bytea_output = escape", "ALTER ROLE"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}
