package main

import (
	"encoding/hex"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

const keyLength = 36

// keySource gives each request of one connection its key. next overwrites the 36 bytes of dst and
// reports whether there is another request to send.
type keySource interface {
	next(dst []byte, now time.Time) bool
}

// noKeys is for requests without a key.
type noKeys struct{}

func (noKeys) next([]byte, time.Time) bool { return true }

// freshKeys gives a key that nobody has used: a UUIDv7 of now.
type freshKeys struct{ random *rand.Rand }

func (k freshKeys) next(dst []byte, now time.Time) bool {
	writeUUIDv7(dst, now.UnixMilli(), k.random.Uint64(), k.random.Uint64())
	return true
}

// keySet describes keys that several load generators can name without exchanging a file.
type keySet struct {
	Millis int64  `json:"millis"` // Unix time inside every key, in milliseconds
	Seed   uint64 `json:"seed"`
	Count  int    `json:"count"`
}

func (s keySet) keys() [][keyLength]byte {
	random := rand.New(rand.NewPCG(s.Seed, uint64(s.Millis)))
	keys := make([][keyLength]byte, s.Count)
	for i := range keys {
		writeUUIDv7(keys[i][:], s.Millis, random.Uint64(), random.Uint64())
	}
	return keys
}

// primeKeys gives each key of a set once, over all connections together.
type primeKeys struct {
	keys [][keyLength]byte
	used *atomic.Int64
}

func (k primeKeys) next(dst []byte, _ time.Time) bool {
	i := k.used.Add(1) - 1
	if i >= int64(len(k.keys)) {
		return false
	}
	copy(dst, k.keys[i][:])
	return true
}

// replayKeys gives keys of a set in random order, for ever.
type replayKeys struct {
	keys   [][keyLength]byte
	random *rand.Rand
}

func (k replayKeys) next(dst []byte, _ time.Time) bool {
	copy(dst, k.keys[k.random.IntN(len(k.keys))][:])
	return true
}

// writeUUIDv7 writes the text form of a UUIDv7 (RFC 9562, section 5.7) into the 36 bytes of dst, with
// 74 of the given random bits.
func writeUUIDv7(dst []byte, millis int64, a, b uint64) {
	var id [16]byte
	for i := range 6 {
		id[i] = byte(millis >> (40 - 8*i))
	}
	id[6], id[7] = 0x70|byte(a>>8)&0x0f, byte(a)
	for i := range 8 {
		id[8+i] = byte(b >> (56 - 8*i))
	}
	id[8] = 0x80 | id[8]&0x3f
	hex.Encode(dst[0:8], id[0:4])
	hex.Encode(dst[9:13], id[4:6])
	hex.Encode(dst[14:18], id[6:8])
	hex.Encode(dst[19:23], id[8:10])
	hex.Encode(dst[24:36], id[10:16])
	dst[8], dst[13], dst[18], dst[23] = '-', '-', '-', '-'
}
