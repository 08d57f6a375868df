package reconcile

import (
	"context"
	"net/http"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// Facts are what a client may rely on. Durations are whole seconds, sizes bytes.
type Facts = reconciliation.Facts

// GetFacts answers with what a client may rely on. It is about no record, so State and Next are those of an empty list;
// they are there so that a client can tell the gateway from what may answer in its place.
func (a *api) GetFacts(ctx context.Context, _ reconciliation.GetFactsRequestObject) (reconciliation.GetFactsResponseObject, error) {
	facts := a.Facts
	facts.ServerTime = a.Now().UTC()
	callOf(ctx).stampNone()
	return inJSON(http.StatusOK, facts), nil
}

// GetProblemPage answers with what a problem means.
func (a *api) GetProblemPage(ctx context.Context, in reconciliation.GetProblemPageRequestObject) (reconciliation.GetProblemPageResponseObject, error) {
	html, ok := problem.Page(in.Slug)
	if !ok {
		return nil, refused{problem.NewNoRoute()}
	}
	h := callOf(ctx).header
	h.Set("Content-Security-Policy", problem.PagePolicy)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", problem.PageType)
	return answer(func(w http.ResponseWriter) error {
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(html)
		return nil
	}), nil
}
