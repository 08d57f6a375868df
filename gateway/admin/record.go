package admin

import (
	"cmp"
	"slices"

	"github.com/onceway/onceway/gateway/reconcile"
	"github.com/onceway/onceway/idempotency"
	generated "github.com/onceway/onceway/openapi/admin"
)

func newRecord(r idempotency.Record, withBody bool) generated.Record {
	told := reconcile.NewRecord(r, withBody)
	out := generated.Record{
		Operation: r.ID.String(), Caller: string(r.Operation.Caller), Key: string(r.Operation.Key), Route: r.Route,
		State: generated.RecordState(r.State.String()), Next: generated.Next(told.Next), Cause: string(r.Cause),
		Revision: r.Revision, Attempts: r.Attempt.N,
		Resend: r.Resend, Doubted: r.Doubted, Contradicted: r.Contradicted, Damaged: r.Damaged,
		Request: told.Request, Response: told.Response, Times: told.Times, Deadline: instant(r.Deadline),
		Resolution: told.Resolution, TraceID: told.TraceID,
	}
	if r.Attempt.N > 0 {
		out.Owner = &generated.Owner{Instance: instanceID(r.Attempt.Owner.Instance), Epoch: r.Attempt.Owner.Epoch}
	}
	return out
}

// newDetail adds what is kept beside a record, and what is known of its owner's leases.
func newDetail(r idempotency.Record, history []idempotency.Evidence, leases []idempotency.InstanceRecord, withBody bool) generated.Record {
	out := newRecord(r, withBody)
	out.AttemptHistory = attemptsOf(r, history)
	out.Evidence, out.Contradictions = []generated.Evidence{}, []generated.Evidence{}
	for _, e := range history {
		shown := generated.Evidence{Kind: generated.EvidenceKind(e.Kind), Attempt: e.N, By: reconcile.SignedBy(e.By), Text: e.Text, At: e.At.UTC()}
		if e.Response != nil {
			shown.Response = reconcile.NewResponse(e.Response, withBody)
		}
		if e.Kind == idempotency.EvidenceContradiction {
			out.Contradictions = append(out.Contradictions, shown)
		} else {
			out.Evidence = append(out.Evidence, shown)
		}
	}
	if out.Owner != nil {
		holds, alive := idempotency.MayHoldAnswers(leases), false
		for _, l := range leases {
			if l.Owner == r.Attempt.Owner {
				alive, out.Owner.Host = l.Alive, l.Host
			}
		}
		out.Owner.Alive, out.Owner.MayHoldAnswers = &alive, &holds
	}
	return out
}

// attemptsOf lists the attempts that are known, in order.
func attemptsOf(r idempotency.Record, history []idempotency.Evidence) []generated.Attempt {
	all := []generated.Attempt{}
	place := map[idempotency.AttemptID]int{}
	note := func(id idempotency.AttemptID, n int) *generated.Attempt {
		i, ok := place[id]
		if !ok {
			i = len(all)
			place[id] = i
			all = append(all, generated.Attempt{N: n, ID: id.String(), Proof: []generated.EvidenceKind{}})
		}
		return &all[i]
	}
	for _, e := range history {
		a := note(e.Attempt, e.N)
		a.Proof = append(a.Proof, generated.EvidenceKind(e.Kind))
	}
	if r.Attempt.N > 0 {
		note(r.Attempt.ID, r.Attempt.N).Claimed = instant(r.Claimed)
	}
	slices.SortStableFunc(all, func(a, b generated.Attempt) int { return cmp.Compare(a.N, b.N) })
	return all
}
