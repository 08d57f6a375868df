package reconcile

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// answer writes the answer to any of the document's calls, whose headers have been set.
type answer func(w http.ResponseWriter) error

func (f answer) VisitGetFactsResponse(w http.ResponseWriter) error           { return f(w) }
func (f answer) VisitGetProblemPageResponse(w http.ResponseWriter) error     { return f(w) }
func (f answer) VisitGetRequestResponse(w http.ResponseWriter) error         { return f(w) }
func (f answer) VisitGetResponseResponse(w http.ResponseWriter) error        { return f(w) }
func (f answer) VisitCancelRequestResponse(w http.ResponseWriter) error      { return f(w) }
func (f answer) VisitAcknowledgeRequestResponse(w http.ResponseWriter) error { return f(w) }
func (f answer) VisitListRequestsResponse(w http.ResponseWriter) error       { return f(w) }
func (f answer) VisitQueryRequestsResponse(w http.ResponseWriter) error      { return f(w) }

// inJSON answers with a value.
func inJSON(status int, v any) answer {
	return func(w http.ResponseWriter) error {
		writeJSON(w, status, v)
		return nil
	}
}

// nothing answers without content.
func nothing(status int) answer {
	return func(w http.ResponseWriter) error {
		w.WriteHeader(status)
		return nil
	}
}

// writeJSON declares its length, so that a client sees a cut answer as one.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, _ := json.Marshal(v) // structs of strings, numbers and times cannot fail
	b = append(b, '\n')
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b)
}
