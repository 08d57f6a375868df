package postgres

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
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
