package reconcile

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// GetRequest answers with the record of a key.
func (a *api) GetRequest(ctx context.Context, in reconciliation.GetRequestRequestObject) (reconciliation.GetRequestResponseObject, error) {
	call := callOf(ctx)
	wait, err := a.waitOf(in.Params.Wait)
	if err != nil {
		return nil, err
	}
	withBody := in.Params.Include != nil
	if withBody && *in.Params.Include != reconciliation.GetRequestParamsIncludeBody {
		return nil, refused{problem.NewRequestMalformed("The parameter include knows body alone.")}
	}
	id, known, await := call.operation(in.Key).ID(), in.Params.IfNoneMatch, a.Engine.Await
	if known != nil {
		// Memory may confirm what the client has. Another tag may be that of a revision which memory does not know of.
		if rec, ok := a.Engine.Recall(id); !ok || wait > 0 || !matches(*known, etag(rec, withBody)) {
			await = a.Engine.AwaitStored
		}
	}
	rec, err := await(a.Work, id, wait, func(r idempotency.Record) bool {
		if r.State == idempotency.Unseen {
			return true
		}
		if known != nil {
			return !matches(*known, etag(r, withBody))
		}
		return a.known(r)
	})
	if err != nil {
		return nil, err
	}
	switch {
	case rec.State == idempotency.Unseen:
		return nil, refused{problem.NewUnseen()}
	case rec.Damaged:
		return nil, a.damaged(call, rec)
	}
	tag := etag(rec, withBody)
	a.stamp(call, rec)
	call.header["Etag"] = []string{tag}
	if known != nil && matches(*known, tag) {
		return nothing(http.StatusNotModified), nil
	}
	return inJSON(http.StatusOK, NewRecord(rec, withBody)), nil
}

// known reports whether there is nothing to wait for: no attempt is running, and nobody asks the backend.
func (a *api) known(r idempotency.Record) bool {
	return r.State != idempotency.Executing && !a.Pending(r)
}

// etag covers operation, attempt and revision, and the state, which also changes by age.
func etag(r idempotency.Record, withBody bool) string {
	tag := r.ID.String() + "-" + strconv.Itoa(r.Attempt.N) + "-" + strconv.FormatInt(r.Revision, 10) + "-" + r.State.String()
	if withBody {
		tag += "-body"
	}
	return `"` + tag + `"`
}

// matches compares weakly, as If-None-Match asks (RFC 9110, section 13.1.2).
func matches(field, tag string) bool {
	for listed := range strings.SplitSeq(field, ",") {
		if listed = strings.TrimPrefix(strings.TrimSpace(listed), "W/"); listed == tag || listed == "*" {
			return true
		}
	}
	return false
}
