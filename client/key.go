package client

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"time"
)

// NewKey returns a new key: a UUIDv7 (RFC 9562, section 5.7), whose date lets a gateway refuse a copy that comes
// after its record is gone.
func NewKey() string { return newKey(time.Now()) }

func newKey(now time.Time) string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	random := binary.BigEndian.Uint16(id[6:8])
	binary.BigEndian.PutUint64(id[:8], uint64(now.UnixMilli())<<16|uint64(random))
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	b := hex.AppendEncode(nil, id[:])
	return string(b[:8]) + "-" + string(b[8:12]) + "-" + string(b[12:16]) + "-" + string(b[16:20]) + "-" + string(b[20:])
}
