package reconcile

import (
	"context"
	"errors"
	"net/http"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// AcknowledgeRequest erases the content of the operation's answer: the caller has it, and nobody needs it any more.
// The call may be repeated.
func (a *api) AcknowledgeRequest(ctx context.Context, in reconciliation.AcknowledgeRequestRequestObject) (reconciliation.AcknowledgeRequestResponseObject, error) {
	call := callOf(ctx)
	rec, err := a.Engine.Acknowledge(context.WithoutCancel(call.ev.Context()), call.operation(in.Key).ID())
	switch {
	case errors.Is(err, idempotency.ErrAnswerInSpool):
		p := problem.NewStoreUnavailable()
		p.Detail = "The answer is still on its way to the gateway's store, which was away. Nothing was erased. Repeat this call."
		return nil, refused{p}
	case err != nil:
		return nil, a.unwritten(call.ev, err)
	}
	switch rec.Believed() {
	case idempotency.Unseen:
		return nil, refused{problem.NewUnseen()}
	case idempotency.Executing, idempotency.Unknown:
		return nil, refused{a.about(call, problem.NewNotSettled(problem.OfRecord(rec.Believed()), nextOf(rec)), rec)}
	case idempotency.Completed:
		if rec.Damaged {
			return nil, a.damaged(call, rec)
		}
		return nil, a.unwritten(call.ev, errors.New("the store neither took nor refused an acknowledgement"))
	case idempotency.Forgotten, idempotency.Cancelled, idempotency.NotExecuted:
	}
	a.stamp(call, rec)
	return nothing(http.StatusNoContent), nil
}

// unwritten answers where nobody knows whether a change was written.
func (a *api) unwritten(ev *telemetry.Event, err error) error {
	a.fault(ev, err)
	p := problem.NewStoreUnavailable()
	p.Detail = "The gateway's store did not answer in time, so it is not known whether the change was written. Repeat this call: that is always safe."
	return refused{p}
}
