package idempotency

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
)

// Caller is a stable authenticated principal; never the bytes of a token, which are refreshed.
type Caller string

// Operation is what one caller means by one key. The same key of two callers is two operations.
type Operation struct {
	Caller Caller
	Key    Key
}

// OperationID names an operation for stores, backends and operators. It is deterministic, so that a
// backend recognises an operation even after our record is gone.
type OperationID [16]byte

// ID returns the operation's UUIDv8 (RFC 9562, section 5.8): the first 128 bits, less version and
// variant, of SHA-256 over caller and key, each preceded by its length as 8 bytes, big-endian.
func (o Operation) ID() OperationID {
	var stack [512]byte
	b := appendPart(appendPart(stack[:0], string(o.Caller)), string(o.Key))
	sum := sha256.Sum256(b)
	id := OperationID(sum[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

func (id OperationID) String() string { return formatUUID(id) }

// ParseOperationID reads the 8-4-4-4-12 form of an id.
func ParseOperationID(s string) (OperationID, error) {
	id, ok := parseUUID(s)
	if !ok {
		return id, errors.New("an operation id is a UUID: 8-4-4-4-12 hexadecimal digits")
	}
	return id, nil
}

// Owner is one gateway process under one lease: a process that lost its lease gets a new epoch, and
// whatever its old epoch left executing is orphaned.
type Owner struct {
	Instance [16]byte // random, one per process
	Epoch    int64    // 1, 2, …, one per lease that was lost
}

// AttemptID names one attempt. It is random and made before the claim is written, so that a gateway
// whose claim had no clear outcome recognises its own row.
type AttemptID [16]byte

// NewAttemptID returns a random id.
func NewAttemptID() AttemptID {
	var id AttemptID
	rand.Read(id[:]) // never fails (crypto/rand)
	return id
}

func (id AttemptID) String() string { return formatUUID(id) }

// Attempt is one execution of an operation, and the fence that every later write about it carries.
type Attempt struct {
	Operation OperationID
	ID        AttemptID
	N         int // 1, 2, …; what the backend sees as Onceway-Attempt
	Owner     Owner
}

// appendPart appends s preceded by its length in 8 bytes, big-endian.
func appendPart(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}
