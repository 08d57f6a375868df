package gateway

import (
	"net/http"
	"strconv"
	"time"
)

// recorder remembers the status for the event, and bounds how long a client may take with an answer of
// ours: net/http reads what is left of a body before it answers, and waits for ever for a client that
// does not read. What streams through has no such bounds. Unwrap lets http.ResponseController through.
type recorder struct {
	http.ResponseWriter
	status  int
	streams bool // passed through
	unread  bool // there is a request body, and it has not been read to its end
	bounded bool // a write deadline is set
}

func newRecorder(w http.ResponseWriter, r *http.Request) *recorder {
	return &recorder{ResponseWriter: w, unread: r.ContentLength != 0}
}

// lingerFor is how long a refused client may go on sending a body that nobody wants. net/http reads no
// more than 256 KiB of it.
const lingerFor = 3 * time.Second

func (w *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.status = status
		if !w.streams && !w.bounded {
			w.bound()
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// bound gives a client a minute, and a second for each 64 KiB, to take the answer.
func (w *recorder) bound() {
	w.bounded = true
	now := time.Now()
	c := http.NewResponseController(w.ResponseWriter)
	if w.unread {
		_ = c.SetReadDeadline(now.Add(lingerFor))
	}
	within := 5 * time.Minute // for a length that is not known
	if lengths := w.Header()["Content-Length"]; len(lengths) == 1 {
		if n, err := strconv.ParseInt(lengths[0], 10, 64); err == nil {
			within = time.Minute + time.Duration(n>>16)*time.Second
		}
	}
	_ = c.SetWriteDeadline(now.Add(within))
}

// finish hands the answer to the kernel and takes the deadline off: the connection may have further
// requests.
func (w *recorder) finish() {
	if !w.bounded {
		return
	}
	c := http.NewResponseController(w.ResponseWriter)
	_ = c.Flush()
	_ = c.SetWriteDeadline(time.Time{})
}

func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
