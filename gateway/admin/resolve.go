package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
	generated "github.com/onceway/onceway/openapi/admin"
)

// ResolveRequest settles a record in doubt on an operator's word.
func (a *api) ResolveRequest(ctx context.Context, in generated.ResolveRequestRequestObject) (generated.ResolveRequestResponseObject, error) {
	by, id, said := callOf(ctx).by, callOf(ctx).id, *in.Body
	rec, err := a.Engine.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	move, err := a.moveOf(rec, said, by)
	if err != nil {
		return nil, err
	}
	if idempotency.ResultOf(move, rec).Applied {
		return a.detail(ctx, rec, false) // the same one, sent again
	}
	if p := against(rec, move.N); p != nil {
		return nil, about(*p, rec)
	}
	if !said.AcknowledgeSpool {
		leases, err := a.leasesOf(ctx, rec)
		if err != nil {
			return nil, err
		}
		if idempotency.MayHoldAnswers(leases) {
			return nil, about(problem.NewOwnerMayHoldAnswers(holding(leases, rec.Observed)), rec)
		}
	}
	result, err := a.Engine.Resolve(move)
	if err != nil {
		return nil, a.unresolved(ctx, rec, err)
	}
	if !result.Applied {
		if p := against(result.Record, move.N); p != nil {
			return nil, about(*p, result.Record)
		}
		return nil, errors.New("the store refused a resolution without a reason")
	}
	a.Observer.Resolved(move.Verdict == idempotency.VerdictExecuted)
	a.Log.LogAttrs(ctx, slog.LevelWarn, "resolved by an operator", slog.String("operation", id.String()), slog.String("by", by),
		slog.String("outcome", string(said.Outcome)), slog.Int("attempt", move.N), slog.Bool("response", said.Response != nil),
		slog.Bool("acknowledge_spool", said.AcknowledgeSpool), slog.String("state", result.Record.State.String()))
	return a.detail(ctx, result.Record, false)
}

// moveOf turns what an operator says into a move of the record.
func (a *api) moveOf(rec idempotency.Record, said generated.Resolution, by string) (idempotency.Resolve, error) {
	if rec.State == idempotency.Unseen {
		return idempotency.Resolve{}, refused{problem.NewNoRecord()}
	}
	response, err := a.stored(said.Response, rec.Route)
	if err != nil {
		return idempotency.Resolve{}, err
	}
	move := idempotency.Resolve{
		Operation: rec.ID, N: rec.Attempt.N, Verdict: idempotency.VerdictExecuted, Response: response,
		By: idempotency.ByOperator(by), Evidence: said.Evidence, Retention: a.Retention,
	}
	if said.Outcome == generated.ResolutionOutcomeNotExecuted {
		move.Verdict = idempotency.VerdictNotExecuted
	}
	if said.Attempt != nil {
		move.N = *said.Attempt
	}
	return move, nil
}

// against returns what stands against a resolution of attempt n; nil if nothing does.
func against(rec idempotency.Record, n int) *problem.Problem {
	var p problem.Problem
	switch {
	case rec.State == idempotency.Executing:
		p = problem.NewInProgress()
	case rec.State != idempotency.Unknown:
		p = problem.NewAlreadySettled(problem.OfRecord(rec.State), problem.NextOfRecord(rec.State))
	case rec.Attempt.N != n:
		p = problem.NewAttemptChanged(fmt.Sprintf("The resolution is about attempt %d, and the last one is %d.", n, rec.Attempt.N))
	default:
		return nil
	}
	return &p
}

// holding says what is known of the answers that a record's owner may hold.
func holding(leases []idempotency.InstanceRecord, now time.Time) string {
	last := leases[0]
	for _, l := range leases {
		if l.Spool != nil && l.Spool.Depth > 0 {
			last = l
			break
		}
	}
	where := fmt.Sprintf("instance %s on host %q", instanceID(last.Owner.Instance), last.Host)
	if last.Spool != nil && last.Spool.Depth > 0 {
		age := now.Sub(last.Spool.Oldest).Round(time.Second)
		return fmt.Sprintf("The owner, %s, has %d answers in its spool, the oldest for %v. "+
			"Wait until it has delivered them, or send acknowledge_spool.", where, last.Spool.Depth, age)
	}
	return fmt.Sprintf("The owner, %s, had a spool and is gone: the answer may be on its disk. "+
		"Bring it back, or send acknowledge_spool.", where)
}

// unresolved says that nobody knows whether a resolution was written.
func (a *api) unresolved(ctx context.Context, rec idempotency.Record, err error) error {
	a.Log.LogAttrs(ctx, slog.LevelError, "resolution",
		slog.String("operation", rec.ID.String()), slog.String("error", err.Error()))
	p := problem.NewStoreUnavailable()
	p.Detail = "The store did not confirm the resolution. It may be written all the same: read the record, " +
		"or send the same resolution again, which is safe."
	return about(p, rec)
}
