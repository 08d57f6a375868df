package main

import (
	"errors"
	"testing"
	"time"
)

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
