package sqlite

import (
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// row is a record as written. Its Response has no header and no body; those are a payload.
type row struct {
	idempotency.Record
	seq int64
}

// payload is what is replayed: the columns fields, body and seal.
type payload struct {
	fields, body, seal []byte
}

// decode reads the columns of requests.sql, in that order.
func decode(v []driver.Value) (row, error) {
	r := row{}
	d := decoder{values: v}
	r.seq = d.integer()
	d.fixed(r.ID[:])
	r.Operation = idempotency.Operation{Caller: idempotency.Caller(d.blob()), Key: idempotency.Key(d.text())}
	r.State = idempotency.State(d.integer())
	r.Revision = d.integer()
	r.Attempt.N = int(d.integer())
	if r.Attempt.N > 0 {
		r.Attempt.Operation = r.ID
	}
	d.fixed(r.Attempt.ID[:])
	d.fixed(r.Attempt.Owner.Instance[:])
	r.Attempt.Owner.Epoch = d.integer()
	r.Fingerprint.Version = uint8(d.integer())
	d.fixed(r.Fingerprint.Sum[:])
	r.Method, r.Target = d.text(), d.text()
	var trace [24]byte
	d.fixed(trace[:])
	copy(r.Trace.TraceID[:], trace[:16])
	copy(r.Trace.SpanID[:], trace[16:])
	r.Resend, r.Doubted, r.Contradicted = d.flag(), d.flag(), d.flag()
	r.Cause = idempotency.Cause(d.text())
	r.Response = d.response()
	if by, evidence, at := d.text(), d.text(), d.instant(); !at.IsZero() {
		r.Resolution = &idempotency.Resolution{By: by, Evidence: evidence, At: at}
	}
	r.FirstSeen, r.Claimed, r.Deadline = d.instant(), d.instant(), d.instant()
	r.Settled, r.BodyExpires, r.Expires = d.instant(), d.instant(), d.instant()
	r.Route = d.text()
	r.Been = idempotency.StateSet(d.integer())
	return r, d.err
}

// decoder reads columns from the left; NULL is the zero value. Its first error stays.
type decoder struct {
	values []driver.Value
	err    error
}

func take[T any](d *decoder) (value T) {
	v := d.values[0]
	d.values = d.values[1:]
	if v == nil {
		return value
	}
	value, ok := v.(T)
	if !ok && d.err == nil {
		d.err = fmt.Errorf("a column of the store holds %T where %T belongs", v, value)
	}
	return value
}

func (d *decoder) integer() int64 { return take[int64](d) }
func (d *decoder) flag() bool     { return take[int64](d) != 0 }
func (d *decoder) text() string   { return take[string](d) }
func (d *decoder) blob() []byte   { return take[[]byte](d) }

func (d *decoder) fixed(into []byte) {
	if b := d.blob(); len(b) == len(into) {
		copy(into, b)
	} else if b != nil && d.err == nil {
		d.err = fmt.Errorf("a column of the store holds %d bytes where %d belong", len(b), len(into))
	}
}

func (d *decoder) instant() time.Time {
	if d.values[0] == nil {
		d.values = d.values[1:]
		return time.Time{}
	}
	return time.UnixMicro(d.integer()).UTC()
}

func (d *decoder) response() *idempotency.Response {
	if d.values[0] == nil {
		d.values = d.values[3:]
		return nil
	}
	r := &idempotency.Response{Status: int(d.integer()), Length: d.integer()}
	d.fixed(r.Digest[:])
	return r
}

func (d *decoder) payload() payload { return payload{fields: d.blob(), body: d.blob(), seal: d.blob()} }

// fixed columns of a record, which no move changes: the first parameters of insert_request.sql.
func fixedColumns(r *idempotency.Record) []driver.Value {
	return []driver.Value{r.ID[:], nonNil([]byte(r.Operation.Caller)), string(r.Operation.Key), instant(r.FirstSeen)}
}

// columns that moves change, in the order of insert_request.sql and update_request_if_unchanged.sql. Changed is
// the number of the commit.
func columns(r *idempotency.Record, changed int64, after []driver.Value) []driver.Value {
	v := append(after, int64(r.State), r.Revision, int64(r.Attempt.N))
	if r.Attempt.N > 0 {
		v = append(v, r.Attempt.ID[:], r.Attempt.Owner.Instance[:], r.Attempt.Owner.Epoch,
			int64(r.Fingerprint.Version), r.Fingerprint.Sum[:], r.Method, r.Target)
	} else {
		v = append(v, nil, nil, nil, nil, nil, nil, nil)
	}
	if r.Trace == (idempotency.Trace{}) {
		v = append(v, nil)
	} else {
		v = append(v, append(r.Trace.TraceID[:], r.Trace.SpanID[:]...))
	}
	v = append(v, flag(r.Resend), flag(r.Doubted), flag(r.Contradicted), string(r.Cause))
	v = appendResponse(v, r.Response)
	if r.Resolution != nil {
		v = append(v, r.Resolution.By, r.Resolution.Evidence, instant(r.Resolution.At))
	} else {
		v = append(v, nil, nil, nil)
	}
	return append(v, instant(r.Claimed), instant(r.Deadline), instant(r.Settled), instant(r.BodyExpires), instant(r.Expires), r.Route, changed, int64(r.Been))
}

func appendResponse(v []driver.Value, r *idempotency.Response) []driver.Value {
	if r == nil {
		return append(v, nil, nil, nil)
	}
	return append(v, int64(r.Status), r.Length, r.Digest[:])
}

// appendPayload appends fields, body and seal of a response, or NULLs if it has none.
func appendPayload(v []driver.Value, r *idempotency.Response) []driver.Value {
	if r == nil || !r.Replayable {
		return append(v, nil, nil, nil)
	}
	fields, seal := r.Seal()
	return append(v, nonNil(fields), nonNil(r.Body), seal[:])
}

// instant is microseconds since 1970, or NULL for no instant.
func instant(t time.Time) driver.Value {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

func flag(b bool) driver.Value {
	if b {
		return int64(1)
	}
	return int64(0)
}

// nonNil keeps an empty value from becoming NULL.
func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// replay gives the record its stored answer, checked against its seal.
func (p payload) replay(r *idempotency.Record) {
	if p.seal == nil || len(p.seal) != 32 || r.Response == nil || r.Response.Unseal(p.fields, p.body, [32]byte(p.seal)) != nil {
		r.Damaged, r.Response = true, nil
	}
}
