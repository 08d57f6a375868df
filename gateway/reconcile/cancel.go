package reconcile

import (
	"context"
	"net/http"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// CancelRequest forbids the operation of a key for ever, whether its request has come or is still on its way.
// The call may be repeated.
func (a *api) CancelRequest(ctx context.Context, in reconciliation.CancelRequestRequestObject) (reconciliation.CancelRequestResponseObject, error) {
	call := callOf(ctx)
	op := call.operation(in.Key)
	keyDate, refusal := a.FirstSent(call.request.Header, op.Key)
	if refusal != nil {
		return nil, refused{*refusal}
	}
	now := a.Now()
	tooOld := a.KeyAges.TooOld(keyDate, now)
	done, err := a.Engine.Cancel(context.WithoutCancel(call.ev.Context()), idempotency.Cancel{
		Operation: op, KeyDate: keyDate, Retention: a.Retention, Trace: call.ev.Trace(),
	}, tooOld != nil)
	if err != nil {
		return nil, a.unwritten(call.ev, err)
	}
	rec := done.Record
	switch {
	case done.Holds:
		status := http.StatusOK
		if done.New {
			status = http.StatusCreated
		}
		a.stamp(call, rec)
		return inJSON(status, NewRecord(rec, false)), nil
	case rec.State == idempotency.Unseen && tooOld != nil:
		return nil, refused{*tooOld}
	case rec.Revision == 0:
		// There is no record, and no tombstone: the store would have written one, could it vouch for there having been
		// no record.
		return nil, refused{problem.NewKeyTooOld("The key is older than the gateway's present store, which was replaced by a copy of it, as in a failover, " +
			"and has no record of the key: what was executed before may have got lost. Nobody can say that it was not executed.")}
	case rec.Damaged:
		return nil, a.damaged(call, rec)
	}
	return nil, refused{a.about(call, problem.NewTooLate(problem.OfRecord(rec.Believed()), nextOf(rec)), rec)}
}
