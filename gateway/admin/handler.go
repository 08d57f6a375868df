package admin

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/onceway/onceway/gateway/problem"
)

// Options of a handler.
type Options struct {
	Checks  []Check       // readiness is that all of them pass
	Spool   func() *Spool // for /readyz?verbose; nil, or one that returns nil = there is none
	Metrics http.Handler  // for /metrics; nil = there is none
	API     http.Handler  // for /admin/v1 and the pages of its problems; nil = there is none
	Log     *slog.Logger  // hears when a check begins to fail, and when it passes again
	Timeout time.Duration // of one check. Default: 2s
}

// Ready is what /readyz says of a gateway that is ready, and a line end.
const Ready = "ready"

// Handler serves /livez, /readyz and /metrics, to GET and HEAD only.
//
// /readyz answers 200 "ready", or 503 "not ready: " and the names of the checks that failed. With
// ?verbose the answer is JSON, lists every check, and says what is in the spool, if there is one.
func Handler(opts Options) http.Handler {
	if opts.Timeout == 0 {
		opts.Timeout = 2 * time.Second
	}
	ready := readyz{newReadiness(opts), opts.Spool}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.Handle("GET /readyz", ready)
	if opts.Metrics != nil {
		mux.Handle("GET /metrics", opts.Metrics)
	}
	if opts.API != nil {
		mux.Handle(BasePath+"/", opts.API)
		mux.Handle(problem.PagesPath, opts.API)
	}
	return mux
}

type readyz struct {
	checks readiness
	spool  func() *Spool // may be nil
}

// verbose is the answer to ?verbose.
type verbose struct {
	Ready  bool     `json:"ready"`
	Checks []result `json:"checks"`
	Spool  *Spool   `json:"spool,omitempty"`
}

func (r readyz) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	results := r.checks.ask(req.Context())
	var failed []string
	for _, result := range results {
		if !result.OK {
			failed = append(failed, result.Name)
		}
	}
	status := http.StatusOK
	if len(failed) > 0 {
		status = http.StatusServiceUnavailable
	}
	if req.URL.Query().Has("verbose") {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		answer := verbose{Ready: len(failed) == 0, Checks: results}
		if r.spool != nil {
			answer.Spool = r.spool()
		}
		// Names, numbers and instants cannot fail to encode, and a client that is gone needs no answer.
		_ = json.NewEncoder(w).Encode(answer)
		return
	}
	if len(failed) > 0 {
		plain(w, status, "not ready: "+strings.Join(failed, ", ")+"\n")
		return
	}
	plain(w, status, Ready+"\n")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	io.WriteString(w, text)
}
