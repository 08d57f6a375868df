package cors

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// sendable are the fields that a page may want to send to a gateway and needs permission for.
var sendable = []string{
	"Authorization", "Content-Type", "Idempotency-Key", "Idempotency-First-Sent", "Idempotency-Deadline", "Prefer",
	"If-Match", "If-None-Match", "If-Range", "Range", "Last-Event-ID", "Cache-Control", "Traceparent", "Tracestate",
}

// remembered is for how many seconds a browser need not ask again. A change of the configuration takes that long.
const remembered = "600"

// PreflightMethod returns the method of the request that a browser asks about, if r is its question whether a
// page may send it.
func PreflightMethod(r *http.Request) (method string, ok bool) {
	if r.Method != http.MethodOptions || len(r.Header[origin]) == 0 {
		return "", false
	}
	lines := r.Header[requestMethod]
	if len(lines) != 1 || !httpguts.ValidHeaderFieldName(lines[0]) {
		return "", false
	}
	return lines[0], true
}

// Lists reports whether the origin that r comes from is listed.
func (p *Policy) Lists(r *http.Request) bool { return p.judge(of(r)).listed }

// Permit sets in h that a page of a listed origin may send a request of one of methods with the fields that it
// asks for. Which fields a backend, or a proxy in front of us, wants is not ours to know, and to say that a page
// may send one gives it nothing that other clients have not.
func (p *Policy) Permit(h http.Header, r *http.Request, methods ...string) {
	from := of(r)
	p.allow(h, p.judge(from), from)
	h[vary] = extended(h[vary], origin, requestMethod, requestHeaders)
	h[allowMethods] = []string{strings.Join(methods, ", ")}
	h[allowHeaders] = extended(sendable, asked(r)...)
	h[maxAge] = []string{remembered}
}

// asked returns the names of the fields that a page wants to send.
func asked(r *http.Request) []string {
	var names []string
	for _, line := range r.Header[requestHeaders] {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); httpguts.ValidHeaderFieldName(name) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}
