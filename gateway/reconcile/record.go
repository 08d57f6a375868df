package reconcile

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/onceway/onceway/idempotency"
)

// Record is a record as its caller sees it.
type Record struct {
	Key        string      `json:"key"`
	Operation  string      `json:"operation"`
	State      string      `json:"state"`
	Next       string      `json:"next"`
	Revision   int64       `json:"revision"`
	Attempts   int         `json:"attempts"`
	Request    *Request    `json:"request"`
	Response   *Response   `json:"response"`
	Times      Times       `json:"times"`
	Resolution *Resolution `json:"resolution"`
	TraceID    string      `json:"trace_id,omitempty"`
}

// Request is what a record keeps of its request; null for an operation cancelled before it came.
type Request struct {
	Method      string `json:"method"`
	Target      string `json:"target"`
	Fingerprint string `json:"fingerprint"`
}

// Response is what is known of the answer; null if there is none.
type Response struct {
	Status        int                 `json:"status"`
	Headers       map[string][]string `json:"headers,omitempty"`
	Length        int64               `json:"length"`
	Digest        string              `json:"digest"` // RFC 9530, section 2
	BodyAvailable bool                `json:"body_available"`
	Body          *string             `json:"body,omitempty"`
	BodyEncoding  string              `json:"body_encoding,omitempty"` // utf-8 or base64
}

// Times are RFC 3339 in UTC; what has not happened is null.
type Times struct {
	FirstSeen   *time.Time `json:"first_seen"`
	Dispatched  *time.Time `json:"dispatched"`
	Settled     *time.Time `json:"settled"`
	BodyExpires *time.Time `json:"body_expires"`
	Expires     *time.Time `json:"expires"`
}

// Resolution says who settled an operation in doubt, and on which evidence.
type Resolution struct {
	By       string    `json:"by"`
	Evidence string    `json:"evidence"`
	At       time.Time `json:"at"`
}

// NewRecord shows r, with the body of its response if it is asked for and still there.
func NewRecord(r idempotency.Record, withBody bool) Record {
	out := Record{
		Key: string(r.Operation.Key), Operation: r.ID.String(),
		State: r.Believed().String(), Next: nextOf(r).String(),
		Revision: r.Revision, Attempts: r.Attempt.N, TraceID: r.Trace.String(),
		Times: Times{
			FirstSeen: instant(r.FirstSeen), Dispatched: instant(r.Claimed), Settled: instant(r.Settled),
			BodyExpires: instant(r.BodyExpires), Expires: instant(r.Expires),
		},
	}
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
		out.BodyEncoding = "utf-8"
		if !utf8.Valid(r.Body) {
			body, out.BodyEncoding = base64.StdEncoding.EncodeToString(r.Body), "base64"
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

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// WriteRecord answers with r as JSON. The caller has set the headers of the protocol.
func WriteRecord(w http.ResponseWriter, status int, r idempotency.Record, withBody bool) {
	writeJSON(w, status, NewRecord(r, withBody))
}

// writeJSON declares its length, so that a client sees a cut answer as one.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, _ := json.Marshal(v) // structs of strings, numbers and times cannot fail
	b = append(b, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
