package reconcile

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/onceway/onceway/gateway/problem"
)

// serveContent answers with content whose fields have been set, or the parts of it that are asked for, if the
// conditions of the request hold (RFC 9110, sections 13 and 14). If that fails nothing has been answered, and
// the fields are those of the problem.
func serveContent(w http.ResponseWriter, r *http.Request, content []byte) (p problem.Problem, failed bool) {
	h := w.Header()
	tag := h.Get("ETag")
	held := &withheld{ResponseWriter: w}
	r = inOneLine(r, "If-Match", "If-None-Match")
	if asked := r.Header.Get("Range"); asked != "" {
		ranges, ok := byteRanges(asked, len(content))
		r = r.Clone(r.Context())
		r.Header.Set("Range", ranges)
		if !ok || len(content) == 0 || r.Method != http.MethodGet {
			r.Header.Del("Range") // to be ignored: RFC 9110 section 14.2
		}
	}
	http.ServeContent(held, r, "", time.Time{}, bytes.NewReader(content))
	switch held.status {
	case 0:
		return p, false
	case http.StatusPreconditionFailed:
		p = problem.NewPreconditionFailed()
	default:
		p = problem.NewRangeNotSatisfiable()
	}
	for _, name := range []string{"Content-Encoding", "Content-Language", problem.HeaderResponseStatus, problem.HeaderLink} {
		h.Del(name) // of the content, and what the problem says itself
	}
	h.Set("ETag", tag)
	return p, true
}

// inOneLine returns r with one line of each of these lists (RFC 9110 section 5.3): http.ServeContent reads the first alone.
func inOneLine(r *http.Request, names ...string) *http.Request {
	in := r
	for _, name := range names {
		if lines := in.Header[name]; len(lines) > 1 {
			if r == in {
				r = in.Clone(in.Context())
			}
			r.Header.Set(name, strings.Join(lines, ", "))
		}
	}
	return r
}

// byteRanges returns what a field asks for of a content of this size; ok is false if the field does not have the
// form of ranges of bytes (RFC 9110 section 14.1.2), be they there or not. The last 0 bytes are never there, which
// http.ServeContent does not know: they become what begins behind the end.
func byteRanges(field string, size int) (ranges string, ok bool) {
	set, ok := strings.CutPrefix(field, "bytes=")
	if !ok {
		return "", false
	}
	var specs []string
	for spec := range strings.SplitSeq(set, ",") {
		if spec = strings.TrimSpace(spec); spec == "" {
			continue
		}
		first, last, ok := strings.Cut(spec, "-")
		from, err1 := strconv.ParseInt("0"+first, 10, 64)
		to, err2 := strconv.ParseInt("0"+last, 10, 64)
		if !ok || first+last == "" || err1 != nil || err2 != nil || first != "" && last != "" && to < from {
			return "", false
		}
		if first == "" && to == 0 {
			spec = strconv.Itoa(size) + "-"
		}
		specs = append(specs, spec)
	}
	return "bytes=" + strings.Join(specs, ","), len(specs) > 0
}

// withheld keeps back what net/http says in its own words when it refuses.
type withheld struct {
	http.ResponseWriter
	status int // of the refusal
}

func (w *withheld) WriteHeader(status int) {
	if status >= 400 {
		w.status = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *withheld) Write(b []byte) (int, error) {
	if w.status != 0 {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}
