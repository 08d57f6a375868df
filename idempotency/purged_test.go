package idempotency_test

import (
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func TestPurgedKeys(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct{ purged, want time.Duration }{
		"as ever":                {-40 * 24 * time.Hour, -39 * 24 * time.Hour},
		"a day ago":              {-24 * time.Hour, 0},
		"by a clock that ran on": {-time.Minute, -time.Minute}, // what comes now is not refused
	} {
		if got := idempotency.PurgedKeys(now.Add(c.purged), now); !got.Equal(now.Add(c.want)) {
			t.Errorf("%s: up to %v, want %v", name, got, now.Add(c.want))
		}
	}
	for name, purged := range map[string]time.Time{"nothing was purged": {}, "claimed by a clock that was ahead": now.Add(time.Hour)} {
		if got := idempotency.PurgedKeys(purged, now); !got.IsZero() {
			t.Errorf("%s: up to %v", name, got)
		}
	}
}
