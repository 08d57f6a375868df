package problem

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
)

// Writer writes problems. The zero value is ready.
type Writer struct {
	// Random returns numbers in [0, 1) that spread Retry-After. Default: math/rand/v2.
	Random func() float64
}

// Write answers with p. It sets the status, the problem's headers and the body; headers that the
// caller has set before (Idempotency-Expires, Allow, CORS) stay. The only error is that the client
// could not be written to, which nobody can act on, so there is none. It returns p as it was written.
func (wr Writer) Write(w http.ResponseWriter, p Problem) Problem {
	p = p.resolved()
	body := p.json()
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set(HeaderState, p.State.String())
	h.Set(HeaderNext, p.Next.String())
	switch {
	case !p.Next.RetryAfter():
	case p.Next == p.Slug.row().next:
		h.Set(HeaderRetryAfter, wr.spread(p.Slug.row().retry))
	default:
		h.Set(HeaderRetryAfter, wr.RetryAfter(p.Next))
	}
	if p.StatusURL != "" {
		h.Add(HeaderLink, StatusLink(p.StatusURL))
	}
	w.WriteHeader(p.Status)
	w.Write(body)
	return p
}

// RetryAfter returns a value of Retry-After for an answer that is no problem, and "" if n needs none.
func (wr Writer) RetryAfter(n Next) string {
	switch n {
	case Wait:
		return wr.spread(retryWait)
	case Resend:
		return wr.spread(retryResend)
	case Reconcile:
		return wr.spread(retryReconcile)
	case Done, Stop, 0:
		return ""
	}
	panic("problem: no such next")
}

// backoff is a range of delays in whole seconds, both ends included. Clients that were refused at one
// moment do not come back at one moment.
type backoff struct{ least, most int }

var (
	retryWait      = backoff{1, 2}
	retryResend    = backoff{1, 3}
	retryReconcile = backoff{2, 5}
)

func (wr Writer) spread(b backoff) string {
	random := wr.Random
	if random == nil {
		random = rand.Float64
	}
	return strconv.Itoa(b.least + int(random()*float64(b.most-b.least+1)))
}

// members are in the order in which a human wants to read them.
type members struct {
	Type      string `json:"type"`
	Code      string `json:"code"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	State     string `json:"state"`
	Next      string `json:"next"`
	Operation string `json:"operation,omitempty"`
	StatusURL string `json:"status_url,omitempty"`
	TraceID   string `json:"trace_id,omitempty"`
}

var reserved = []string{"type", "code", "title", "status", "detail", "state", "next", "operation", "status_url", "trace_id"}

func (p Problem) json() []byte {
	row := p.Slug.row()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	// Encoding strings and numbers into memory cannot fail.
	_ = enc.Encode(members{
		Type: PagesPath + row.slug, Code: row.slug, Title: row.title, Status: p.Status, Detail: p.Detail,
		State: p.State.String(), Next: p.Next.String(),
		Operation: p.Operation, StatusURL: p.StatusURL, TraceID: p.TraceID,
	})
	for _, name := range slices.Sorted(maps.Keys(p.Extensions)) {
		if slices.Contains(reserved, name) {
			continue
		}
		member, err := json.Marshal(map[string]any{name: p.Extensions[name]})
		if err != nil {
			continue // what cannot be written is left out; the problem itself must reach the client
		}
		b.Truncate(bytes.LastIndexByte(b.Bytes(), '}'))
		b.WriteByte(',')
		b.Write(member[1:])
		b.WriteByte('\n')
	}
	return b.Bytes()
}
