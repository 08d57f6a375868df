package postgres

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// packed is an array parameter in the server's binary format, ready to travel: what every request needs is
// packed here in one pass, where pgx would make a value of each element, and a plan for each value. V is the
// type that pgx knows its elements by, for where the server does not tell the types of parameters.
type packed[V any] struct {
	wire []byte
	of   *arena
}

// parameter is a packed array of any type.
type parameter interface {
	binary(buf []byte) ([]byte, error)
	text(m *pgtype.Map, array uint32, buf []byte) ([]byte, error)
}

func (p packed[V]) binary(buf []byte) ([]byte, error) {
	if cap(buf)-len(buf) < len(p.wire) {
		buf = slices.Grow(buf, p.of.size) // room for all parameters at once
	}
	return append(buf, p.wire...), nil
}

// text is for where the server does not tell the types of parameters, so that they must travel as text.
func (p packed[V]) text(m *pgtype.Map, array uint32, buf []byte) ([]byte, error) {
	var elements []V
	if err := m.Scan(array, pgtype.BinaryFormatCode, p.wire, &elements); err != nil {
		return nil, err
	}
	return m.Encode(array, pgtype.TextFormatCode, elements, buf)
}

// GoString keeps what it holds out of the driver's errors.
func (p packed[V]) GoString() string { return "an array" }

// arena holds the arrays of one batch.
type arena struct {
	chunk []byte
	size  int // of all its arrays
}

// largestArena bounds what is kept for the next batch, in bytes.
const largestArena = 1 << 20

// grab returns n bytes, which are not zeroed.
func (a *arena) grab(n int) []byte {
	a.size += n
	if cap(a.chunk)-len(a.chunk) < n {
		a.chunk = make([]byte, 0, max(n, 2*cap(a.chunk), 4096)) // what was grabbed before stays where it is
	}
	begin := len(a.chunk)
	a.chunk = a.chunk[:begin+n]
	return a.chunk[begin : begin+n : begin+n]
}

// reset forgets all that was grabbed.
func (a *arena) reset() {
	a.chunk, a.size = a.chunk[:0], 0
	if cap(a.chunk) > largestArena {
		a.chunk = nil
	}
}

// header writes the head of an array of n elements (array_recv in the server's source: dimensions, whether
// there are NULLs, type of the elements, length, lower bound) and returns what is behind it.
func header(b []byte, n int, nulls bool, element uint32) []byte {
	dimensions, flag := uint32(1), uint32(0)
	if nulls {
		flag = 1
	}
	b = binary.BigEndian.AppendUint32(b[:0], dimensions)
	b = binary.BigEndian.AppendUint32(b, flag)
	b = binary.BigEndian.AppendUint32(b, element)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return binary.BigEndian.AppendUint32(b, 1)
}

const headerSize = 20

// Columns of a batch. Rows must not be empty.

func packedUUIDs[T any](a *arena, rows []T, value func(*T) [16]byte) packed[pgtype.UUID] {
	wire := a.grab(headerSize + len(rows)*(4+16))
	b := header(wire, len(rows), false, pgtype.UUIDOID)
	for i := range rows {
		id := value(&rows[i])
		b = append(binary.BigEndian.AppendUint32(b, 16), id[:]...)
	}
	return packed[pgtype.UUID]{wire, a}
}

func packedInt8s[T any](a *arena, rows []T, value func(*T) int64) packed[pgtype.Int8] {
	wire := a.grab(headerSize + len(rows)*(4+8))
	b := header(wire, len(rows), false, pgtype.Int8OID)
	for i := range rows {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), uint64(value(&rows[i])))
	}
	return packed[pgtype.Int8]{wire, a}
}

func packedInt4s[T any](a *arena, rows []T, value func(*T) int) packed[pgtype.Int4] {
	wire := a.grab(headerSize + len(rows)*(4+4))
	b := header(wire, len(rows), false, pgtype.Int4OID)
	for i := range rows {
		b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, 4), uint32(int32(value(&rows[i]))))
	}
	return packed[pgtype.Int4]{wire, a}
}

