package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

var (
	leaseSettings    = statement("lease_settings")
	acquireLease     = statement("lease_acquire")
	endFormerLeases  = statement("lease_end_former")
	renewIfUnlapsed  = statement("lease_renew_if_unlapsed")
	giveBackLease    = statement("lease_give_back")
	noteLapsedClaims = statement("lease_note_lapsed_claims")
	executingOf      = statement("lease_executing")
)

// Acquire implements [idempotency.LeaseStore]. It also ends the leases that the instance had.
func (s *Store) Acquire(ctx context.Context, i idempotency.Instance, lease time.Duration) (idempotency.Owner, error) {
	o := idempotency.Owner{Instance: i.ID}
	s.mu.Lock()
	least := s.epochs[i.ID] + 1
	s.mu.Unlock()
	depth, oldest := spoolColumns(i.Spool)
	var b pgx.Batch
	b.Queue(leaseSettings)
	b.Queue(endFormerLeases, uuid(i.ID))
	b.Queue(acquireLease, uuid(i.ID), least, micros(lease), micros(i.Longest), i.Host, i.Version, depth, oldest).
		QueryRow(func(row pgx.Row) error { return row.Scan(&o.Epoch) })
	if err := s.send(ctx, s.leases, &b); err != nil {
		return idempotency.Owner{}, err
	}
	s.mu.Lock()
	s.epochs[i.ID] = max(s.epochs[i.ID], o.Epoch)
	s.mu.Unlock()
	return o, nil
}

// Renew implements [idempotency.LeaseStore]. It refuses within the last sixth of a lease: a renewal
// whose commit is slow must not revive what others have already seen lapse.
func (s *Store) Renew(ctx context.Context, o idempotency.Owner, lease time.Duration) error {
	var renewed int64
	var b pgx.Batch
	b.Queue(leaseSettings)
	b.Queue(renewIfUnlapsed, uuid(o.Instance), o.Epoch, micros(lease)).Exec(countInto(&renewed))
	if err := s.send(ctx, s.leases, &b); err != nil {
		return err
	}
	if renewed == 0 {
		return idempotency.ErrLeaseLost
	}
	return s.servers.lookAround(ctx, s.leases)
}

// GiveBack implements [idempotency.LeaseStore]. Where its connection turns out to be broken, it tries once more by a
// new one: given back twice is given back.
func (s *Store) GiveBack(ctx context.Context, o idempotency.Owner) error {
	giveBack := func() error {
		var b pgx.Batch
		b.Queue(leaseSettings)
		b.Queue(giveBackLease, uuid(o.Instance), o.Epoch)
		return s.run(ctx, s.leases, &b)
	}
	err := giveBack()
	if broken := (*brokenError)(nil); errors.As(err, &broken) {
		s.leases.Reset()
		err = giveBack()
	}
	return err
}

// Executing implements [idempotency.OwnStore].
func (s *Store) Executing(ctx context.Context, o idempotency.Owner, age time.Duration, limit int) ([]idempotency.Attempt, error) {
	var found []idempotency.Attempt
	err := s.transact(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, executingOf, uuid(o.Instance), o.Epoch, micros(age), micros(s.lease), limit)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (idempotency.Attempt, error) {
			a := idempotency.Attempt{Owner: o}
			var id, attempt pgtype.UUID
			err := row.Scan(&id, &attempt, &a.N)
			a.Operation, a.ID = id.Bytes, attempt.Bytes
			return a, err
		})
		return err
	})
	return found, err
}

// noteLateClaims tells the sweep of owners whose claims came after their lease: it may be done with
// them. It changes no answer, so nothing is lost if it fails: the walk for overdue records comes by.
func (s *Store) noteLateClaims(ctx context.Context, cs []idempotency.Claim, results []idempotency.Result) {
	if len(cs) == 0 {
		return
	}
	late := map[idempotency.Owner]struct{}{}
	attempts := make(map[idempotency.AttemptID]struct{}, len(cs))
	for i := range cs {
		attempts[cs[i].Attempt.ID] = struct{}{}
	}
	for i := range results {
		r := &results[i].Record
		if _, ours := attempts[r.Attempt.ID]; ours && r.State == idempotency.Unknown && r.Cause == idempotency.CauseOwnerGone && r.Settled.IsZero() {
			late[r.Attempt.Owner] = struct{}{}
		}
	}
	for o := range late {
		var b pgx.Batch
		b.Queue(noteLapsedClaims, uuid(o.Instance), o.Epoch)
		_ = s.send(ctx, s.outcomes, &b)
	}
}
