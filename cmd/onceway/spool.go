package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/onceway/onceway/gateway/admin"
	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/spool"
)

// openSpool takes the configured spool; nil if there is none.
func openSpool(c *config.Config, log *slog.Logger) (*spool.Spool, error) {
	if c.Spool == "" {
		return nil, nil
	}
	return spool.Open(c.Spool, spool.Options{Limit: c.SpoolLimit, Step: spoolStep(), Damaged: func(path string) {
		log.Error("an entry of the spool does not match its digest and was put aside", "path", path)
	}})
}

// attachSpool gives the engine the spool, once it is sure that it belongs to the store.
func (s *server) attachSpool(ctx context.Context, observer *telemetry.Observer) error {
	if s.spool == nil {
		return nil
	}
	identity, err := s.store.Identity(ctx)
	if err != nil {
		return storeFailure(err)
	}
	if err := s.spool.Bind(identity); err != nil {
		return err
	}
	news, err := observer.Spool(func() telemetry.SpoolStatus { return telemetry.SpoolStatus(s.spool.Status()) })
	if err != nil {
		return err
	}
	s.engine.UseSpool(s.spool, news)
	s.lease.UseSpool(s.inSpool)
	return nil
}

// handOver gives the store what a former process left in the spool, before anybody is answered: an
// operator may have settled it otherwise. It does not insist: what takes longer goes on beside requests.
func (s *server) handOver(ctx context.Context) {
	timer := time.NewTimer(s.config.StoreTimeout)
	defer timer.Stop()
	select {
	case <-s.engine.DrainSpool():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// inSpool is what others are told of the spool.
func (s *server) inSpool() idempotency.SpoolNote {
	status := s.spool.Status()
	return idempotency.SpoolNote{Depth: int64(status.Depth), Oldest: status.Oldest}
}

// spoolNote is what the store was told under a lease. One that is acquired meanwhile may say what was true before.
type spoolNote struct {
	idempotency.SpoolNote
	under idempotency.Owner
}

// noteSpool tells others, through the store, what is in the spool, if that or the lease has changed since
// the last time that the store took it.
func (s *server) noteSpool(ctx context.Context) {
	owner, _ := s.lease.Owner()
	note := spoolNote{s.inSpool(), owner}
	if s.noted != nil && *s.noted == note {
		return
	}
	s.noted = nil
	if err := s.store.NoteSpool(ctx, s.spool.Instance(), &note.SpoolNote); err == nil {
		s.noted = &note
	}
}

// leaveSpool closes the spool behind everything that uses it. Operators need not wait for the answers of a
// process that has left none.
func (s *server) leaveSpool(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.StoreTimeout) // others have used theirs
	defer cancel()
	if err := s.engine.CloseSpool(ctx); err != nil {
		return err
	}
	if s.spool.Status().Depth == 0 {
		_ = s.store.NoteSpool(ctx, s.spool.Instance(), nil)
	} else {
		s.noteSpool(ctx)
	}
	return s.spool.Close()
}

// spoolStatus is what /readyz?verbose says of the spool.
func (s *server) spoolStatus() *admin.Spool {
	if s.spool == nil {
		return nil
	}
	status := s.spool.Status()
	a := &admin.Spool{Depth: status.Depth, Bytes: status.Bytes, Limit: status.Limit, Damaged: status.Damaged}
	if !status.Oldest.IsZero() {
		oldest := status.Oldest.UTC()
		a.Oldest = &oldest
	}
	return a
}
