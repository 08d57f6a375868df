package upstream

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// atOnce is how long a request may be, in bytes, to be written before its response is looked at. No
// kernel's buffers are so small that the write would wait for the backend. Of a longer one the rest is
// written while the response may already be coming.
const atOnce = 16 << 10

var (
	errTarget = errors.New("request target is not in origin form, or cannot be sent as it is")
	errMethod = errors.New("request method is not a token")
	errHost   = errors.New("host has bytes that no host has")
	errField  = errors.New("a header field has bytes that no field has")
)

// compose makes the first write of an HTTP/1.1 request in buf: its head (RFC 9112, sections 2 and 3) and
// so much of its content as goes along. Nothing is in it that could end a line before its end.
func compose(buf []byte, r *Request, authority string) (message []byte, sent int, err error) {
	host := r.Host
	if host == "" {
		host = authority
	}
	switch {
	case !validTarget(r.Target):
		return buf, 0, errTarget
	case !httpguts.ValidHeaderFieldName(r.Method):
		return buf, 0, errMethod
	case !httpguts.ValidHostHeader(host):
		return buf, 0, errHost
	}
	b := append(buf[:0], r.Method...)
	b = append(b, ' ')
	b = append(b, r.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\n"...)
	if len(r.Body) > 0 || r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(r.Body)), 10)
		b = append(b, "\r\n"...)
	}
	for _, f := range r.Fields {
		if notOurs(f.Name) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
			return b, 0, errField
		}
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	sent = min(len(r.Body), max(atOnce-len(b), 0))
	return append(b, r.Body[:sent]...), sent, nil
}

// notOurs are the fields that are written from elsewhere, or that would change how the message is read.
func notOurs(name string) bool {
	switch name {
	case "Host", "Content-Length", "Transfer-Encoding", "Trailer", "Connection", "Expect":
		return true
	}
	return false
}

// validTarget reports whether s is a path, perhaps with a query, or the asterisk. Apart from what ends it
// in a request line, it goes out as it came.
func validTarget(s string) bool {
	if !strings.HasPrefix(s, "/") && s != "*" {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}
