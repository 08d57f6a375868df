package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

var history = statement("history")

// History implements [idempotency.SearchStore].
func (s *Store) History(ctx context.Context, id idempotency.OperationID) (all []idempotency.Evidence, err error) {
	err = s.transact(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, history, uuid(id))
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (idempotency.Evidence, error) { return scanEvidence(row, id) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading evidence: %w", err)
	}
	return all, nil
}

func scanEvidence(row pgx.CollectableRow, id idempotency.OperationID) (e idempotency.Evidence, err error) {
	var attempt pgtype.UUID
	var kind string
	var when pgtype.Timestamptz
	var status pgtype.Int2
	var length pgtype.Int8
	var digest, fields, body, seal []byte
	if err := row.Scan(&attempt, &e.N, &kind, &e.By, &e.Text, &when, &status, &length, &digest, &fields, &body, &seal); err != nil {
		return e, err
	}
	e.Operation, e.Attempt, e.Kind, e.At = id, attempt.Bytes, idempotency.EvidenceKind(kind), at(when)
	if !status.Valid {
		return e, nil
	}
	e.Response = &idempotency.Response{Status: int(status.Int16), Length: length.Int64}
	copy(e.Response.Digest[:], digest)
	if len(seal) == 32 && e.Response.Unseal(fields, body, [32]byte(seal)) != nil {
		e.Response = e.Response.Bodiless()
	}
	return e, nil
}
