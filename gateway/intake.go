package gateway

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/reconcile"
	"github.com/onceway/onceway/gateway/route"
	"github.com/onceway/onceway/idempotency"
)

// refusal is a problem as an error: what refuses a request before an attempt.
type refusal struct{ problem.Problem }

func (r *refusal) Error() string { return r.Slug.String() }

// intake is a whole request that has passed every check that needs no record.
type intake struct {
	operation   idempotency.Operation
	id          idempotency.OperationID
	fingerprint idempotency.Fingerprint
	target      string
	body        []byte
	reserved    int64 // of the body budget
	prefer      preferences
	deadline    time.Time // zero if there is none
	keyDate     time.Time // zero if the key has none
}

// takeIn authenticates, checks and reads a request into in. It reserves memory before it reads; unless there is an
// error, the caller gives back in.reserved. The error is a *refusal. A request that ends early leaves no trace.
func (g *Gateway) takeIn(in *intake, w *recorder, r *http.Request, b *bound, t route.Target) error {
	who, err := g.callers.Resolve(r)
	if err != nil {
		return &refusal{problem.NewUnauthenticated(reconcile.Unauthenticated(err))}
	}
	if err := t.CheckQuery(); err != nil {
		return &refusal{problem.NewRequestMalformed(sentence(err))}
	}
	if !isFramed(r) {
		return &refusal{problem.NewRequestMalformed("A protected request over HTTP/1.0 needs a Content-Length, 0 if it has no body. Nothing was sent to the backend.")}
	}
	policy := &b.route.Idempotency
	key, err := keyOf(r.Header, policy.Header)
	if err != nil {
		return err
	}
	*in = intake{operation: idempotency.Operation{Caller: who, Key: key}, target: t.String(), prefer: parsePrefer(r.Header[problem.HeaderPrefer])}
	in.id = in.operation.ID()
	now := g.now()
	if in.deadline, err = dateHeader(r.Header, problem.HeaderDeadline); err != nil {
		return err
	}
	if in.keyDate, err = firstSent(r.Header, key, policy.KeyDate, now); err != nil {
		return err
	}
	if in.body, in.reserved, err = g.readBody(w, r, policy.MaxRequestBody, b.timeout); err != nil {
		return err
	}
	types, encodings := representation(r.Header)
	in.fingerprint = idempotency.Fingerprinted{
		Method: r.Method, Authority: r.Host, Target: in.target, MediaType: types, ContentEncoding: encodings, Body: in.body,
	}.Fingerprint()
	return nil
}

// statusURL returns the path of the operation's record.
func (g *Gateway) statusURL(in *intake) string {
	return reconcile.StatusURL(g.basePath, in.operation.Key)
}

// keyOf reads the one key field.
func keyOf(h http.Header, name string) (idempotency.Key, error) {
	lines := h[name]
	switch len(lines) {
	case 0:
		return "", &refusal{problem.NewKeyMissing(name)}
	case 1:
	default:
		return "", &refusal{problem.NewKeyMalformed(name, "there is more than one "+name+" field line")}
	}
	key, err := idempotency.ParseKey(lines[0])
	if err != nil {
		reason := "it cannot be read"
		if malformed := (*idempotency.KeyError)(nil); errors.As(err, &malformed) {
			reason = malformed.Reason
		}
		return "", &refusal{problem.NewKeyMalformed(name, reason)}
	}
	return key, nil
}

// readBody reads the whole body within max, and how much of the budget it took.
func (g *Gateway) readBody(w *recorder, r *http.Request, max int64, within time.Duration) (body []byte, reserved int64, err error) {
	size := r.ContentLength
	if size == 0 {
		return nil, 0, checkNothing(w, r, within)
	}
	if size > max {
		return nil, 0, tooLarge(max)
	}
	if !g.bodies.hasRoom(size) {
		return nil, 0, errNoRoom // not a byte has to come for that
	}
	// A client that stops in the middle must not hold memory for ever.
	deadline := http.NewResponseController(w.ResponseWriter)
	_ = deadline.SetReadDeadline(time.Now().Add(within))
	if body, err = g.readInParts(r, size, max); err != nil {
		g.bodies.Give(int64(cap(body)))
		return nil, 0, err
	}
	_ = deadline.SetReadDeadline(time.Time{})
	w.unread = false
	return body, int64(cap(body)), nil
}

