package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

var (
	noteSpool          = statement("instances_note_spool")
	listInstances      = statement("instances_list")
	instancesOfProcess = statement("instances_of_process")
)

// NoteSpool implements [idempotency.SpoolStore].
func (s *Store) NoteSpool(ctx context.Context, instance [16]byte, spool *idempotency.SpoolNote) error {
	depth, oldest := spoolColumns(spool)
	var b pgx.Batch
	b.Queue(noteSpool, uuid(instance), depth, oldest)
	return s.send(ctx, s.outcomes, &b)
}

// spoolColumns returns what an instance's row says of its spool.
func spoolColumns(spool *idempotency.SpoolNote) (depth pgtype.Int8, oldest pgtype.Timestamptz) {
	if spool == nil {
		return depth, oldest
	}
	if spool.Depth > 0 {
		oldest = pgtype.Timestamptz{Time: spool.Oldest, Valid: !spool.Oldest.IsZero()}
	}
	return int8(spool.Depth), oldest
}

// Instances implements [idempotency.InstanceStore].
func (s *Store) Instances(ctx context.Context, limit int) ([]idempotency.InstanceRecord, error) {
	return s.instances(ctx, listInstances, limit)
}

// InstanceLeases implements [idempotency.InstanceStore].
func (s *Store) InstanceLeases(ctx context.Context, instance [16]byte) ([]idempotency.InstanceRecord, error) {
	return s.instances(ctx, instancesOfProcess, uuid(instance))
}

func (s *Store) instances(ctx context.Context, query string, arg any) (all []idempotency.InstanceRecord, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, query, arg)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, scanInstance)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading instances: %w", err)
	}
	return all, nil
}

func scanInstance(row pgx.CollectableRow) (i idempotency.InstanceRecord, err error) {
	var id pgtype.UUID
	var started, until, oldest pgtype.Timestamptz
	var depth pgtype.Int8
	if err := row.Scan(&id, &i.Owner.Epoch, &i.Host, &i.Version, &started, &until, &i.Alive, &depth, &oldest); err != nil {
		return i, err
	}
	i.Owner.Instance, i.Started, i.LeaseUntil = id.Bytes, at(started), at(until)
	if depth.Valid {
		i.Spool = &idempotency.SpoolNote{Depth: depth.Int64, Oldest: at(oldest)}
	}
	return i, nil
}
