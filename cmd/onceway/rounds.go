package main

import (
	"context"
	"log/slog"
	"time"
)

// rounds returns what is done every second beside the renewals of the lease.
func (s *server) rounds() func(context.Context) {
	var reconciled time.Time
	return func(ctx context.Context) {
		if s.spool != nil {
			s.noteSpool(ctx) // first: others decide by it, and what follows may take all of the round's time
		}
		if err := s.engine.Recover(ctx); err != nil && ctx.Err() == nil {
			s.log.Warn("bring back what the store may have lost", "error", err.Error())
		}
		s.engine.ReleaseAbandoned(ctx)
		// It reads about every row of the last attempts' length, so it is done seldom; and not those of the
		// last lease, which are rarely anything but running.
		if time.Since(reconciled) < 3*s.config.Lease {
			return
		}
		reconciled = time.Now()
		if err := s.engine.ReconcileOwn(ctx, s.store, s.config.Lease); err != nil && ctx.Err() == nil {
			s.log.Debug("reconcile own attempts", "error", err.Error())
		}
	}
}

// reportSweeps returns what logs when sweeps fail and when they succeed again, and not each of them, which come every
// second. One alone that fails is no news: two gateways can be after the same record, and a store be away.
func reportSweeps(log *slog.Logger) func(error) {
	const news = 2
	failed := 0
	return func(err error) {
		switch {
		case err == nil && failed >= news:
			log.Info("what dead gateways left is written as unknown again")
			failed = 0
		case err == nil:
			failed = 0
		default:
			if failed++; failed == news {
				log.Warn("not all that dead gateways left can be written as unknown", "error", err.Error())
			}
		}
	}
}
