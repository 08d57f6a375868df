package main

import (
	"errors"
	"testing"
	"time"
)

func TestUntilNextPurge(t *testing.T) {
	for name, c := range map[string]struct {
		removed int
		err     error
		took    time.Duration
		want    time.Duration
	}{
		"nothing to remove":         {0, nil, time.Millisecond, purgeEvery},
		"not as much as it may":     {purgeAtMax - 1, nil, time.Millisecond, purgeEvery},
		"there is more":             {purgeAtMax, nil, 20 * time.Millisecond, 60 * time.Millisecond},
		"there is more, and slowly": {purgeAtMax, nil, time.Hour, purgeEvery},
		"it failed":                 {purgeAtMax, errors.New("x"), time.Millisecond, purgeEvery},
	} {
		if got := untilNextPurge(c.removed, c.err, c.took); got != c.want {
			t.Errorf("%s: rests %v, want %v", name, got, c.want)
		}
	}
}
