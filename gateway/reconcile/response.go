package reconcile

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// GetResponse answers with the stored response of a key.
func (a *api) GetResponse(ctx context.Context, in reconciliation.GetResponseRequestObject) (reconciliation.GetResponseResponseObject, error) {
	call := callOf(ctx)
	rec, err := a.Engine.Await(a.Work, call.operation(in.Key).ID(), 0, func(idempotency.Record) bool { return true })
	if err != nil {
		return nil, err
	}
	switch rec.State {
	case idempotency.Unseen:
		return nil, refused{problem.NewUnseen()}
	case idempotency.Completed:
		if rec.Damaged || rec.Response == nil {
			return nil, a.damaged(call, rec)
		}
	case idempotency.Forgotten:
		return nil, refused{a.about(call, Forgotten(rec), rec)}
	case idempotency.Cancelled:
		return nil, refused{a.about(call, problem.NewCancelled(), rec)}
	case idempotency.Executing, idempotency.NotExecuted, idempotency.Unknown:
		return nil, refused{a.about(call, problem.NewNotSettled(problem.OfRecord(rec.Believed()), nextOf(rec)), rec)}
	}
	h := call.header
	a.stamp(call, rec)
	h.Set(problem.HeaderResponseStatus, strconv.Itoa(rec.Response.Status))
	h.Set("ETag", `"`+fmt.Sprintf("%x", rec.Response.Digest[:16])+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "application/octet-stream")
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language"} {
		if values := rec.Response.Header[name]; len(values) > 0 {
			h[name] = values
		}
	}
	return answer(func(w http.ResponseWriter) error {
		p, failed := serveContent(w, call.request, rec.Response.Body)
		if failed {
			return refused{a.about(call, p, rec)}
		}
		return nil
	}), nil
}

// Forgotten says what is still known of an answer whose body is gone.
func Forgotten(rec idempotency.Record) problem.Problem {
	if rec.Response == nil {
		return problem.NewResponseForgotten(0, -1, "")
	}
	return problem.NewResponseForgotten(rec.Response.Status, rec.Response.Length, rec.Response.DigestField())
}
