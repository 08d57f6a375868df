package postgres

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

// byOwner cuts a batch into its owners' parts, each in the order of the batch. A gateway has another
// owner only after it lost a lease: almost always there is one part, the batch itself.
func byOwner[T any](ts []T, owner func(*T) idempotency.Owner) iter.Seq2[idempotency.Owner, []T] {
	return func(yield func(idempotency.Owner, []T) bool) {
		for rest := ts; len(rest) > 0; {
			first := owner(&rest[0])
			if !slices.ContainsFunc(rest, func(t T) bool { return owner(&t) != first }) {
				yield(first, rest)
				return
			}
			var part, others []T
			for _, t := range rest {
				if owner(&t) == first {
					part = append(part, t)
				} else {
					others = append(others, t)
				}
			}
			if !yield(first, part) {
				return
			}
			rest = others
		}
	}
}

// queueUsualClaims appends the statements of claims of operations that have no record.
func (b *batch) queueUsualClaims(q *pgx.Batch, s *Store) {
	if len(b.claims) == 0 {
		return
	}
	for owner, part := range byOwner(b.claims, func(t *idempotency.Claim) idempotency.Owner { return t.Attempt.Owner }) {
		queueClaims(q, owner, part).Query(func(rows pgx.Rows) error { return b.takeClaimed(rows, s, part) })
	}
	if first, last, few := s.likelyDays(); few && s.retries.Load() > 0 {
		s.retries.Add(-1)
		ids := column(b.claims, func(t *idempotency.Claim) pgtype.UUID { return uuid(t.Attempt.Operation) })
		q.Queue(readWithPayloads, ids, first, last).Query(func(rows pgx.Rows) error { return b.takeRefusing(rows, s, first, last) })
	}
}

// retriesExpected is for how many batches after a claim that was refused the records that stand against
// claims are looked for at once. New requests come without that look, which costs them a tenth of a batch.
const retriesExpected = 64

// takeRefusing reads the records, with their answers, that are not of this batch's claims.
func (b *batch) takeRefusing(rows pgx.Rows, s *Store, first, last time.Time) error {
	row := newRow(true)
	for rows.Next() {
		r, err := row.scan(rows, s.lease)
		if err != nil {
			return err
		}
		i := b.place(r.ID)
		if i < 0 {
			return errors.New("the server returned a record that nobody asked for")
		}
		if b.records[i].ID == r.ID || !r.payloadDay.IsZero() && (r.payloadDay.Before(first) || r.payloadDay.After(last)) {
			continue // it is the claim's own, or its answer was not looked for
		}
		r.unseal()
		if b.stands(r, s) {
			b.records[i] = r
		}
	}
	return nil
}

// lookUp reads the records, with their answers, that stand against claims and are not known yet.
func (s *Store) lookUp(ctx context.Context, b *batch) error {
	var ids []idempotency.OperationID
	for i := range b.claims {
		if id := b.claims[i].Attempt.Operation; b.records[b.place(id)].ID != id && !slices.Contains(b.earlier, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	found, err := s.find(ctx, ids, nil)
	for _, r := range found {
		if b.stands(r, s) {
			b.records[b.place(r.ID)] = r
		}
	}
	return err
}

// stands reports whether a record stands against its claim. It does not if an earlier try of the claim
// wrote it: then the rest of Apply has to make sure of it.
func (b *batch) stands(r readRecord, s *Store) bool {
	i, _ := slices.BinarySearchFunc(b.claims, r.ID, func(t idempotency.Claim, id idempotency.OperationID) int {
		return bytes.Compare(t.Attempt.Operation[:], id[:])
	})
	if r.Attempt.ID == b.claims[i].Attempt.ID {
		b.earlier = append(b.earlier, r.ID)
		return false
	}
	s.retries.Store(retriesExpected)
	return true
}

func queueClaims(q *pgx.Batch, o idempotency.Owner, ts []idempotency.Claim) *pgx.QueuedQuery {
	c := claimColumns(ts, func(c *idempotency.Claim) *idempotency.Claim { return c })
	return q.Queue(claimIfUnseen, c.id, c.caller, c.key, c.attempt, uuid(o.Instance), o.Epoch, c.fingerprintVersion, c.fingerprint,
		c.method, c.target, c.budget, c.resend, c.keyDate, c.keepKey, c.trace, c.route)
}

// takeClaimed makes records of those claims for which a row was inserted: they hold what the claim says.
func (b *batch) takeClaimed(rows pgx.Rows, s *Store, ts []idempotency.Claim) error {
	var id [16]byte
	var now, deadline, expires time.Time
	var leased bool
	for rows.Next() {
		if err := rows.Scan(&id, &now, &deadline, &expires, &leased); err != nil {
			return err
		}
		i, _ := slices.BinarySearchFunc(ts, id, func(t idempotency.Claim, id [16]byte) int { return bytes.Compare(t.Attempt.Operation[:], id[:]) })
		t := &ts[i]
		r := &b.records[b.place(id)]
		r.Record = idempotency.Record{
			ID: id, Operation: t.Operation, State: idempotency.Executing, Attempt: t.Attempt, Revision: 1,
			Fingerprint: t.Fingerprint, Method: t.Method, Target: t.TargetURI, Route: t.Route, Resend: t.Resend, Trace: t.Trace,
			FirstSeen: now.UTC(), Claimed: now.UTC(), Deadline: deadline.UTC(), Expires: expires.UTC(),
		}
		r.Attempt.N = 1
		r.Derive(now.UTC(), leased, s.lease)
		b.wrote = true
	}
	return nil
}

// queueUsualCompletes appends the statements of answers that are in time.
func (b *batch) queueUsualCompletes(q *pgx.Batch, s *Store) {
	for part := range parts(b.completes, func(t idempotency.Complete) *idempotency.Response { return t.Response }) {
		for owner, ts := range byOwner(part, func(t *idempotency.Complete) idempotency.Owner { return t.Attempt.Owner }) {
			r := responseColumns(ts, func(t *idempotency.Complete) *idempotency.Response { return t.Response })
			q.Queue(completeIfOwnInTime,
				column(ts, func(t *idempotency.Complete) pgtype.UUID { return uuid(t.Attempt.Operation) }),
				column(ts, func(t *idempotency.Complete) pgtype.UUID { return uuid(t.Attempt.ID) }),
				column(ts, func(t *idempotency.Complete) pgtype.Int8 { return int8(micros(t.Retention.Response)) }),
				column(ts, func(t *idempotency.Complete) pgtype.Int8 { return int8(micros(t.Retention.Key)) }),
				r.status, r.length, r.digest, r.replayable, r.fields, r.body, r.seal,
				uuid(owner.Instance), owner.Epoch, micros(s.lease),
			).Query(func(rows pgx.Rows) error { return b.take(rows, s, true) })
		}
	}
}
