package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

// Batches travel as one array per column.

// array is an array parameter. pgx would look at a plain slice by reflection, and copy each element
// to the heap to encode it; of this it gets pointers to elements, which are of types that encode
// themselves.
type array[T any] []T

func (a array[T]) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(a)), LowerBound: 1}}
}
func (a array[T]) Index(i int) any { return &a[i] }
func (a array[T]) IndexType() any  { return new(T) }

// octets is a bytea; nil is NULL.
type octets []byte

func (o octets) BytesValue() ([]byte, error) { return o, nil }

// registerArrays tells a connection the types of arrays, for where it does not ask the server for
// those of parameters (exec mode).
func registerArrays(c *pgx.Conn) {
	m := c.TypeMap()
	m.RegisterDefaultPgType(array[pgtype.UUID](nil), "_uuid")
	m.RegisterDefaultPgType(array[pgtype.Text](nil), "_text")
	m.RegisterDefaultPgType(array[octets](nil), "_bytea")
	m.RegisterDefaultPgType(array[pgtype.Bool](nil), "_bool")
	m.RegisterDefaultPgType(array[pgtype.Int2](nil), "_int2")
	m.RegisterDefaultPgType(array[pgtype.Int4](nil), "_int4")
	m.RegisterDefaultPgType(array[pgtype.Int8](nil), "_int8")
	m.RegisterDefaultPgType(array[pgtype.Timestamptz](nil), "_timestamptz")
	m.RegisterDefaultPgType(array[pgtype.Date](nil), "_date")
	takePacked(m)
}

// column returns one column of a batch.
func column[T, V any](rows []T, value func(*T) V) array[V] {
	c := make(array[V], len(rows))
	for i := range rows {
		c[i] = value(&rows[i])
	}
	return c
}

func text[S ~string](s S) pgtype.Text { return pgtype.Text{String: string(s), Valid: true} }
func int2(n int16) pgtype.Int2        { return pgtype.Int2{Int16: n, Valid: true} }
func int4(n int) pgtype.Int4          { return pgtype.Int4{Int32: int32(n), Valid: true} }
func int8(n int64) pgtype.Int8        { return pgtype.Int8{Int64: n, Valid: true} }
func boolean(b bool) pgtype.Bool      { return pgtype.Bool{Bool: b, Valid: true} }

func uuid(id [16]byte) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }

func uuids(ids []idempotency.OperationID) array[pgtype.UUID] {
	return column(ids, func(id *idempotency.OperationID) pgtype.UUID { return uuid(*id) })
}

func micros(d time.Duration) int64 { return d.Microseconds() }

// instant returns NULL for none.
func instant(t time.Time) pgtype.Timestamptz { return pgtype.Timestamptz{Time: t, Valid: !t.IsZero()} }

// traceBytes returns trace id and span id, in the memory of b, or nil for none.
func traceBytes(b []byte, t idempotency.Trace) octets {
	if t == (idempotency.Trace{}) {
		return nil
	}
	return append(append(b, t.TraceID[:]...), t.SpanID[:]...)
}

// responses are the columns of answers; those of a missing one are NULL.
type responses struct {
	status     array[pgtype.Int4]
	length     array[pgtype.Int8]
	digest     array[octets]
	replayable array[pgtype.Bool]
	fields     array[octets]
	body       array[octets]
	seal       array[octets]
}

func responseColumns[T any](rows []T, response func(*T) *idempotency.Response) responses {
	n := len(rows)
	c := responses{
		status: make(array[pgtype.Int4], n), length: make(array[pgtype.Int8], n), digest: make(array[octets], n), replayable: make(array[pgtype.Bool], n),
		fields: make(array[octets], n), body: make(array[octets], n), seal: make(array[octets], n),
	}
	for i := range rows {
		r := response(&rows[i])
		c.replayable[i] = boolean(r != nil && r.Replayable)
		if r == nil {
			continue
		}
		// (The schema refuses 1000 and above.)
		c.status[i], c.length[i], c.digest[i] = int4(min(r.Status, 1000)), int8(r.Length), r.Digest[:]
		if !r.Replayable {
			continue
		}
		fields, seal := r.Seal()
		c.fields[i], c.seal[i] = fields, seal[:]
		if c.body[i] = r.Body; r.Body == nil {
			c.body[i] = []byte{}
		}
	}
	return c
}
