package postgres

import (
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

// Batches travel as one array per column. The Go types of the elements are ones that pgx can also
// encode without asking the server for the parameter's type (exec mode).

// column returns one column of a batch.
func column[T, V any](rows []T, value func(*T) V) []V {
	c := make([]V, len(rows))
	for i := range rows {
		c[i] = value(&rows[i])
	}
	return c
}

func uuid(id [16]byte) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

func uuids(ids []idempotency.OperationID) []pgtype.UUID {
	return column(ids, func(id *idempotency.OperationID) pgtype.UUID { return uuid(*id) })
}

func micros(d time.Duration) int64 { return d.Microseconds() }

// instant returns nil for none.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// traceBytes returns trace id and span id, or nil for none.
func traceBytes(t idempotency.Trace) []byte {
	if t == (idempotency.Trace{}) {
		return nil
	}
	return append(t.TraceID[:len(t.TraceID):len(t.TraceID)], t.SpanID[:]...)
}

// responses are the columns of answers; those of a missing one are NULL.
type responses struct {
	status     []*int32
	length     []*int64
	digest     [][]byte
	replayable []bool
	fields     [][]byte
	body       [][]byte
	seal       [][]byte
}

func responseColumns[T any](rows []T, response func(*T) *idempotency.Response) responses {
	n := len(rows)
	c := responses{
		status: make([]*int32, n), length: make([]*int64, n), digest: make([][]byte, n), replayable: make([]bool, n),
		fields: make([][]byte, n), body: make([][]byte, n), seal: make([][]byte, n),
	}
	for i := range rows {
		r := response(&rows[i])
		if r == nil {
			continue
		}
		status := int32(min(r.Status, 1000)) // the schema refuses 1000 and above
		c.status[i], c.length[i], c.digest[i] = &status, &r.Length, r.Digest[:]
		if !r.Replayable {
			continue
		}
		fields, seal := r.Seal()
		c.replayable[i], c.fields[i], c.seal[i] = true, fields, seal[:]
		if c.body[i] = r.Body; r.Body == nil {
			c.body[i] = []byte{}
		}
	}
	return c
}
