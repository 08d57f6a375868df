package participant

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/onceway/onceway/idempotency"
)

// Result is what became of an attempt, and what to answer.
type Result struct {
	// Decision is Execute if this call had the effect, Replay if an earlier one did, and Refuse if there is
	// none and none of this attempt will follow.
	Decision Decision
	// Response is the answer. It is nil if the attempt was fenced by somebody else (Refuse), or if no answer
	// is kept (Replay).
	Response *idempotency.Response
}

// Answer sends the result.
func (r Result) Answer(w http.ResponseWriter) {
	switch {
	case r.Response != nil:
		answer(w, r.Response)
	case r.Decision == Replay:
		problem(w, http.StatusGone, "response-forgotten", "The operation was executed, and its answer is not kept any more.")
	case r.Decision == Refuse:
		problem(w, http.StatusMisdirectedRequest, "attempt-refused",
			"This attempt was declared not executed, and never will be; a later attempt may be.")
	default:
		panic("participant: a result without an answer")
	}
}

// Serve answers a protected request: [Table.Do], and then its result. A request without an operation gets
// 400, and an error 503, which tells the gateway that the outcome is unknown. Read and check the request's
// body before: as long as work runs, other attempts and probes of the operation wait.
func (t *Table[Tx]) Serve(w http.ResponseWriter, r *http.Request, work Work[Tx]) {
	a, err := FromRequest(r)
	if err != nil {
		problem(w, http.StatusBadRequest, "operation-missing", "The request carries no operation: send it through the gateway, with a key.")
		return
	}
	result, err := t.Do(r.Context(), a, work)
	if err != nil {
		t.report(r.Context(), err)
		undecided(w)
		return
	}
	result.Answer(w)
}

func answer(w http.ResponseWriter, response *idempotency.Response) {
	h := w.Header()
	for name, values := range response.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	if len(response.Body) > 0 || response.Status != http.StatusNoContent && response.Status != http.StatusNotModified {
		h.Set("Content-Length", strconv.Itoa(len(response.Body)))
	}
	w.WriteHeader(response.Status)
	_, _ = w.Write(response.Body) // whoever is gone asks again
}

// undecided says that nothing is known yet. 503 is among the gateway's default unknown_statuses.
func undecided(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	problem(w, http.StatusServiceUnavailable, "undecided", "It is not known yet whether the operation is executed. Ask again.")
}

// problem sends problem details (RFC 9457).
func problem(w http.ResponseWriter, status int, code, detail string) {
	body, err := json.Marshal(struct {
		Type   string `json:"type"`
		Code   string `json:"code"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", code, http.StatusText(status), status, detail})
	if err != nil {
		panic(errors.Join(errors.New("participant: a problem is not JSON"), err))
	}
	w.Header().Set("Cache-Control", "no-store")
	answer(w, idempotency.NewResponse(status, map[string][]string{"Content-Type": {"application/problem+json"}}, body))
}
