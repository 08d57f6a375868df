package reconcile

import (
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/onceway/onceway/gateway/problem"
)

// What net/http answers to a suffix is not always what RFC 9110 says, section 14.1.2.
func TestSuffixRanges(t *testing.T) {
	for _, c := range []struct {
		content, asked string
		status         int // 0: a problem
		contentRange   string
		body           string
	}{
		{"0123456789", "bytes=-3", 206, "bytes 7-9/10", "789"},
		{"0123456789", "bytes=-30", 206, "bytes 0-9/10", "0123456789"},
		{"0123456789", "bytes=-0", 0, "bytes */10", ""},
		{"0123456789", "bytes=-0, -00", 0, "bytes */10", ""},
		{"0123456789", "bytes=-0,0-1", 206, "bytes 0-1/10", "01"},
		{"0123456789", "bytes=0-1,-0", 206, "bytes 0-1/10", "01"},
		{"0123456789", "bytes=-0,10-", 0, "bytes */10", ""},
		{"0123456789", "bytes=--0", 200, "", "0123456789"},
		{"", "bytes=-1", 200, "", ""},
		{"", "bytes=-0", 200, "", ""},
		{"", "bytes=0-", 200, "", ""},
		{"", "bytes=x", 200, "", ""},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Range", c.asked)
		p, failed := serveContent(w, r, []byte(c.content))
		if got := w.Header().Get("Content-Range"); got != c.contentRange || failed != (c.status == 0) {
			t.Errorf("%s of %q: Content-Range %q, refused: %v", c.asked, c.content, got, failed)
		}
		if failed {
			if p.Slug != problem.RangeNotSatisfiable {
				t.Errorf("%s of %q: refused with %s", c.asked, c.content, p.Slug)
			}
			continue
		}
		if w.Code != c.status || w.Body.String() != c.body || strings.HasPrefix(w.Header().Get("Content-Type"), "multipart/") {
			t.Errorf("%s of %q: %d %q", c.asked, c.content, w.Code, w.Body)
		}
	}
}

// Lists in several lines are what they are in one (RFC 9110 section 5.3), and a HEAD has no parts (section 14.2).
func TestConditionsOfContent(t *testing.T) {
	for _, c := range []struct {
		method string
		fields []string // name, value, name, value
		status int      // 0: a problem
		length string
	}{
		{"GET", []string{"If-None-Match", `"a"`, "If-None-Match", `"tag"`}, 304, ""},
		{"GET", []string{"If-None-Match", `"a"`, "If-None-Match", `"b"`}, 200, "10"},
		{"GET", []string{"If-Match", `"a"`, "If-Match", `"tag"`}, 200, "10"},
		{"GET", []string{"If-Match", `"a"`, "If-Match", `"b"`}, 0, ""},
		{"GET", []string{"Range", "bytes=0-1"}, 206, "2"},
		{"HEAD", []string{"Range", "bytes=0-1"}, 200, "10"},
		{"HEAD", []string{"Range", "bytes=20-"}, 200, "10"},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(c.method, "/", nil)
		w.Header().Set("ETag", `"tag"`)
		for i := 0; i < len(c.fields); i += 2 {
			r.Header.Add(c.fields[i], c.fields[i+1])
		}
		before := r.Header.Clone()
		if _, failed := serveContent(w, r, []byte("0123456789")); failed != (c.status == 0) {
			t.Errorf("%s %q: refused: %v", c.method, c.fields, failed)
		} else if !failed && (w.Code != c.status || w.Header().Get("Content-Length") != c.length) {
			t.Errorf("%s %q: %d, %s bytes", c.method, c.fields, w.Code, w.Header().Get("Content-Length"))
		}
		if !reflect.DeepEqual(r.Header, before) {
			t.Errorf("%s %q: the request itself was changed", c.method, c.fields)
		}
	}
}
