package idempotency

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"time"
)

// Record is what a store knows of one operation, as of Observed: its State already takes into
// account that leases, deadlines and bodies run out (see [Record.Derive]).
type Record struct {
	ID          OperationID
	Operation   Operation
	State       State
	Attempt     Attempt // the last one; its N is 0 for a tombstone
	Revision    int64   // 1, 2, …, one per written move
	Fingerprint Fingerprint
	Method      string // of the request; empty for a tombstone
	Target      string
	Route       string // name of the route that the last attempt was claimed on; empty for a tombstone
	Resend      bool   // claimed on a route whose backend deduplicates by key
	Doubted     bool   // an attempt before the last one is still in doubt
	Cause       Cause  // why it is not_executed or unknown; empty otherwise
	Trace       Trace  // of the last attempt; of the cancellation where there was none

	Contradicted bool // an answer proved a not_executed or cancelled record wrong; blocks further claims
	Damaged      bool // what was stored does not match its digest; Response is nil

	Been StateSet // states that it was in before; read by the feed only

	Response   *Response   // what is known of the answer; nil if there is none
	Resolution *Resolution // who settled it, if neither the attempt itself nor its owner did

	FirstSeen   time.Time
	Claimed     time.Time // of the last attempt; zero for a tombstone
	Deadline    time.Time // of the last attempt; past it and one lease, an executing record is in doubt
	Settled     time.Time // when it last became settled or unknown; zero while executing
	BodyExpires time.Time // zero while there is no answer
	Expires     time.Time // until when the key protects, as far as is known now

	Observed time.Time // the store's clock when this was read
}

// Trace is the W3C trace context of the span that executed an attempt, or cancelled what had none; zero if there is none.
type Trace struct {
	TraceID [16]byte
	SpanID  [8]byte
}

// String returns the trace id in lower-case hex, or "".
func (t Trace) String() string {
	if t.TraceID == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(t.TraceID[:])
}

// Response is a stored answer: status, end-to-end header fields in canonical case, content.
type Response struct {
	Status int
	Header map[string][]string
	Body   []byte
	Length int64    // of the content in bytes, also when Body is gone
	Digest [32]byte // SHA-256 of the content, also when Body is gone
	// Replayable says that Header and Body are here. Without it only status, length and digest are.
	Replayable bool
}

// NewResponse returns a response that can be replayed. It takes over header and body.
func NewResponse(status int, header map[string][]string, body []byte) *Response {
	return &Response{Status: status, Header: header, Body: body, Length: int64(len(body)), Digest: sha256.Sum256(body), Replayable: true}
}

// Bodiless returns what remains of r once its content is forgotten.
func (r *Response) Bodiless() *Response {
	return &Response{Status: r.Status, Length: r.Length, Digest: r.Digest}
}

// DigestField returns the digest as a Content-Digest member (RFC 9530, section 2).
func (r *Response) DigestField() string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(r.Digest[:]) + ":"
}

// ErrDamaged says that stored bytes do not match their digest.
var ErrDamaged = errors.New("stored response does not match its digest")

// Seal returns the header fields as stores keep them, and the SHA-256 over status, fields and the
// content's digest that guards them.
func (r *Response) Seal() (fields []byte, seal [32]byte) {
	names := make([]string, 0, len(r.Header))
	size := 0
	for name, values := range r.Header {
		names = append(names, name)
		for _, v := range values {
			size += 2*binary.MaxVarintLen32 + len(name) + len(v)
		}
	}
	slices.Sort(names)
	fields = make([]byte, 0, size)
	for _, name := range names {
		for _, v := range r.Header[name] {
			fields = binary.AppendUvarint(fields, uint64(len(name)))
			fields = append(fields, name...)
			fields = binary.AppendUvarint(fields, uint64(len(v)))
			fields = append(fields, v...)
		}
	}
	return fields, r.seal(fields)
}

func (r *Response) seal(fields []byte) [32]byte {
	b := make([]byte, 0, 8+len(fields)+len(r.Digest))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Status))
	b = append(b, fields...)
	return sha256.Sum256(append(b, r.Digest[:]...))
}

// Unseal completes r, of which a store knows status, length and digest, with stored fields and body.
// The error is ErrDamaged.
func (r *Response) Unseal(fields, body []byte, seal [32]byte) error {
	if int64(len(body)) != r.Length || sha256.Sum256(body) != r.Digest || r.seal(fields) != seal {
		return ErrDamaged
	}
	header, err := unpackFields(fields)
	if err != nil {
		return err
	}
	r.Header, r.Body, r.Replayable = header, body, true
	return nil
}

func cutPart(b []byte) (part string, rest []byte, ok bool) {
	n, w := binary.Uvarint(b)
	if w <= 0 || n > uint64(len(b)-w) {
		return "", nil, false
	}
	return string(b[w : w+int(n)]), b[w+int(n):], true
}

// UnsealHeader is Unseal for a reader that does without the content: Body stays nil, and Replayable says that
// it could be read.
func (r *Response) UnsealHeader(fields []byte, seal [32]byte) error {
	if r.seal(fields) != seal {
		return ErrDamaged
	}
	header, err := unpackFields(fields)
	if err != nil {
		return err
	}
	r.Header, r.Replayable = header, true
	return nil
}

func unpackFields(fields []byte) (map[string][]string, error) {
	header := make(map[string][]string)
	for len(fields) > 0 {
		var name, value string
		var ok bool
		if name, fields, ok = cutPart(fields); !ok {
			return nil, ErrDamaged
		}
		if value, fields, ok = cutPart(fields); !ok {
			return nil, ErrDamaged
		}
		header[name] = append(header[name], value)
	}
	return header, nil
}

// Derive turns the record as written into the record as it is at now, by the store's clock: an
// executing one whose owner has no lease, or whose deadline is more than a lease ago, is in doubt; a
// completed one whose body has expired is forgotten. Every reader of a store applies it, so that all
// gateways see the same state at the same instant whether or not a sweep has come by.
func (r *Record) Derive(now time.Time, ownerHasLease bool, lease time.Duration) {
	r.Observed = now
	switch r.State {
	case Executing:
		if !ownerHasLease {
			r.State, r.Cause = Unknown, CauseOwnerGone
		} else if now.After(r.Deadline.Add(lease)) {
			r.State, r.Cause = Unknown, CauseOverdue
		}
	case Completed:
		if !r.BodyExpires.After(now) {
			r.State = Forgotten
			if r.Response != nil {
				r.Response = r.Response.Bodiless()
			}
		}
	case Unseen, NotExecuted, Unknown, Cancelled, Forgotten:
	}
}
