package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// janitor removes what has expired, a little at a time.
type janitor struct {
	cancel context.CancelFunc
	done   chan struct{}
}

const (
	purgeEvery  = 10 * time.Second
	purgeAtMax  = 500         // records in one go: about as much as the store takes in one transaction
	choresEvery = time.Minute // of what need not be looked at as often
)

func startJanitor(store idempotency.RetentionStore, log *slog.Logger) *janitor {
	ctx, cancel := context.WithCancel(context.Background())
	j := &janitor{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(j.done)
		for ctx.Err() == nil {
			began := time.Now()
			_, more, err := store.Purge(ctx, purgeAtMax)
			if err != nil && ctx.Err() == nil {
				log.Warn("purge", "error", err.Error())
			}
			pause(ctx, untilNextPurge(more, err, time.Since(began)))
		}
	}()
	return j
}

// untilNextPurge returns how long to rest after a purge that took so long. While there is more to remove it rests
// three times as long as it worked: whatever has piled up, it takes a quarter of one connection to the store. The
// busier the store is, the longer both become.
func untilNextPurge(more bool, err error, took time.Duration) time.Duration {
	if err != nil || !more {
		return purgeEvery
	}
	return min(3*took, purgeEvery)
}

func (j *janitor) stop() {
	j.cancel()
	<-j.done
}
