package upstream

import (
	"net/http"

	"github.com/onceway/onceway/idempotency"
)

// Outcome is what became of one request. It is a closed set: [Answered], [NotSent] or [Unknown].
type Outcome interface{ outcome() }

// Answered is a whole response. Discard it when its content is not needed any more.
type Answered struct {
	Status  int
	Header  http.Header // as received; Trailer and Transfer-Encoding are already taken out
	Trailer http.Header // nil if there was none
	Body    []byte      // the content; nil if there is a Spill
	Spill   *Spill      // the content, when it is longer than Request.MaxBody or there was no memory for it
	Length  int64       // of the content, in bytes
	Digest  [32]byte    // SHA-256 of the content
	room    *share      // what Body takes of Request.Memory
}

// NotSent says that the request had no effect, with proof.
type NotSent struct {
	Cause idempotency.Cause // CauseDialFailed, CauseTLSFailed, CauseNotReady, CauseZeroBytes, …
	Err   error
}

// Unknown says that the backend may have executed the request, and that there is no answer.
type Unknown struct {
	Cause   idempotency.Cause
	Phase   Phase
	Timeout bool // a deadline ended it; otherwise something broke
	Err     error
}

func (Answered) outcome() {}
func (NotSent) outcome()  {}
func (Unknown) outcome()  {}

// Phase says how far an attempt in doubt had come.
type Phase uint8

const (
	Writing Phase = iota + 1 // the request was not wholly handed to the kernel
	Waiting                  // it was, and no response head had come
	Reading                  // the response head was here, its content was not, or not whole
)

func (p Phase) String() string {
	switch p {
	case Writing:
		return "writing"
	case Waiting:
		return "waiting"
	case Reading:
		return "reading"
	}
	return "none"
}

// Causes of NotSent.
const (
	CauseDialFailed  idempotency.Cause = "dial-failed"  // refused, unreachable, unknown host
	CauseDialTimeout idempotency.Cause = "dial-timeout" // no connection in time
	CauseTLSFailed   idempotency.Cause = "tls-failed"   // the handshake failed, or took too long
	CauseNotReady    idempotency.Cause = "not-ready"    // Request.Ready refused
	CauseZeroBytes   idempotency.Cause = "zero-bytes"   // the connection failed before a byte was written
	CauseUnsendable  idempotency.Cause = "unsendable"   // the request cannot be put on the wire as it is
)

// Causes of Unknown.
const (
	CauseTimeout     idempotency.Cause = "timeout"
	CauseCancelled   idempotency.Cause = "cancelled"    // we gave up before the deadline, as at shutdown
	CauseReset       idempotency.Cause = "reset"        // by the peer: TCP reset or RST_STREAM, whatever its code
	CauseEOF         idempotency.Cause = "eof"          // closed before the end of the response head
	CauseTruncated   idempotency.Cause = "truncated"    // closed before the end of the content
	CauseUnprovenEnd idempotency.Cause = "unproven-end" // content that ends with the connection (RFC 9112, section 6.3, rule 8)
	CauseOversize    idempotency.Cause = "oversize"     // longer than Request.MaxSpill
	CauseMalformed   idempotency.Cause = "malformed"    // not HTTP, or contradictory lengths
	CauseSwitched    idempotency.Cause = "switched"     // 101, which nobody had asked for
	CauseSpillFailed idempotency.Cause = "spill-failed" // our own disk
	CauseLost        idempotency.Cause = "lost"         // the connection broke in some other way
)
