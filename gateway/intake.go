package gateway

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

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

// isFramed reports whether it is known how long the body is. Over HTTP/1.0 only a Content-Length says so: net/http
// drops a Transfer-Encoding unseen, and takes the content for what follows the request (RFC 9112, section 6.1).
func isFramed(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) || len(r.Header["Content-Length"]) > 0
}

// checkHead returns an error if a request over HTTP/2 is malformed by its method, its :path or its :authority (RFC 9113,
// section 8.3.1) in a way that net/http refuses over HTTP/1.1 only. It could not be sent to a backend, or would be read
// there as another one.
func checkHead(r *http.Request) error {
	switch {
	case r.ProtoMajor != 2:
		return nil
	case r.RequestURI[0] != '/' && r.RequestURI != "*":
		return errPath
	case !httpguts.ValidHeaderFieldName(r.Method):
		return errMethod
	case !httpguts.ValidHostHeader(r.Host):
		return errAuthority
	}
	return nil
}

var (
	errPath      = errors.New("the :path does not begin with /")
	errMethod    = errors.New("the :method is not a token")
	errAuthority = errors.New("the :authority has bytes that no host has")
)

// checkLength returns an error if a request over HTTP/2 is malformed by its Content-Length (RFC 9113, section 8.1.1). net/http
// takes one that it cannot read for 0, so that the content would be left out, and does not look at one where no content
// follows. What follows, it compares.
func checkLength(r *http.Request) error {
	lines := r.Header["Content-Length"]
	if r.ProtoMajor != 2 || len(lines) == 0 {
		return nil
	}
	if n, err := strconv.ParseUint(lines[0], 10, 63); err != nil || len(lines) > 1 || int64(n) != r.ContentLength {
		return errLength
	}
	return nil
}

var errLength = errors.New("the Content-Length is not that of the content")

// checkNothing returns a refusal if content follows, or no end, where a request over HTTP/2 says that there is none.
func checkNothing(w *recorder, r *http.Request, within time.Duration) error {
	if r.ProtoMajor != 2 || r.Header["Content-Length"] == nil {
		return nil
	}
	deadline := http.NewResponseController(w.ResponseWriter)
	_ = deadline.SetReadDeadline(time.Now().Add(within))
	if err := checkEnd(r); err != nil {
		return err
	}
	_ = deadline.SetReadDeadline(time.Time{})
	return nil
}

// checkEnd returns a refusal unless the end of a request over HTTP/2 comes where its Content-Length says. As long as it
// has not come, the client can still take the request back, or make it malformed. Over HTTP/1.1 the length is the end.
func checkEnd(r *http.Request) error {
	if r.ProtoMajor != 2 {
		return nil
	}
	if _, err := io.CopyN(io.Discard, r.Body, 1); err != io.EOF {
		return &refusal{problem.NewRequestMalformed("The body is not as long as Content-Length says, or did not end in time. Nothing was sent to the backend.")}
	}
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

// dateHeader reads an optional RFC 3339 field. The zero time says that there is none: the date that it is comes
// back a microsecond later, which is the least that a store tells apart.
func dateHeader(h http.Header, name string) (time.Time, error) {
	lines := h[name]
	if len(lines) == 0 {
		return time.Time{}, nil
	}
	if len(lines) == 1 {
		if at, ok := parseDate(textproto.TrimString(lines[0])); ok {
			if at.IsZero() {
				at = at.Add(time.Microsecond)
			}
			return at, nil
		}
	}
	return time.Time{}, &refusal{problem.NewRequestMalformed(name + " must be one RFC 3339 date, such as 2026-01-31T12:00:00Z.")}
}

// dateTime is the grammar of RFC 3339, section 5.6, with the second of a leap second apart.
var dateTime = regexp.MustCompile(`^(\d{4}-\d\d-\d\d[Tt](?:[01]\d|2[0-3]):[0-5]\d:)(?:[0-5]\d|(60))(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)$`)

// parseDate reads an RFC 3339 date. time.Parse alone takes hours of one digit and commas, which are none, and does not
// take lower case and leap seconds, which are.
func parseDate(s string) (at time.Time, ok bool) {
	m := dateTime.FindStringSubmatch(s)
	if m == nil {
		return at, false
	}
	leaps := m[2] != ""
	if leaps {
		s = m[1] + "59" + m[3] + m[4]
	}
	at, err := time.Parse(time.RFC3339, strings.ToUpper(s))
	if err != nil {
		return at, false // no such day
	}
	if at = at.UTC(); leaps {
		if at.Hour() != 23 || at.Minute() != 59 {
			return at, false // RFC 3339, section 5.7: it is the last of its day, in UTC
		}
		at = at.Add(time.Second) // our clocks do not know it
	}
	return at, true
}

// firstSent returns the date of the first attempt: the key's own, or else the header's. A date more
// than a day in the future counts as none.
func firstSent(h http.Header, key idempotency.Key, scheme idempotency.KeyDate, now time.Time) (time.Time, error) {
	header, err := dateHeader(h, problem.HeaderFirstSent)
	if err != nil {
		return time.Time{}, err
	}
	own, _ := key.Date(scheme)
	for _, at := range [...]time.Time{own, header} {
		if !at.IsZero() && !at.After(now.Add(idempotency.MaxDateAhead)) {
			return at, nil
		}
	}
	return time.Time{}, nil
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
