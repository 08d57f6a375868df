package reconcile

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// The two calls by which a caller changes a record of its own. Both may be repeated.

// CancelRequest forbids the operation of a key for ever, whether its request has come or is still on its way.
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
		// There is no record, and no tombstone. The store would have written a tombstone, if it could vouch for there having been no record.
		return nil, refused{problem.NewKeyTooOld("The key is older than the gateway's present store, which was replaced by a copy of it, as in a failover, " +
			"and has no record of the key: what was executed before may have got lost. Nobody can say that it was not executed.")}
	case rec.Damaged:
		return nil, a.damaged(call, rec)
	}
	return nil, refused{a.about(call, problem.NewTooLate(problem.OfRecord(rec.Believed()), nextOf(rec)), rec)}
}

// AcknowledgeRequest erases the content of the operation's answer: the caller has it, and nobody needs it any more.
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

// KeyAges judges keys by their own dates.
type KeyAges struct {
	Keep time.Duration // how long this gateway keeps records
	// Purged is what [idempotency.RetentionStore].Purged said last: records may have been kept for less time, by another
	// configuration. It must not block. Nil: nothing was purged.
	Purged func() time.Time
}

// TooOld returns why a key's date is so far back that it may have been executed and its record purged, or nil.
// Where it has no record, it is refused.
func (k KeyAges) TooOld(keyDate, now time.Time) *problem.Problem {
	if keyDate.IsZero() {
		return nil
	}
	var limit string
	switch {
	case now.Sub(keyDate) > k.Keep:
		limit = "more than retention.key (" + k.Keep.String() + ") before our time, " + now.UTC().Format(time.RFC3339) + ","
	case k.Purged != nil && !keyDate.After(idempotency.PurgedKeys(k.Purged(), now)):
		limit = "from when retention.key was shorter than now,"
	default:
		return nil
	}
	p := problem.NewKeyTooOld("The key is dated " + keyDate.Format(time.RFC3339) + ", " + limit + " and there is no record of it: it may have been executed and forgotten.")
	p.Extensions = map[string]any{"server_time": now.UTC().Format(time.RFC3339)}
	return &p
}
