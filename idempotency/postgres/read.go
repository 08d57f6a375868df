package postgres

import (
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
)

// readRecord is a derived record whose answer is still to be checked.
type readRecord struct {
	idempotency.Record
	settledNow         bool      // by the transaction that read it
	payloadDay         time.Time // of a completed one
	fields, body, seal []byte
}

// scan reads one row of read.sql, or of read_with_payloads.sql.
func scan(rows pgx.Rows, lease time.Duration, payloads bool) (readRecord, error) {
	var (
		r                                            readRecord
		now                                          time.Time
		exists                                       bool
		id                                           [16]byte
		hasLease                                     *bool
		caller, key, method, target, cause           *string
		state, fingerprintVersion, status            *int16
		attempt                                      *int32
		revision, epoch, length                      *int64
		resend, doubted, contradicted                *bool
		attemptID, owner                             *[16]byte
		fingerprint, trace, digest                   []byte
		firstSeen, claimed, deadline, settled        *time.Time
		bodyExpires, expires, resolvedAt, payloadDay *time.Time
		resolvedBy, resolvedEvidence                 *string
	)
	columns := []any{&now, &exists, &hasLease,
		&id, &caller, &key, &state, &revision, &attempt, &attemptID, &owner, &epoch,
		&fingerprintVersion, &fingerprint, &method, &target, &resend, &doubted, &contradicted, &cause, &trace,
		&firstSeen, &claimed, &deadline, &settled, &bodyExpires, &expires,
		&status, &length, &digest, &payloadDay, &resolvedAt, &resolvedBy, &resolvedEvidence}
	if payloads {
		columns = append(columns, &r.fields, &r.body, &r.seal)
	}
	if err := rows.Scan(columns...); err != nil {
		return r, err
	}
	r.ID, r.Observed = id, now.UTC()
	if !exists {
		return r, nil
	}
	r.Operation = idempotency.Operation{Caller: idempotency.Caller(*caller), Key: idempotency.Key(*key)}
	r.State, r.Revision = idempotency.State(*state), *revision
	r.Method, r.Target, r.Cause = *method, *target, idempotency.Cause(*cause)
	r.Resend, r.Doubted, r.Contradicted = *resend, *doubted, *contradicted
	r.FirstSeen, r.Expires, r.BodyExpires, r.Settled = at(firstSeen), at(expires), at(bodyExpires), at(settled)
	r.settledNow = settled != nil && settled.Equal(now)
	if attemptID != nil { // not a tombstone
		r.Attempt = idempotency.Attempt{
			Operation: id, ID: *attemptID, N: int(*attempt),
			Owner: idempotency.Owner{Instance: *owner, Epoch: *epoch},
		}
		r.Claimed, r.Deadline = at(claimed), at(deadline)
		r.Fingerprint.Version = uint8(*fingerprintVersion)
		if copy(r.Fingerprint.Sum[:], fingerprint) != len(fingerprint) {
			return r, fmt.Errorf("fingerprint of %d bytes", len(fingerprint))
		}
	}
	if len(trace) == len(r.Trace.TraceID)+len(r.Trace.SpanID) {
		copy(r.Trace.SpanID[:], trace[copy(r.Trace.TraceID[:], trace):])
	}
	r.payloadDay = at(payloadDay)
	if status != nil {
		r.Response = &idempotency.Response{Status: int(*status), Length: *length, Digest: [32]byte(digest)}
	}
	if resolvedAt != nil {
		r.Resolution = &idempotency.Resolution{By: *resolvedBy, Evidence: *resolvedEvidence, At: at(resolvedAt)}
	}
	r.Derive(r.Observed, *hasLease, lease)
	return r, nil
}

func at(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

// lacksAnswer says whether the record is completed but its answer neither read nor in hand: the one in
// hand counts only if the transaction that was read in stored it.
func (r *readRecord) lacksAnswer(inHand *idempotency.Response) bool {
	return r.State == idempotency.Completed &&
		!(inHand != nil && r.settledNow && r.Response != nil && inHand.Digest == r.Response.Digest)
}

// unseal gives a completed record its stored answer, if that matches its seal.
func (r *readRecord) unseal() {
	if r.State != idempotency.Completed {
		return
	}
	if r.Response == nil || len(r.seal) != 32 || r.Response.Unseal(r.fields, r.body, [32]byte(r.seal)) != nil {
		r.Response, r.Damaged = nil, true
	}
}
