package cors

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Field names, in canonical form.
const (
	origin           = "Origin"
	vary             = "Vary"
	allowOrigin      = "Access-Control-Allow-Origin"
	allowCredentials = "Access-Control-Allow-Credentials"
	allowMethods     = "Access-Control-Allow-Methods"
	allowHeaders     = "Access-Control-Allow-Headers"
	exposeHeaders    = "Access-Control-Expose-Headers"
	maxAge           = "Access-Control-Max-Age"
	requestMethod    = "Access-Control-Request-Method"
	requestHeaders   = "Access-Control-Request-Headers"
)

// exposed are the fields that a page may read of every answer: those of the protocol, and those that our own
// APIs send beside the ones that every page may read anyway. Credentials make * mean nothing, so they are named.
var exposed = []string{
	"Idempotency-State", "Idempotency-Next", "Idempotency-Expires", "Idempotency-Resolved", "Idempotency-Response-Status",
	"Idempotent-Replayed", "Link", "Location", "Retry-After", "ETag", "Preference-Applied",
	"Accept-Ranges", "Allow", "Content-Encoding", "Content-Range", "Date",
}

// Answer sets what a page may know of the answer to r, whose fields are h. Of one that a backend has begun the
// fields are extended. With all, the page may read every field of the answer, which makes a replay, of which the
// backend's Access-Control-Expose-Headers is not kept, as readable as the first answer was. The values in h may
// be shared, and are not written to.
func (p *Policy) Answer(h http.Header, r *http.Request, all bool) {
	if p == nil {
		return
	}
	if !slices.Contains(h[vary], "*") { // which says more
		h[vary] = extended(h[vary], origin)
	}
	from := of(r)
	v := p.judge(from)
	if !v.listed {
		return
	}
	p.allow(h, v, from)
	names := exposed
	if all {
		names = slices.Concat(exposed, readable(h))
	}
	h[exposeHeaders] = extended(h[exposeHeaders], names...)
}

// allow says that the page may read. What a backend has said of this very origin stands: it may have allowed
// credentials. What it has said of another one, or of all, is replaced.
func (p *Policy) allow(h http.Header, v verdict, from string) {
	if said := h[allowOrigin]; len(said) != 1 || said[0] != from {
		h[allowOrigin] = []string{"*"}
		if v.named {
			h[allowOrigin] = []string{from}
		}
		delete(h, allowCredentials)
	}
	if v.credentials {
		h[allowCredentials] = []string{"true"}
	}
}

// of returns the origin of a request; "" if it names none, or several.
func of(r *http.Request) string {
	if lines := r.Header[origin]; len(lines) == 1 {
		return lines[0]
	}
	return ""
}

// readable returns the names of h that a page may read if it is told so. Set-Cookie never is.
func readable(h http.Header) []string {
	var names []string
	for name, values := range h {
		switch {
		case values == nil, strings.HasPrefix(name, "Access-Control-"), name == "Set-Cookie", name == vary, !httpguts.ValidHeaderFieldName(name):
		case name == "Cache-Control", name == "Content-Language", name == "Content-Length", name == "Content-Type",
			name == "Expires", name == "Last-Modified", name == "Pragma": // readable without being told
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// extended returns one line with the members of a list and those names that are not among them yet.
func extended(lines []string, names ...string) []string {
	var all []string
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if member = textproto.TrimString(member); member != "" {
				all = append(all, member)
			}
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(other string) bool { return strings.EqualFold(other, name) }) {
			all = append(all, name)
		}
	}
	return []string{strings.Join(all, ", ")}
}