func packedBools[T any](a *arena, rows []T, value func(*T) bool) packed[pgtype.Bool] {
	wire := a.grab(headerSize + len(rows)*(4+1))
	b := header(wire, len(rows), false, pgtype.BoolOID)
	for i := range rows {
		bit := byte(0)
		if value(&rows[i]) {
			bit = 1
		}
		b = append(binary.BigEndian.AppendUint32(b, 1), bit)
	}
	return packed[pgtype.Bool]{wire, a}
}

// packedInstants has NULL for none, and cuts off what is less than a microsecond.
func packedInstants[T any](a *arena, rows []T, value func(*T) time.Time) packed[pgtype.Timestamptz] {
	n, nulls := 0, false
	for i := range rows {
		if value(&rows[i]).IsZero() {
			nulls = true
		} else {
			n++
		}
	}
	wire := a.grab(headerSize + len(rows)*4 + n*8)
	b := header(wire, len(rows), nulls, pgtype.TimestamptzOID)
	for i := range rows {
		if t := value(&rows[i]); t.IsZero() {
			b = binary.BigEndian.AppendUint32(b, null)
		} else {
			b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(b, 8), uint64(t.UnixMicro()-y2k))
		}
	}
	return packed[pgtype.Timestamptz]{wire, a}
}

const (
	null = 1<<32 - 1         // the length of a NULL
	y2k  = 946684800_000_000 // the server's epoch, in microseconds of Unix time
)

func packedTexts[T any](a *arena, rows []T, value func(*T) string) packed[pgtype.Text] {
	n := 0
	for i := range rows {
		n += 4 + len(value(&rows[i]))
	}
	wire := a.grab(headerSize + n)
	b := header(wire, len(rows), false, pgtype.TextOID)
	for i := range rows {
		v := value(&rows[i])
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
	}
	return packed[pgtype.Text]{wire, a}
}

// packedOctets has NULL for nil.
func packedOctets[T any](a *arena, rows []T, value func(*T) []byte) packed[[]byte] {
	n, nulls := 0, false
	for i := range rows {
		v := value(&rows[i])
		n += 4 + len(v)
		nulls = nulls || v == nil
	}
	wire := a.grab(headerSize + n)
	b := header(wire, len(rows), nulls, pgtype.ByteaOID)
	for i := range rows {
		if v := value(&rows[i]); v == nil {
			b = binary.BigEndian.AppendUint32(b, null)
		} else {
			b = append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
		}
	}
	return packed[[]byte]{wire, a}
}

// packedCodec lets pgx take packed arrays as they are.
type packedCodec struct{ pgtype.Codec }

func (c packedCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(parameter); !ok {
		return c.Codec.PlanEncode(m, oid, format, value)
	}
	if format == pgtype.TextFormatCode {
		return packedAsText{m, oid}
	}
	return packedAsItIs{}
}

type packedAsItIs struct{}

func (packedAsItIs) Encode(value any, buf []byte) ([]byte, error) {
	return value.(parameter).binary(buf)
}

type packedAsText struct {
	m     *pgtype.Map
	array uint32
}

func (t packedAsText) Encode(value any, buf []byte) ([]byte, error) {
	return value.(parameter).text(t.m, t.array, buf)
}

// takePacked tells a connection of packed arrays.
func takePacked(m *pgtype.Map) {
	m.RegisterDefaultPgType(packed[pgtype.UUID]{}, "_uuid")
	m.RegisterDefaultPgType(packed[pgtype.Text]{}, "_text")
	m.RegisterDefaultPgType(packed[[]byte]{}, "_bytea")
	m.RegisterDefaultPgType(packed[pgtype.Bool]{}, "_bool")
	m.RegisterDefaultPgType(packed[pgtype.Int4]{}, "_int4")
	m.RegisterDefaultPgType(packed[pgtype.Int8]{}, "_int8")
	m.RegisterDefaultPgType(packed[pgtype.Timestamptz]{}, "_timestamptz")
	for _, name := range []string{"_uuid", "_text", "_bytea", "_bool", "_int4", "_int8", "_timestamptz"} {
		if t, ok := m.TypeForName(name); ok {
			m.RegisterType(&pgtype.Type{Name: name, OID: t.OID, Codec: packedCodec{t.Codec}})
		}
	}
}
