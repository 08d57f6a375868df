package postgres

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

// readRecord is a derived record whose answer is still to be checked.
type readRecord struct {
	idempotency.Record
	settledNow         bool      // by the transaction that read it
	whole              bool      // its answer, if it has one, has been read and checked
	payloadDay         time.Time // of a completed one
	fields, body, seal []byte
}

// row is one row of read.sql, or of a statement that returns the same columns.
type row struct {
	now                                pgtype.Timestamptz
	exists, hasLease                   pgtype.Bool
	id, attemptID, owner               pgtype.UUID
	caller, key, method, target, cause pgtype.Text
	route                              pgtype.Text
	state, fingerprintVersion, status  pgtype.Int2
	attempt                            pgtype.Int4
	revision, epoch, length            pgtype.Int8
	resend, doubted, contradicted      pgtype.Bool
	fingerprint, trace, digest         []byte
	firstSeen, claimed, deadline       pgtype.Timestamptz
	settled, bodyExpires, expires      pgtype.Timestamptz
	resolvedAt                         pgtype.Timestamptz
	resolvedBy, resolvedEvidence       pgtype.Text
	fields, body, seal                 []byte // of read_with_payloads.sql only
	columns                            []any
}

func newRow(payloads bool) *row {
	w := new(row)
	w.columns = []any{&w.now, &w.exists, &w.hasLease,
		&w.id, &w.caller, &w.key, &w.state, &w.revision, &w.attempt, &w.attemptID, &w.owner, &w.epoch,
		&w.fingerprintVersion, &w.fingerprint, &w.method, &w.target, &w.route, &w.resend, &w.doubted, &w.contradicted, &w.cause, &w.trace,
		&w.firstSeen, &w.claimed, &w.deadline, &w.settled, &w.bodyExpires, &w.expires,
		&w.status, &w.length, &w.digest, &w.resolvedAt, &w.resolvedBy, &w.resolvedEvidence}
	if payloads {
		w.columns = append(w.columns, &w.fields, &w.body, &w.seal)
	}
	return w
}

// scan reads a row. What is read is the caller's.
func (w *row) scan(rows pgx.Rows, lease time.Duration) (r readRecord, err error) {
	if err := rows.Scan(w.columns...); err != nil {
		return r, err
	}
	r.ID, r.Observed = w.id.Bytes, w.now.Time.UTC()
	if !w.exists.Bool {
		return r, nil
	}
	r.Operation = idempotency.Operation{Caller: idempotency.Caller(w.caller.String), Key: idempotency.Key(w.key.String)}
	r.State, r.Revision = idempotency.State(w.state.Int16), w.revision.Int64
	r.Method, r.Target, r.Route, r.Cause = w.method.String, w.target.String, w.route.String, idempotency.Cause(w.cause.String)
	r.Resend, r.Doubted, r.Contradicted = w.resend.Bool, w.doubted.Bool, w.contradicted.Bool
	r.FirstSeen, r.Expires, r.BodyExpires, r.Settled = at(w.firstSeen), at(w.expires), at(w.bodyExpires), at(w.settled)
	r.settledNow = w.settled.Valid && w.settled.Time.Equal(w.now.Time)
	if w.attempt.Int32 > 0 { // not a tombstone
		r.Attempt = idempotency.Attempt{
			Operation: r.ID, ID: w.attemptID.Bytes, N: int(w.attempt.Int32),
			Owner: idempotency.Owner{Instance: w.owner.Bytes, Epoch: w.epoch.Int64},
		}
		r.Claimed, r.Deadline = at(w.claimed), at(w.deadline)
		r.Fingerprint.Version = uint8(w.fingerprintVersion.Int16)
		if copy(r.Fingerprint.Sum[:], w.fingerprint) != len(w.fingerprint) {
			return r, fmt.Errorf("fingerprint of %d bytes", len(w.fingerprint))
		}
	}
	if len(w.trace) == len(r.Trace.TraceID)+len(r.Trace.SpanID) {
		copy(r.Trace.SpanID[:], w.trace[copy(r.Trace.TraceID[:], w.trace):])
	}
	if w.status.Valid {
		r.Response = &idempotency.Response{Status: int(w.status.Int16), Length: w.length.Int64}
		if copy(r.Response.Digest[:], w.digest) != len(r.Response.Digest) {
			return r, fmt.Errorf("digest of %d bytes", len(w.digest))
		}
	}
	if w.resolvedAt.Valid {
		r.Resolution = &idempotency.Resolution{By: w.resolvedBy.String, Evidence: w.resolvedEvidence.String, At: at(w.resolvedAt)}
	}
	if r.State == idempotency.Completed {
		r.payloadDay = r.BodyExpires.Truncate(day)
	}
	r.fields, r.body, r.seal = w.fields, w.body, w.seal
	r.Derive(r.Observed, w.hasLease.Bool, lease)
	return r, nil
}

func at(t pgtype.Timestamptz) time.Time {
	if !t.Valid {
		return time.Time{}
	}
	return t.Time.UTC()
}

// lacksAnswer says whether the record is completed but its answer neither read nor in hand: the one in
// hand counts only if the transaction that was read in stored it.
func (r *readRecord) lacksAnswer(inHand *idempotency.Response) bool {
	return r.State == idempotency.Completed && !r.whole &&
		!(inHand != nil && r.settledNow && r.Response != nil && inHand.Digest == r.Response.Digest)
}

// unseal gives a completed record its stored answer, if that matches its seal.
func (r *readRecord) unseal() {
	r.whole = true
	if r.State != idempotency.Completed {
		return
	}
	if r.Response == nil || len(r.seal) != 32 || r.Response.Unseal(r.fields, r.body, [32]byte(r.seal)) != nil {
		r.Response, r.Damaged = nil, true
	}
}