const (
	firstPart     = 16 << 10 // of a body whose length is declared
	firstPartOpen = 4 << 10  // of any other
	growth        = 4
)

// readInParts reads a body of size bytes, or of at most max if size is negative. It takes memory, and room in the
// budget, for a first part or at most four times what has come: to declare a length costs a client nothing, and must not keep
// others out. Whatever it returns, the capacity of body is reserved.
func (g *Gateway) readInParts(r *http.Request, size, max int64) (body []byte, err error) {
	most, next := size, min(size, firstPart)
	if size < 0 {
		most, next = max, min(max, firstPartOpen)
	}
	for ended := false; ; next = min(most, next*growth) {
		held := int64(cap(body))
		if !g.bodies.takeRequest(next-held, held) {
			return body, errNoRoom
		}
		grown := make([]byte, len(body), next)
		copy(grown, body)
		for body = grown; len(body) < cap(body) && !ended; {
			n, err := r.Body.Read(body[len(body):cap(body)])
			body = body[:len(body)+n]
			if ended = err == io.EOF; err != nil && !ended {
				return body, errUpload
			}
		}
		switch {
		case size < 0 && ended:
			return body, nil
		case size >= 0 && int64(len(body)) == size:
			return body, checkEnd(r)
		case ended:
			return body, errUpload
		case int64(len(body)) == most:
			switch n, err := io.CopyN(io.Discard, r.Body, 1); {
			case n > 0:
				return body, tooLarge(max)
			case err != io.EOF:
				return body, errUpload
			}
			return body, nil
		}
	}
}

var errNoRoom error = &refusal{problem.NewOverloaded("The memory for buffered bodies (body_budget) is used up. Nothing was sent to the backend.")}

var errUpload error = &refusal{problem.NewRequestMalformed("The body ended early or did not arrive in time, so the request was dropped. Nothing was sent to the backend.")}

func tooLarge(max int64) error {
	return &refusal{problem.NewRequestTooLarge("The body is larger than max_request_body of this route, " + strconv.FormatInt(max, 10) + " bytes. Nothing was sent to the backend.")}
}

// representation returns what says how the body is to be read: media type and content encoding. Several lines of
// a field are one value (RFC 9110, section 5.3), of which each line counts.
func representation(h http.Header) (types, encodings string) {
	lines := h["Content-Type"]
	if len(lines) == 1 {
		types = mediaType(lines[0])
	} else if len(lines) > 1 {
		each := make([]string, len(lines))
		for i, line := range lines {
			each[i] = mediaType(line)
		}
		types = strings.Join(each, ", ")
	}
	return types, strings.Join(h["Content-Encoding"], ", ")
}

// mediaType returns type and subtype in lower case. What is no media type is compared as it is.
func mediaType(contentType string) string {
	if contentType == "" {
		return ""
	}
	essence, _, _ := strings.Cut(contentType, ";")
	essence = strings.ToLower(strings.TrimSpace(essence))
	if !strings.Contains(essence, "/") {
		if parsed, _, err := mime.ParseMediaType(contentType); err == nil {
			return parsed
		}
	}
	return essence
}

// mayStart returns why no new attempt of in may start now, or nil.
func (g *Gateway) mayStart(in *intake, now time.Time, slot bool) error {
	switch {
	case deadlinePassed(in.deadline, now):
		return &refusal{deadlineProblem(in.deadline, now)}
	case g.draining.Load():
		return &refusal{problem.NewOverloaded("This gateway is shutting down. Nothing was sent to the backend.")}
	case !slot:
		return &refusal{problem.NewOverloaded("All slots (max_in_flight) of the upstream are taken. Nothing was sent to the backend.")}
	}
	return nil
}

// tooOld returns why no attempt of in may start if there is no record, or nil.
func (g *Gateway) tooOld(in *intake, now time.Time) error {
	if p := g.keyAges.TooOld(in.keyDate, now); p != nil {
		return &refusal{*p}
	}
	return nil
}

func deadlinePassed(deadline, now time.Time) bool { return !deadline.IsZero() && !now.Before(deadline) }

func deadlineProblem(deadline, now time.Time) problem.Problem {
	return problem.NewDeadlinePassed(problem.HeaderDeadline + " was " + deadline.Format(time.RFC3339) + ", our time is " +
		now.UTC().Format(time.RFC3339) + ". No new attempt was started.")
}
