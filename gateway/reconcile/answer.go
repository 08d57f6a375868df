package reconcile

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
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
	b := buffers.Get().(*bytes.Buffer)
	defer func() {
		if b.Cap() <= keptBuffer {
			buffers.Put(b)
		}
	}()
	b.Reset()
	_ = json.NewEncoder(b).Encode(v) // structs of strings, numbers and times cannot fail
	set(w.Header(), field{"Content-Type", "application/json"}, field{"Content-Length", strconv.Itoa(b.Len())})
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keptBuffer is how large a buffer may have become that is used again: bodies are asked for seldom.
const keptBuffer = 64 << 10

// field is a field of an answer; its name is in canonical case.
type field struct{ name, value string }

// set sets fields that have values.
func set(h http.Header, fields ...field) {
	values := make([]string, len(fields))
	for i, f := range fields {
		if f.value != "" {
			values[i] = f.value
			h[f.name] = values[i : i+1 : i+1]
		}
	}
}
