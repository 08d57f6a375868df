package ledger

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// operations is what the backend remembers of operations, as a table of its database would: which one
// was executed, with which answer, and which attempts it refuses.
type operations struct {
	mu     sync.Mutex
	done   map[string]executedOperation
	fences map[string]int // attempts up to this one are refused
}

type executedOperation struct {
	attempt int
	status  int
	fields  map[string][]string
	body    string
}

// execute has an effect, unless the attempt is fenced: then it reports false.
func (o *operations) execute(operation, attempt string, what executedOperation, effect func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	what.attempt, _ = strconv.Atoi(attempt)
	if fence, ok := o.fences[operation]; ok && operation != "" && what.attempt <= fence {
		return false
	}
	effect()
	if o.done == nil {
		o.done = map[string]executedOperation{}
	}
	if _, twice := o.done[operation]; !twice && operation != "" {
		o.done[operation] = what
	}
	return true
}

// ask returns what was executed. What was not is fenced up to attempt, if that is more than 0.
func (o *operations) ask(operation string, attempt int) (executedOperation, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	what, ok := o.done[operation]
	if !ok && attempt > 0 {
		if o.fences == nil {
			o.fences = map[string]int{}
		}
		o.fences[operation] = max(o.fences[operation], attempt)
	}
	return what, ok
}

// probe answers GET /probe/KIND/OPERATION, and writes a line. The kinds are:
//
//	plain     200 or 404
//	envelope  as a backend that takes part: 200 with its word, or 404 that refuses the attempt from now on
//	blind     404, whatever was executed
//	broken    503
func (p *process) probe(w http.ResponseWriter, r *http.Request, e Entry) {
	kind, operation, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, probePath), "/")
	e.Event = Probe
	p.book.write(e)
	attempt, _ := strconv.Atoi(e.Attempt)
	if kind != "envelope" {
		attempt = 0
	}
	what, executed := p.operations.ask(operation, attempt)
	switch {
	case kind == "broken":
		w.WriteHeader(http.StatusServiceUnavailable)
	case kind == "blind" || !executed:
		if attempt > 0 {
			w.Header().Set("Onceway-Fenced", "true")
		}
		w.WriteHeader(http.StatusNotFound)
	case kind == "envelope":
		if what.fields == nil {
			what.fields = map[string][]string{}
		}
		w.Header().Set("Content-Type", "application/vnd.onceway.operation+json")
		json.NewEncoder(w).Encode(map[string]any{
			"operation": operation, "attempt": what.attempt, "state": "executed",
			"response": map[string]any{
				"status": what.status, "headers": what.fields,
				"body": base64.StdEncoding.EncodeToString([]byte(what.body)), "body_encoding": "base64",
			},
		})
	default:
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte("executed " + operation + "\n"))
	}
}

const probePath = "/probe/"

// Probe is where the backend is asked about operations, in one of the kinds: the URL of a route's probe.
func (b *Backend) Probe(kind string) string { return b.URL() + probePath + kind + "/{operation}" }
