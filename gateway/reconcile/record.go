package reconcile

import (
	"encoding/base64"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// What a caller sees of a record, as the document has it.
type (
	// Record is a record as its caller sees it.
	Record = reconciliation.Record
	// Request is what a record keeps of its request; null for an operation cancelled before it came.
	Request = reconciliation.Request
	// Response is what is known of the answer; null if there is none.
	Response = reconciliation.Response
	// Times are RFC 3339 in UTC; what has not happened is null.
	Times = reconciliation.Times
	// Resolution says who settled an operation in doubt, and on which evidence.
	Resolution = reconciliation.Resolution
)

// NewRecord shows r, with the body of its response if it is asked for and still there.
func NewRecord(r idempotency.Record, withBody bool) Record {
	out := Record{
		Key: string(r.Operation.Key), Operation: r.ID.String(),
		State: reconciliation.State(r.Believed().String()), Next: reconciliation.Next(nextOf(r).String()),
		Revision: r.Revision, Attempts: r.Attempt.N, TraceID: r.Trace.String(),
	}
	at := [...]time.Time{r.FirstSeen, r.Claimed, r.Settled, r.BodyExpires, r.Expires}
	out.Times = Times{FirstSeen: instant(&at[0]), Dispatched: instant(&at[1]), Settled: instant(&at[2]), BodyExpires: instant(&at[3]), Expires: instant(&at[4])}
	if !r.Fingerprint.IsZero() {
		out.Request = &Request{Method: r.Method, Target: r.Target, Fingerprint: r.Fingerprint.String()}
	}
	if r.Response != nil {
		out.Response = NewResponse(r.Response, withBody)
	}
	if r.Resolution != nil {
		out.Resolution = &Resolution{By: SignedBy(r.Resolution.By), Evidence: r.Resolution.Evidence, At: r.Resolution.At.UTC()}
	}
	return out
}

// NewResponse shows an answer, with its body if it is asked for and still there.
func NewResponse(r *idempotency.Response, withBody bool) *Response {
	out := &Response{Status: r.Status, Headers: r.Header, Length: r.Length, Digest: r.DigestField(), BodyAvailable: r.Replayable}
	if withBody && r.Replayable {
		body := string(r.Body)
		out.BodyEncoding = reconciliation.ResponseBodyEncodingUTF8
		if !utf8.Valid(r.Body) {
			body, out.BodyEncoding = base64.StdEncoding.EncodeToString(r.Body), reconciliation.ResponseBodyEncodingBase64
		}
		out.Body = &body
	}
	return out
}

// SignedBy returns who stands for something, as it is shown: an operator's name, or "probe" or "gateway".
func SignedBy(by string) string {
	if name, ok := idempotency.Operator(by); ok {
		return name
	}
	return by
}

// instant shows a time as it stands where t points; nil if it is zero.
func instant(t *time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	*t = t.UTC()
	return t
}

// WriteRecord answers with r as JSON. The caller has set the headers of the protocol.
func WriteRecord(w http.ResponseWriter, status int, r idempotency.Record, withBody bool) {
	writeJSON(w, status, NewRecord(r, withBody))
}
