package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// The form of a file: magic, length of the head as 4 bytes big-endian, head as JSON, content of the
// answer, SHA-256 of all that.
const magic = "onceway spool entry 1\n"

// errVersion says that a file is whole, and of a form that this program does not know.
var errVersion = errors.New("it was written by another version: start that one until the spool is empty")

// head is everything but the content. What may hold any bytes is []byte, which JSON carries as base64.
type head struct {
	Since time.Time `json:"since"`

	Attempt  []byte `json:"attempt"`
	N        int    `json:"n"`
	Instance []byte `json:"instance"`
	Epoch    int64  `json:"epoch"`

	Caller             []byte    `json:"caller"`
	Key                []byte    `json:"key"`
	FingerprintVersion uint8     `json:"fingerprint_version"`
	Fingerprint        []byte    `json:"fingerprint"`
	Method             []byte    `json:"method"`
	Target             []byte    `json:"target"`
	Route              []byte    `json:"route"`
	Revision           int64     `json:"revision"`
	Resend             bool      `json:"resend"`
	Doubted            bool      `json:"doubted"`
	Trace              []byte    `json:"trace"`
	FirstSeen          time.Time `json:"first_seen"`
	Claimed            time.Time `json:"claimed"`
	Deadline           time.Time `json:"deadline"`
	Expires            time.Time `json:"expires"`
	Observed           time.Time `json:"observed"`

	KeepResponse time.Duration `json:"keep_response"`
	KeepKey      time.Duration `json:"keep_key"`

	Answer *answer `json:"answer,omitempty"` // of a Complete
	Cause  string  `json:"cause,omitempty"`  // of a Release
}

type answer struct {
	Status     int    `json:"status"`
	Length     int64  `json:"length"`
	Digest     []byte `json:"digest"`
	Replayable bool   `json:"replayable"`
	Fields     []byte `json:"fields,omitempty"`
	Seal       []byte `json:"seal,omitempty"`
}

func encode(e idempotency.Spooled) ([]byte, error) {
	r := e.Record
	h := head{
		Since:   e.Since,
		Attempt: r.Attempt.ID[:], N: r.Attempt.N, Instance: r.Attempt.Owner.Instance[:], Epoch: r.Attempt.Owner.Epoch,
		Caller: []byte(r.Operation.Caller), Key: []byte(r.Operation.Key),
		FingerprintVersion: r.Fingerprint.Version, Fingerprint: r.Fingerprint.Sum[:],
		Method: []byte(r.Method), Target: []byte(r.Target), Route: []byte(r.Route), Revision: r.Revision, Resend: r.Resend, Doubted: r.Doubted,
		Trace:     append(r.Trace.TraceID[:], r.Trace.SpanID[:]...),
		FirstSeen: r.FirstSeen, Claimed: r.Claimed, Deadline: r.Deadline, Expires: r.Expires, Observed: r.Observed,
	}
	var content []byte
	switch t := e.Outcome.(type) {
	case idempotency.Complete:
		h.KeepResponse, h.KeepKey = t.Retention.Response, t.Retention.Key
		h.Answer = &answer{Status: t.Response.Status, Length: t.Response.Length, Digest: t.Response.Digest[:], Replayable: t.Response.Replayable}
		if t.Response.Replayable {
			fields, seal := t.Response.Seal()
			h.Answer.Fields, h.Answer.Seal, content = fields, seal[:], t.Response.Body
		}
	case idempotency.Release:
		h.KeepResponse, h.KeepKey, h.Cause = t.Retention.Response, t.Retention.Key, string(t.Cause)
	default:
		return nil, fmt.Errorf("a %T does not go into a spool", e.Outcome)
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(magic)+4+len(text)+len(content)+sha256.Size)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
	b = append(b, text...)
	b = append(b, content...)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...), nil
}

// decode reads a file. The error is idempotency.ErrDamaged or errVersion.
func decode(b []byte) (idempotency.Spooled, error) {
	if len(b) < len(magic)+4+sha256.Size {
		return idempotency.Spooled{}, idempotency.ErrDamaged
	}
	b, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(b); !bytes.Equal(got[:], sum) {
		return idempotency.Spooled{}, idempotency.ErrDamaged
	}
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return idempotency.Spooled{}, errVersion
	}
	n := binary.BigEndian.Uint32(rest)
	if rest = rest[4:]; uint64(n) > uint64(len(rest)) {
		return idempotency.Spooled{}, idempotency.ErrDamaged
	}
	var h head
	if err := json.Unmarshal(rest[:n], &h); err != nil {
		return idempotency.Spooled{}, idempotency.ErrDamaged
	}
	return h.spooled(rest[n:])
}

// spooled is the entry of a head and the content that belongs to it.
func (h *head) spooled(content []byte) (idempotency.Spooled, error) {
	r := idempotency.Record{
		Operation: idempotency.Operation{Caller: idempotency.Caller(h.Caller), Key: idempotency.Key(h.Key)},
		State:     idempotency.Executing, Revision: h.Revision, Method: string(h.Method), Target: string(h.Target), Route: string(h.Route),
		Resend: h.Resend, Doubted: h.Doubted,
		FirstSeen: h.FirstSeen, Claimed: h.Claimed, Deadline: h.Deadline, Expires: h.Expires, Observed: h.Observed,
	}
	r.ID = r.Operation.ID()
	r.Attempt.Operation, r.Attempt.N, r.Attempt.Owner.Epoch = r.ID, h.N, h.Epoch
	r.Fingerprint.Version = h.FingerprintVersion
	whole := fill(r.Attempt.ID[:], h.Attempt) && fill(r.Attempt.Owner.Instance[:], h.Instance) && fill(r.Fingerprint.Sum[:], h.Fingerprint) &&
		len(h.Trace) == len(r.Trace.TraceID)+len(r.Trace.SpanID)
	if !whole {
		return idempotency.Spooled{}, idempotency.ErrDamaged
	}
	copy(r.Trace.SpanID[:], h.Trace[copy(r.Trace.TraceID[:], h.Trace):])
	keep := idempotency.Retention{Response: h.KeepResponse, Key: h.KeepKey}
	if h.Answer == nil {
		return idempotency.Spooled{Record: r, Outcome: idempotency.Release{Attempt: r.Attempt, Cause: idempotency.Cause(h.Cause), Retention: keep}, Since: h.Since}, nil
	}
	response, err := h.Answer.response(content)
	if err != nil {
		return idempotency.Spooled{}, err
	}
	return idempotency.Spooled{Record: r, Outcome: idempotency.Complete{Attempt: r.Attempt, Response: response, Retention: keep}, Since: h.Since}, nil
}

// response checks the content against its digest and its seal, as a store does.
func (a *answer) response(content []byte) (*idempotency.Response, error) {
	r := &idempotency.Response{Status: a.Status, Length: a.Length}
	if !fill(r.Digest[:], a.Digest) {
		return nil, idempotency.ErrDamaged
	}
	if !a.Replayable {
		return r, nil
	}
	var seal [32]byte
	if !fill(seal[:], a.Seal) {
		return nil, idempotency.ErrDamaged
	}
	return r, r.Unseal(a.Fields, bytes.Clone(content), seal)
}

// fill copies what has exactly the right length.
func fill(dst, src []byte) bool { return len(dst) == len(src) && copy(dst, src) == len(dst) }
