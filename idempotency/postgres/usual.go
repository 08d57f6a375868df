package postgres

import (
	"bytes"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
)

// alike cuts a batch into parts that have the same of what their statement takes once, each in the order of
// the batch. A gateway has one retention, and another owner only after it lost a lease: almost always there is
// one part, the batch itself.
func alike[T any, K comparable](ts []T, of func(*T) K) iter.Seq2[K, []T] {
	return func(yield func(K, []T) bool) {
		for rest := ts; len(rest) > 0; {
			first := of(&rest[0])
			if !slices.ContainsFunc(rest, func(t T) bool { return of(&t) != first }) {
				yield(first, rest)
				return
			}
			var part, others []T
			for i := range rest {
				if of(&rest[i]) == first {
					part = append(part, rest[i])
				} else {
					others = append(others, rest[i])
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
	for same, part := range alike(b.first(), sameOfClaim) {
		queueFirstClaims(q, &b.arena, same, part).Query(func(rows pgx.Rows) error { return b.takeClaimed(rows, s) })
	}
	if first, last, few := s.likelyDays(); few && s.retries.Load() > 0 {
		s.retries.Add(-1)
		ids := packedUUIDs(&b.arena, b.claims, func(t *idempotency.Claim) [16]byte { return t.Attempt.Operation })
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
			return errUnasked
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
	found, err := s.find(ctx, s.claims, ids, nil)
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

// claimsShare is what a statement that claims takes once.
type claimsShare struct {
	owner   idempotency.Owner
	keep    time.Duration // of the record
	version uint8         // of the fingerprint
}

func sameOfClaim(t *idempotency.Claim) claimsShare {
	return claimsShare{t.Attempt.Owner, t.Retention.Key, t.Fingerprint.Version}
}

// queueFirstClaims appends a statement of claims that a record need not be there for.
func queueFirstClaims(q *pgx.Batch, a *arena, same claimsShare, ts []idempotency.Claim) *pgx.QueuedQuery {
	var trace [24]byte
	return q.Queue(claimIfUnseen,
		packedUUIDs(a, ts, func(t *idempotency.Claim) [16]byte { return t.Attempt.Operation }),
		packedTexts(a, ts, func(t *idempotency.Claim) string { return string(t.Operation.Caller) }),
		packedTexts(a, ts, func(t *idempotency.Claim) string { return string(t.Operation.Key) }),
		packedUUIDs(a, ts, func(t *idempotency.Claim) [16]byte { return t.Attempt.ID }),
		uuid(same.owner.Instance), same.owner.Epoch, int16(same.version),
		packedOctets(a, ts, func(t *idempotency.Claim) []byte { return t.Fingerprint.Sum[:] }),
		packedTexts(a, ts, func(t *idempotency.Claim) string { return t.Method }),
		packedTexts(a, ts, func(t *idempotency.Claim) string { return t.TargetURI }),
		packedInt8s(a, ts, func(t *idempotency.Claim) int64 { return micros(t.Budget) }),
		packedBools(a, ts, func(t *idempotency.Claim) bool { return t.Resend }),
		packedInstants(a, ts, func(t *idempotency.Claim) time.Time { return t.KeyDate }),
		micros(same.keep),
		packedOctets(a, ts, func(t *idempotency.Claim) []byte { return traceBytes(trace[:0], t.Trace) }),
		packedTexts(a, ts, func(t *idempotency.Claim) string { return t.Route }))
}

// takeClaimed makes the records of those claims for which a row was inserted.
func (b *batch) takeClaimed(rows pgx.Rows, s *Store) error {
	var id [16]byte
	var now time.Time
	var leased bool
	for rows.Next() {
		if err := rows.Scan(&id, &now, &leased); err != nil {
			return err
		}
		if b.place(id) < 0 {
			return errUnasked
		}
		b.moved(idempotency.Record{}, b.asWritten(id), idempotency.Env{Now: now.UTC(), OwnerHasLease: leased, Lease: s.lease})
	}
	return nil
}

// moved notes the record of an operation that a statement has moved, given the record that it found: the
// statement has the conditions of [idempotency.Next], so it wrote what Next says.
func (b *batch) moved(from idempotency.Record, t idempotency.Transition, env idempotency.Env) {
	r := &b.records[b.place(t.Target())]
	r.Record, _, _ = idempotency.Next(from, t, env)
	r.Derive(env.Now, env.OwnerHasLease, env.Lease)
	r.Been = 0 // which nobody reads but the feed
	r.whole = true
	b.wrote = true
}

// asWritten returns the move of the batch about id as a statement writes it: in microseconds, and no more of
// an answer than is kept.
func (b *batch) asWritten(id idempotency.OperationID) idempotency.Transition {
	given := b.given[b.place(id)]
	switch t := given.(type) {
	case idempotency.Claim:
		budget, keep, date := t.Budget.Truncate(time.Microsecond), inMicros(t.Retention), t.KeyDate.Truncate(time.Microsecond).UTC()
		if budget != t.Budget || keep != t.Retention || date != t.KeyDate {
			t.Budget, t.Retention, t.KeyDate = budget, keep, date
			return t
		}
	case idempotency.Complete:
		if keep := inMicros(t.Retention); keep != t.Retention || !t.Response.Replayable {
			t.Retention = keep
			if !t.Response.Replayable {
				t.Response = t.Response.Bodiless()
			}
			return t
		}
	}
	return given
}

func inMicros(r idempotency.Retention) idempotency.Retention {
	return idempotency.Retention{Response: r.Response.Truncate(time.Microsecond), Key: r.Key.Truncate(time.Microsecond)}
}

// completesShare is what a statement that completes takes once.
type completesShare struct {
	owner idempotency.Owner
	keep  idempotency.Retention
}

// queueUsualCompletes appends the statements of answers that are in time. They return no records, so those
// as their claims left them have to be at hand.
func (b *batch) queueUsualCompletes(q *pgx.Batch, s *Store) {
	known := b.completes
	knows := func(t idempotency.Complete) bool {
		return t.Response != nil && t.Claimed != nil && t.Claimed.Attempt == t.Attempt && t.Claimed.State == idempotency.Executing
	}
	if slices.ContainsFunc(known, func(t idempotency.Complete) bool { return !knows(t) }) {
		known = slices.DeleteFunc(slices.Clone(known), func(t idempotency.Complete) bool { return !knows(t) })
	}
	for part := range parts(known, func(t idempotency.Complete) *idempotency.Response { return t.Response }) {
		for same, ts := range alike(part, func(t *idempotency.Complete) completesShare { return completesShare{t.Attempt.Owner, t.Retention} }) {
			b.queueInTime(q, same, ts, s.lease).Query(func(rows pgx.Rows) error { return b.takeCompleted(rows, s, ts) })
		}
	}
}

// sealed is an answer as it is kept: see [idempotency.Response.Seal].
type sealed struct {
	response *idempotency.Response
	fields   []byte // nil: it is not kept
	seal     [32]byte
}

// queueInTime appends a statement of answers that are in time.
func (b *batch) queueInTime(q *pgx.Batch, same completesShare, ts []idempotency.Complete, lease time.Duration) *pgx.QueuedQuery {
	rs, a, size := make([]sealed, len(ts)), &b.arena, 0
	for i := range ts {
		r := ts[i].Response
		if rs[i].response = r; r.Replayable {
			rs[i].fields, rs[i].seal = r.Seal()
			size += len(r.Body)
		}
	}
	content := func(r *sealed) []byte {
		if r.fields == nil || r.response.Body != nil {
			return r.response.Body
		}
		return []byte{}
	}
	var bodies any
	if size <= largestArena/2 {
		bodies = packedOctets(a, rs, content)
	} else { // what is large is not copied once more
		bodies = column(rs, func(r *sealed) octets { return content(r) })
	}
	return q.Queue(completeIfOwnInTime,
		packedUUIDs(a, ts, func(t *idempotency.Complete) [16]byte { return t.Attempt.Operation }),
		packedUUIDs(a, ts, func(t *idempotency.Complete) [16]byte { return t.Attempt.ID }),
		packedInt8s(a, ts, func(t *idempotency.Complete) int64 { return t.Claimed.Revision }),
		packedInt4s(a, rs, func(r *sealed) int { return min(r.response.Status, 1000) }), // (the schema refuses 1000 and above)
		packedInt8s(a, rs, func(r *sealed) int64 { return r.response.Length }),
		packedOctets(a, rs, func(r *sealed) []byte { return r.response.Digest[:] }),
		packedOctets(a, rs, func(r *sealed) []byte { return r.fields }),
		packedOctets(a, rs, func(r *sealed) []byte {
			if r.fields == nil {
				return nil
			}
			return r.seal[:]
		}),
		uuid(same.owner.Instance), same.owner.Epoch, micros(same.keep.Response), micros(same.keep.Key), micros(lease), bodies)
}

// takeCompleted makes the records of those answers that were written.
func (b *batch) takeCompleted(rows pgx.Rows, s *Store, ts []idempotency.Complete) error {
	var place int32
	var now time.Time
	for rows.Next() {
		if err := rows.Scan(&place, &now); err != nil {
			return err
		}
		if place < 1 || int(place) > len(ts) {
			return errUnasked
		}
		t := &ts[place-1]
		b.moved(*t.Claimed, b.asWritten(t.Attempt.Operation), idempotency.Env{Now: now.UTC(), OwnerHasLease: true, Lease: s.lease})
	}
	return nil
}
