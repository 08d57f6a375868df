package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// A purge that fails may have removed something before, and others may have.
func TestAGatewayWhosePurgeFailsHearsWhatWasPurged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var store failingPurge
		j, err := startJanitor(t.Context(), &store, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, want := j.lastPurged(), store.purged; want.IsZero() || !got.Equal(want) {
			t.Errorf("the gateway knows of purges up to %v, want %v", got, want)
		}
		j.stop()
		if !store.bounded {
			t.Error("a purge may go on for ever")
		}
	})
}

// failingPurge is a store whose purges remove something and then fail.
type failingPurge struct {
	purged  time.Time
	bounded bool
}

func (s *failingPurge) Purge(ctx context.Context, _ int) (int, bool, error) {
	s.purged = time.Now()
	_, s.bounded = ctx.Deadline()
	return 0, false, errors.New("no space left on device")
}

func (s *failingPurge) Purged(context.Context) (time.Time, error) { return s.purged, nil }

func TestUntilNextPurge(t *testing.T) {
	for name, c := range map[string]struct {
		more bool
		err  error
		took time.Duration
		want time.Duration
	}{
		"nothing to remove":         {false, nil, time.Millisecond, purgeEvery},
		"there is more":             {true, nil, 20 * time.Millisecond, 60 * time.Millisecond},
		"there is more, and slowly": {true, nil, time.Hour, purgeEvery},
		"it failed":                 {true, errors.New("x"), time.Millisecond, purgeEvery},
	} {
		if got := untilNextPurge(c.more, c.err, c.took); got != c.want {
			t.Errorf("%s: rests %v, want %v", name, got, c.want)
		}
	}
}
