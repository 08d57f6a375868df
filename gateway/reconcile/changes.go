package reconcile

import (
	"context"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// ListRequests will list the caller's records in the order of their last changes. New does not mount it yet.
func (a *api) ListRequests(context.Context, reconciliation.ListRequestsRequestObject) (reconciliation.ListRequestsResponseObject, error) {
	return nil, refused{problem.NewNoRoute()}
}
