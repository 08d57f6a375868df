package admin

import (
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/reconcile"
	"github.com/onceway/onceway/idempotency"
)

// Record is a record as operators see it: whose it is, and why it is as it is. What belongs to one record
// alone, beyond the members of a list's items, is there when one is asked for.
type Record struct {
	Operation    string                `json:"operation"`
	Caller       string                `json:"caller"`
	Key          string                `json:"key"`
	Route        string                `json:"route"`
	State        string                `json:"state"`
	Next         string                `json:"next"`
	Cause        string                `json:"cause"`
	Revision     int64                 `json:"revision"`
	Attempts     int                   `json:"attempts"`
	Resend       bool                  `json:"resend"`
	Doubted      bool                  `json:"doubted"`
	Contradicted bool                  `json:"contradicted"`
	Damaged      bool                  `json:"damaged"`
	Request      *reconcile.Request    `json:"request"`
	Response     *reconcile.Response   `json:"response"`
	Times        reconcile.Times       `json:"times"`
	Deadline     *time.Time            `json:"deadline"`
	Resolution   *reconcile.Resolution `json:"resolution"`
	TraceID      string                `json:"trace_id,omitempty"`
	Owner        *Owner                `json:"owner"`

	AttemptHistory []Attempt  `json:"attempt_history,omitempty"`
	Evidence       []Evidence `json:"evidence,omitempty"`
	Contradictions []Evidence `json:"contradictions,omitempty"`
}

// Owner is the gateway process that made the last attempt; null for an operation cancelled before it came.
type Owner struct {
	Instance string `json:"instance"`
	Epoch    int64  `json:"epoch"`
	// Only where one record is asked for:
	Host           string `json:"host,omitempty"`
	Alive          *bool  `json:"alive,omitempty"`
	MayHoldAnswers *bool  `json:"may_hold_answers,omitempty"`
}

// Attempt is one that something is known of: the last one, and those that left evidence.
type Attempt struct {
	N       int        `json:"n"`
	ID      string     `json:"id"`
	Claimed *time.Time `json:"claimed"`
	Proof   []string   `json:"proof"` // kinds of evidence
}

// Evidence is what is kept beside a record.
type Evidence struct {
	Kind     string              `json:"kind"`
	Attempt  int                 `json:"attempt"`
	By       string              `json:"by"`
	Text     string              `json:"text"`
	At       time.Time           `json:"at"`
	Response *reconcile.Response `json:"response"`
}

func newRecord(r idempotency.Record, withBody bool) Record {
	told := reconcile.NewRecord(r, withBody)
	out := Record{
		Operation: r.ID.String(), Caller: string(r.Operation.Caller), Key: string(r.Operation.Key), Route: r.Route,
		State: r.State.String(), Next: problem.NextOfRecord(r.State).String(), Cause: string(r.Cause),
		Revision: r.Revision, Attempts: r.Attempt.N,
		Resend: r.Resend, Doubted: r.Doubted, Contradicted: r.Contradicted, Damaged: r.Damaged,
		Request: told.Request, Response: told.Response, Times: told.Times, Deadline: instant(r.Deadline),
		Resolution: told.Resolution, TraceID: told.TraceID,
	}
	if r.Attempt.N > 0 {
		out.Owner = &Owner{Instance: instanceID(r.Attempt.Owner.Instance), Epoch: r.Attempt.Owner.Epoch}
	}
	return out
}

// newDetail adds what is kept beside a record, and what is known of its owner's leases.
func newDetail(r idempotency.Record, history []idempotency.Evidence, leases []idempotency.InstanceRecord, withBody bool) Record {
	out := newRecord(r, withBody)
	out.AttemptHistory = attemptsOf(r, history)
	out.Evidence, out.Contradictions = []Evidence{}, []Evidence{}
	for _, e := range history {
		shown := Evidence{Kind: string(e.Kind), Attempt: e.N, By: reconcile.SignedBy(e.By), Text: e.Text, At: e.At.UTC()}
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
func attemptsOf(r idempotency.Record, history []idempotency.Evidence) []Attempt {
	all := []Attempt{}
	place := map[idempotency.AttemptID]int{}
	note := func(id idempotency.AttemptID, n int) *Attempt {
		i, ok := place[id]
		if !ok {
			i = len(all)
			place[id] = i
			all = append(all, Attempt{N: n, ID: id.String(), Proof: []string{}})
		}
		return &all[i]
	}
	for _, e := range history {
		a := note(e.Attempt, e.N)
		a.Proof = append(a.Proof, string(e.Kind))
	}
	if r.Attempt.N > 0 {
		note(r.Attempt.ID, r.Attempt.N).Claimed = instant(r.Claimed)
	}
	return inOrder(all)
}
