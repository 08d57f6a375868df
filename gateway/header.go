package gateway

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/onceway/onceway/gateway/caller"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/upstream"
)

// hopByHop are the fields of one connection (RFC 9110, section 7.6.1), and Expect, which we have met
// by reading the whole request before anything is sent.
var hopByHop = set("Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Expect")

// ours are the fields that only Onceway sets towards a backend. A client may send none of them.
// Forwarding fields are those of caller.Passes.
var ours = set(problem.HeaderOperation, problem.HeaderAttempt, problem.HeaderCaller, "Traceparent", "Tracestate", "Content-Length")

// answers are the fields by which a client recognises that Onceway answered. A backend may send none.
var answers = set(problem.HeaderState, problem.HeaderNext, problem.HeaderReplayed, problem.HeaderResolved, problem.HeaderExpires,
	problem.HeaderResponseStatus)

// volatile are end-to-end fields of one answer that a later answer must not repeat. The first caller
// gets them, they are neither stored nor replayed. Rate-limit fields are matched by name in isVolatile.
var volatile = set("Set-Cookie", "Set-Cookie2", "Www-Authenticate", "Date", "Age", "Content-Length", "Server-Timing")

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[textproto.CanonicalMIMEHeaderKey(n)] = true
	}
	return m
}

// isVolatile takes a canonical name.
func isVolatile(name string) bool {
	return volatile[name] || strings.HasPrefix(name, "Access-Control-") ||
		strings.HasPrefix(name, "Ratelimit") || strings.HasPrefix(name, "X-Ratelimit") || strings.HasPrefix(name, "X-Rate-Limit")
}

// isOurs also recognises spellings with underscores, which some backends take for hyphens.
func isOurs(name string) bool {
	if ours[name] {
		return true
	}
	if !strings.Contains(name, "_") {
		return false
	}
	return ours[textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))]
}

// isOtherSpelling reports whether a backend that takes underscores for hyphens would read name as header.
func isOtherSpelling(name, header string) bool {
	return strings.Contains(name, "_") && strings.EqualFold(strings.ReplaceAll(name, "_", "-"), header)
}

// connectionNamed returns the canonical names that the Connection fields of h make hop-by-hop.
func connectionNamed(h http.Header) map[string]bool {
	var named map[string]bool
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				if named == nil {
					named = make(map[string]bool)
				}
				named[textproto.CanonicalMIMEHeaderKey(name)] = true
			}
		}
	}
	return named
}

// toBackend returns the client's end-to-end fields: without hop-by-hop fields, ours, what only a trusted peer may
// say, and the preferences that are for us. The key stays, in the client's spelling, whatever its Connection field
// names. There is room for further fields.
func toBackend(in http.Header, keyHeader string, trusted bool) []upstream.Field {
	named := connectionNamed(in)
	out := make([]upstream.Field, 0, len(in)+fieldsOfOurs)
	for name, values := range in {
		if hopByHop[name] || isOurs(name) || named[name] && name != keyHeader || isOtherSpelling(name, keyHeader) || !caller.Passes(name, trusted) {
			continue
		}
		if name == problem.HeaderPrefer {
			values = foreignPreferences(values)
		}
		for _, value := range values {
			out = append(out, upstream.Field{Name: name, Value: value})
		}
	}
	return out
}

// fieldsOfOurs is how many fields an attempt adds, at most.
const fieldsOfOurs = 9

// fieldsToBackend are fields among which there is none of those that are still to be set. It is a
// propagation.TextMapCarrier.
type fieldsToBackend []upstream.Field

func (f *fieldsToBackend) Set(name, value string) {
	*f = append(*f, upstream.Field{Name: name, Value: value})
}
func (f *fieldsToBackend) Get(string) string { return "" }
func (f *fieldsToBackend) Keys() []string    { return nil }

// fromBackend removes from h, in place, what is of one connection and what only Onceway may say. And what has no name: net/http
// reads a space before the colon as a part of it (RFC 9112, section 5.1), and so a Set-Cookie would not be known for one.
func fromBackend(h http.Header) {
	for name := range connectionNamed(h) {
		delete(h, name)
	}
	for name := range h {
		if hopByHop[name] || answers[name] || !httpguts.ValidHeaderFieldName(name) {
			delete(h, name)
		}
	}
}

// storable splits the fields of an answer into those that are stored and replayed, and those that only
// the first caller gets. It takes over h, which fromBackend has cleaned.
func storable(h http.Header, drop []string) (stored, once http.Header) {
	delete(h, "Content-Length")
	delete(h, "Date") // ours are as good, and there must be a date
	for name, values := range h {
		if isVolatile(name) || slices.Contains(drop, name) {
			if once == nil {
				once = make(http.Header)
			}
			once[name] = values
			delete(h, name)
		}
	}
	return h, once
}

// Storable returns what is stored of the fields of an answer that somebody else than its backend brings.
// It takes over h, whose names are canonical.
func Storable(h http.Header, drop []string) http.Header {
	fromBackend(h)
	stored, _ := storable(h, drop)
	return stored
}
