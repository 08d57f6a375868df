package sqlite

import (
	"context"
	"database/sql/driver"

	"github.com/onceway/onceway/idempotency"
)

// History implements [idempotency.SearchStore].
func (s *Store) History(ctx context.Context, id idempotency.OperationID) (all []idempotency.Evidence, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("history", func(v []driver.Value) error {
			e, err := decodeEvidence(v)
			e.Operation = id
			all = append(all, e)
			return err
		}, id[:])
	})
	return all, err
}

func decodeEvidence(v []driver.Value) (e idempotency.Evidence, err error) {
	d := decoder{values: v}
	d.fixed(e.Attempt[:])
	e.Kind, e.N, e.By, e.Text, e.At = idempotency.EvidenceKind(d.text()), int(d.integer()), d.text(), d.text(), d.instant()
	e.Response = d.response()
	p := d.payload()
	if e.Response != nil && len(p.seal) == 32 && e.Response.Unseal(p.fields, p.body, [32]byte(p.seal)) != nil {
		e.Response = e.Response.Bodiless()
	}
	return e, d.err
}
