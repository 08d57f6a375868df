package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// A key that was executed, and whose record is gone because it was kept for an hour only, is not executed again by a
// gateway that keeps records for longer: neither by one that ran meanwhile nor after a change of the configuration.
func TestPurgedUnderAShorterRetention(t *testing.T) {
	t.Parallel()
	rig.EachStore(t, func(t *testing.T, dsn string) {
		b, c := ledger.Start(t), newClock(t)
		gateway := func(retention string) *rig.Gateway {
			return rig.New(t, rig.Config{
				Store: dsn, Targets: []string{b.URL()}, Extra: "retention: " + retention,
				Tags: "onceway_testclock", Env: []string{"ONCEWAY_TEST_CLOCK=" + c.path},
			})
		}
		short, long := gateway("{response: 1h, key: 1h}"), gateway("{response: 24h, key: 720h}")
		executedAt := time.Now()
		shared := !strings.HasPrefix(dsn, "sqlite:")
		if shared {
			executedAt = executedAt.Add(-48 * time.Hour) // instead of the database's clock
		}
		r := rig.Request{Key: uuidv7(executedAt), Body: "a"}
		if shared {
			long.Start(t)
			long.Do(t, r).Is(t, executed)
			long.Kill(t)
			if _, err := connect(t, dsn).Exec(t.Context(), `UPDATE requests SET first_seen = first_seen - interval '48h',
				claimed_at = claimed_at - interval '48h', deadline = deadline - interval '48h', settled_at = settled_at - interval '48h',
				body_expires = now() - interval '47h', expires = now() - interval '47h'`); err != nil {
				t.Fatal(err)
			}
			long.Start(t)
		} else {
			short.Start(t)
			short.Do(t, r).Is(t, executed)
			short.Kill(t)
			c.set(t, "48h")
		}
		short.Start(t)
		short.Until(t, "the record is purged", func() bool { return short.Get(t, recordPath(r.Key)).Status == 404 })
		short.Do(t, r).Is(t, keyTooOld)
		if shared {
			long.Until(t, "the other gateway knows", func() bool { return long.Do(t, cancellation(uuidv7(executedAt))).Status == 412 })
			long.Do(t, r).Is(t, keyTooOld)
			long.Kill(t)
		}
		short.Kill(t)
		long.Start(t)
		long.Do(t, r).Is(t, keyTooOld)
		long.Do(t, cancellation(r.Key)).Is(t, keyTooOld)
		wantEffects(t, b, r.Key, 1)
		long.Do(t, rig.Request{Key: uuidv7(executedAt.Add(47 * time.Hour)), Body: "a"}).Is(t, executed)
	})
}
