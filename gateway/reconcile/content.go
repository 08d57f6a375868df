package reconcile

import (
	"bytes"
	"net/http"
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
