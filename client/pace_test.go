package client

import (
	"regexp"
	"testing"
	"time"
)

func TestJitterIsFullAndBounded(t *testing.T) {
	for _, x := range []struct {
		idle   int
		random float64
		want   time.Duration
	}{
		{1, 0, 0}, {1, 0.5, 100 * time.Millisecond}, {1, 1, 200 * time.Millisecond}, {2, 1, 400 * time.Millisecond}, {3, 0.25, 200 * time.Millisecond},
		{8, 1, 25600 * time.Millisecond}, {9, 1, 30 * time.Second}, {1000000, 0.5, 15 * time.Second},
	} {
		if got := jitter(200*time.Millisecond, x.idle, x.random); got != x.want {
			t.Errorf("after %d at %v: %v, want %v", x.idle, x.random, got, x.want)
		}
	}
}

// Fifty can be had at once, then five a second. Time and success fill it again, up to fifty.
func TestBudget(t *testing.T) {
	b := budget{perSecond: 5}
	now := time.Unix(0, 0)
	for i := range 50 {
		if wait := b.take(now); wait != 0 {
			t.Fatalf("number %d waits %v", i, wait)
		}
	}
	for i := range 5 {
		if wait, want := b.take(now), time.Duration(i+1)*200*time.Millisecond; wait.Round(time.Millisecond) != want {
			t.Errorf("then number %d waits %v, want %v", i, wait, want)
		}
	}
	b.refill()
	if wait := b.take(now); wait.Round(time.Millisecond) != time.Second {
		t.Errorf("after a success: %v", wait)
	}
	if now = now.Add(time.Second); b.take(now).Round(time.Millisecond) != 200*time.Millisecond {
		t.Error("a second gives five")
	}
	if now = now.Add(time.Hour); b.take(now) != 0 || b.spent != 1 {
		t.Errorf("after an hour %v are spent", b.spent)
	}
}

func TestKeysAreDatedUUIDs(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		key := NewKey()
		if !form.MatchString(key) || seen[key] {
			t.Fatalf("%q", key)
		}
		seen[key] = true
	}
	if key := newKey(time.UnixMilli(0x0123456789ab)); key[:13] != "01234567-89ab" {
		t.Errorf("%q is not of its date", key)
	}
}
