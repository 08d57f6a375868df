package main

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// janitor removes what has expired, a little at a time.
type janitor struct {
	cancel context.CancelFunc
	done   chan struct{}
	purged atomic.Pointer[time.Time] // what the store said last
}

const (
	purgeEvery  = 10 * time.Second
	purgeAtMax  = 500              // records in one go: about as much as the store takes in one transaction
	purgeFor    = 30 * time.Second // what has been purged is looked at behind it, once a minute at least
	choresEvery = time.Minute      // of what need not be looked at as often
)

// startJanitor returns once it knows what has been purged: requests are judged by that from the first one on.
func startJanitor(starting context.Context, store idempotency.RetentionStore, log *slog.Logger) (*janitor, error) {
	ctx, cancel := context.WithCancel(context.Background())
	j := &janitor{cancel: cancel, done: make(chan struct{})}
	if err := j.look(starting, store); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(j.done)
		for ctx.Err() == nil {
			began := time.Now()
			more, err := j.purge(ctx, store)
			if err != nil && ctx.Err() == nil {
				log.Warn("purge", "error", err.Error())
			}
			pause(ctx, untilNextPurge(more, err, time.Since(began)))
		}
	}()
	return j, nil
}

// purge also looks what has been purged where it fails: by itself, before it did, or by others.
func (j *janitor) purge(ctx context.Context, store idempotency.RetentionStore) (more bool, err error) {
	within, cancel := context.WithTimeout(ctx, purgeFor)
	defer cancel()
	_, more, err = store.Purge(within, purgeAtMax)
	return more, errors.Join(err, j.look(ctx, store))
}

func (j *janitor) look(ctx context.Context, store idempotency.RetentionStore) error {
	last, err := store.Purged(ctx)
	if err == nil {
		j.purged.Store(&last)
	}
	return err
}

// lastPurged is what [idempotency.RetentionStore].Purged said last.
func (j *janitor) lastPurged() time.Time { return *j.purged.Load() }

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
