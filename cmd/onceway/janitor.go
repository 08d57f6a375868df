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
	purgeEvery = time.Minute
	purgeAtMax = 2000 // records in one go; a full one is followed by the next at once
)

func startJanitor(store idempotency.RetentionStore, log *slog.Logger) *janitor {
	ctx, cancel := context.WithCancel(context.Background())
	j := &janitor{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(j.done)
		for ctx.Err() == nil {
			n, err := store.Purge(ctx, purgeAtMax)
			if err != nil && ctx.Err() == nil {
				log.Warn("purge", "error", err.Error())
			}
			if err != nil || n < purgeAtMax {
				pause(ctx, purgeEvery)
			}
		}
	}()
	return j
}

func (j *janitor) stop() {
	j.cancel()
	<-j.done
}
