package participant

import (
	"net/http"

	"github.com/onceway/onceway/idempotency"
)

// headerFenced confirms, on the answer that an operation is absent, that it is refused from now on.
const headerFenced = "Onceway-Fenced"

// Probe answers the gateway's probes. Mount it for GET on a path that ends with {operation}:
//
//	mux.Handle("GET /operations/{operation}", table.Probe())
//
// A probe is a GET, and still it fences: what it reports absent, up to the attempt in Onceway-Attempt (or
// for ever, without that field), is refused from then on. So it obeys only a request that names its
// operation in Onceway-Operation too, a field that the gateway lets no client send. Do not expose it to
// anybody else.
//
//	200  executed, with the envelope
//	404  absent, with the envelope and Onceway-Fenced: true
//	400  not a probe
//	503  not decided, with Retry-After: a transaction holds the operation, or the database is away
func (t *Table[Tx]) Probe() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			problem(w, http.StatusMethodNotAllowed, "method-not-allowed", "A probe is a GET.")
			return
		}
		operation, n, ok := probed(r)
		if !ok {
			problem(w, http.StatusBadRequest, "not-a-probe", "A probe names the same operation in its path and in "+
				HeaderOperation+", and at most one attempt, from 1 on, in "+HeaderAttempt+".")
			return
		}
		e, err := t.Fence(r.Context(), operation, n)
		if err != nil {
			t.report(r.Context(), err)
			undecided(w)
			return
		}
		body, err := e.Encode()
		if err != nil {
			t.report(r.Context(), err)
			undecided(w)
			return
		}
		h, status := w.Header(), http.StatusOK
		if e.State == idempotency.EnvelopeAbsent {
			h.Set(headerFenced, "true")
			status = http.StatusNotFound
		}
		h.Set("Cache-Control", "no-store")
		answer(w, idempotency.NewResponse(status, map[string][]string{"Content-Type": {idempotency.EnvelopeMediaType}}, body))
	})
}

// probed reads what a probe is about. Attempt 0 is all of them.
func probed(r *http.Request) (operation idempotency.OperationID, attempt int, ok bool) {
	named, ok := one(r.Header, HeaderOperation)
	if !ok {
		return operation, 0, false
	}
	operation, err := idempotency.ParseOperationID(named)
	if err != nil {
		return operation, 0, false
	}
	if inPath, err := idempotency.ParseOperationID(r.PathValue("operation")); err != nil || inPath != operation {
		return operation, 0, false
	}
	if len(r.Header[HeaderAttempt]) == 0 {
		return operation, 0, true
	}
	number, ok := one(r.Header, HeaderAttempt)
	if !ok {
		return operation, 0, false
	}
	attempt, ok = attemptNumber(number)
	return operation, attempt, ok
}
