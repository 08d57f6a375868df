package storetest

import (
	"fmt"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// sameRecord compares every visible field of two records of one operation, each read from its own
// store; instants by their distance from that store's clock.
func sameRecord(a, b idempotency.Record) error {
	type fields struct {
		ID                              idempotency.OperationID
		Operation                       idempotency.Operation
		State                           idempotency.State
		Attempt                         idempotency.AttemptID
		N                               int
		Revision                        int64
		Fingerprint                     idempotency.Fingerprint
		Method, Target, Route           string
		Resend, Doubted                 bool
		Cause                           idempotency.Cause
		Trace                           idempotency.Trace
		Contradicted, Damaged, Resolved bool
		By, Evidence                    string
	}
	of := func(r idempotency.Record) fields {
		f := fields{
			r.ID, r.Operation, r.State, r.Attempt.ID, r.Attempt.N, r.Revision, r.Fingerprint, r.Method, r.Target, r.Route,
			r.Resend, r.Doubted, r.Cause, r.Trace, r.Contradicted, r.Damaged, r.Resolution != nil, "", "",
		}
		if r.Resolution != nil {
			f.By, f.Evidence = r.Resolution.By, r.Resolution.Evidence
		}
		return f
	}
	if x, y := of(a), of(b); x != y {
		return fmt.Errorf("records differ:\n%+v\n%+v", x, y)
	}
	if a.State != idempotency.Unseen && a.Attempt.ID != (idempotency.AttemptID{}) && a.Attempt.Operation != a.ID {
		return fmt.Errorf("attempt is of operation %v, record of %v", a.Attempt.Operation, a.ID)
	}
	if err := sameResponse(a.Response, b.Response); err != nil {
		return err
	}
	instants := []struct {
		name string
		a, b time.Time
	}{
		{"first seen", a.FirstSeen, b.FirstSeen},
		{"claimed", a.Claimed, b.Claimed},
		{"deadline", a.Deadline, b.Deadline},
		{"settled", a.Settled, b.Settled},
		{"body expires", a.BodyExpires, b.BodyExpires},
		{"expires", a.Expires, b.Expires},
	}
	if a.Resolution != nil {
		instants = append(instants, struct {
			name string
			a, b time.Time
		}{"resolved", a.Resolution.At, b.Resolution.At})
	}
	for _, i := range instants {
		if !sameAge(i.a, a.Observed, i.b, b.Observed) {
			return fmt.Errorf("%s: %v at %v, but %v at %v", i.name, i.a, a.Observed, i.b, b.Observed)
		}
	}
	return nil
}

// sameEvidence compares what is kept beside one record in two stores, in any order.
func sameEvidence(a []idempotency.Evidence, nowA time.Time, b []idempotency.Evidence, nowB time.Time) error {
	type name struct {
		attempt idempotency.AttemptID
		kind    idempotency.EvidenceKind
	}
	byName := map[name]idempotency.Evidence{}
	for _, e := range a {
		byName[name{e.Attempt, e.Kind}] = e
	}
	if len(a) != len(b) || len(byName) != len(b) {
		return fmt.Errorf("%d pieces of evidence (%d distinct), want %d", len(a), len(byName), len(b))
	}
	for _, y := range b {
		x, ok := byName[name{y.Attempt, y.Kind}]
		if !ok {
			return fmt.Errorf("no evidence of kind %s for attempt %d", y.Kind, y.N)
		}
		if x.Operation != y.Operation || x.N != y.N || x.By != y.By || x.Text != y.Text || !sameAge(x.At, nowA, y.At, nowB) {
			return fmt.Errorf("evidence differs: %+v, %+v", x, y)
		}
		if err := sameResponse(x.Response, y.Response); err != nil {
			return fmt.Errorf("evidence of kind %s: %w", y.Kind, err)
		}
	}
	return nil
}
