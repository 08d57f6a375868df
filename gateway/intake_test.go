package gateway

import (
	"net/http"
	"testing"
)

// A field in several lines has the value that it has in one (RFC 9110, section 5.3).
func TestRepresentation(t *testing.T) {
	for _, tt := range []struct {
		types, encodings        []string
		mediaType, contentCoded string
	}{
		{nil, nil, "", ""},
		{[]string{"Application/JSON; charset=utf-8"}, []string{"gzip"}, "application/json", "gzip"},
		{[]string{"application/json"}, []string{"gzip", "br"}, "application/json", "gzip, br"},
		{[]string{"application/json"}, []string{"gzip, br"}, "application/json", "gzip, br"},
		{[]string{"application/json", "text/plain"}, nil, "application/json, text/plain", ""},
		{[]string{"application/json, text/plain"}, nil, "application/json, text/plain", ""},
		// Another line is another request, whatever stands behind the first one's type.
		{[]string{"application/json; charset=utf-8", "text/plain"}, nil, "application/json, text/plain", ""},
	} {
		h := http.Header{"Content-Type": tt.types, "Content-Encoding": tt.encodings}
		mediaType, encoding := representation(h)
		if mediaType != tt.mediaType || encoding != tt.contentCoded {
			t.Errorf("%q, %q: %q, %q", tt.types, tt.encodings, mediaType, encoding)
		}
	}
}
