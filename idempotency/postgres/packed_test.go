package postgres

import (
	"bytes"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// Arrays that are packed here must be those that pgx would make of the same values.
func TestPackedArrays(t *testing.T) {
	type row struct {
		id   [16]byte
		n    int64
		yes  bool
		at   time.Time
		text string
		raw  []byte
	}
	rows := []row{
		{[16]byte{1, 15: 2}, 1, true, time.Date(2026, 11, 21, 10, 0, 0, 123456789, time.UTC), "tea", []byte("x")},
		{[16]byte{255}, -1, false, time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC), "", []byte{}},
		{n: 1 << 31, at: time.Date(1999, 1, 1, 0, 0, 0, 1000, time.FixedZone("", 3600)), text: "Zoë", raw: bytes.Repeat([]byte{0}, 9000)},
		{}, // an instant that is none, and octets that are none
	}
	for name, part := range map[string][]row{"all": rows, "without NULL": rows[:3], "one": rows[1:2], "only NULL": rows[3:]} {
		a := new(arena)
		parameters := map[uint32][2]any{
			pgtype.UUIDArrayOID: {
				column(part, func(r *row) pgtype.UUID { return uuid(r.id) }), packedUUIDs(a, part, func(r *row) [16]byte { return r.id }),
			},
			pgtype.Int8ArrayOID: {
				column(part, func(r *row) pgtype.Int8 { return int8(r.n) }), packedInt8s(a, part, func(r *row) int64 { return r.n }),
			},
			pgtype.Int4ArrayOID: {
				column(part, func(r *row) pgtype.Int4 { return int4(int(r.n)) }), packedInt4s(a, part, func(r *row) int { return int(r.n) }),
			},
			pgtype.BoolArrayOID: {
				column(part, func(r *row) pgtype.Bool { return boolean(r.yes) }), packedBools(a, part, func(r *row) bool { return r.yes }),
			},
			pgtype.TextArrayOID: {
				column(part, func(r *row) pgtype.Text { return text(r.text) }), packedTexts(a, part, func(r *row) string { return r.text }),
			},
			pgtype.ByteaArrayOID: {
				column(part, func(r *row) octets { return r.raw }), packedOctets(a, part, func(r *row) []byte { return r.raw }),
			},
			pgtype.TimestamptzArrayOID: {
				column(part, func(r *row) pgtype.Timestamptz { return instant(r.at) }), packedInstants(a, part, func(r *row) time.Time { return r.at }),
			},
		}
		m, plain := pgtype.NewMap(), pgtype.NewMap()
		takePacked(m)
		total := 0
		for oid, p := range parameters {
			want, err := plain.Encode(oid, pgtype.BinaryFormatCode, p[0], nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Encode(oid, pgtype.BinaryFormatCode, p[1], []byte("before"))
			if err != nil || !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("%s, type %d: %v\ngot  %x\nwant %x", name, oid, err, got[len("before"):], want)
			}
			if also, err := m.Encode(oid, pgtype.TextFormatCode, p[1], nil); err != nil {
				t.Errorf("%s, type %d: %v", name, oid, err)
			} else if text, _ := plain.Encode(oid, pgtype.TextFormatCode, p[0], nil); !bytes.Equal(also, text) {
				t.Errorf("%s, type %d: as text %s, want %s", name, oid, also, text)
			}
			if also, err := m.Encode(oid, pgtype.BinaryFormatCode, p[0], nil); err != nil || !bytes.Equal(also, want) {
				t.Errorf("%s, type %d: what is not packed is encoded as %x (%v)", name, oid, also, err)
			}
			if known, ok := m.TypeForValue(p[1]); !ok || known.OID != oid {
				t.Errorf("%s: a packed array of type %d has no type where the server tells none", name, oid)
			}
			total += len(want)
		}
		if a.size != total {
			t.Errorf("%s: an arena of %d bytes says %d", name, total, a.size)
		}
	}
}

// What was grabbed stays as it is when the arena grows.
func TestArenaGrows(t *testing.T) {
	a := new(arena)
	for range 2 {
		var parts [][]byte
		for i := range 100 {
			part := a.grab(100 * i)
			for j := range part {
				part[j] = byte(i)
			}
			parts = append(parts, part)
		}
		for i, part := range parts {
			if len(part) != 100*i || cap(part) != len(part) || bytes.Count(part, []byte{byte(i)}) != len(part) {
				t.Fatalf("part %d has changed", i)
			}
		}
		a.reset()
	}
}
