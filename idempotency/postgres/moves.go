package postgres

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceway/onceway/idempotency"
)

// moves is a batch sorted by kind, with what its statements need to know together.
type moves struct {
	claims       []idempotency.Claim
	completes    []idempotency.Complete
	releases     []idempotency.Release
	doubts       []idempotency.Doubt
	resolves     []idempotency.Resolve
	notes        []idempotency.Note
	cancels      []idempotency.Cancel
	acknowledges []idempotency.OperationID
	erased       array[pgtype.Date] // where the answers of these lie; nil: on any day
	imports      []idempotency.Import

	ids    []idempotency.OperationID                         // of all, in order
	others []idempotency.OperationID                         // of those that are neither claims nor completes
	always []idempotency.OperationID                         // of those that lock the row in whatever state it is
	hand   map[idempotency.OperationID]*idempotency.Response // answers that the batch brings along

	arena arena // of the parameters that the usual statements take
}

// reset forgets everything but the memory.
func (m *moves) reset() {
	clear(m.claims)
	clear(m.completes)
	clear(m.hand)
	kept := moves{claims: m.claims[:0], completes: m.completes[:0], ids: m.ids[:0], hand: m.hand, arena: m.arena}
	*m = kept
	m.arena.reset()
}

// sort takes in the moves of a batch that is in order of operations. It returns false if two are about one.
func (m *moves) sort(ts []idempotency.Transition) bool {
	m.ids = slices.Grow(m.ids, len(ts))
	for i, t := range ts {
		id := t.Target()
		if i > 0 && id == m.ids[i-1] {
			return false
		}
		m.ids = append(m.ids, id)
		always, usual := true, false
		switch t := t.(type) {
		case idempotency.Claim:
			if len(m.claims) == 0 {
				m.claims = slices.Grow(m.claims, len(ts)-i)
			}
			m.claims = append(m.claims, t)
			always, usual = t.Resend, true
		case idempotency.Complete:
			if len(m.completes) == 0 {
				m.completes = slices.Grow(m.completes, len(ts)-i)
			}
			m.completes = append(m.completes, t)
			m.hold(id, t.Response)
			usual = true
		case idempotency.Release:
			m.releases = append(m.releases, t)
		case idempotency.Doubt:
			m.doubts = append(m.doubts, t)
		case idempotency.Resolve:
			m.resolves = append(m.resolves, t)
			if t.Verdict == idempotency.VerdictExecuted {
				m.hold(id, t.Response)
			}
		case idempotency.Note:
			m.notes = append(m.notes, t)
		case idempotency.Cancel:
			m.cancels = append(m.cancels, t)
		case idempotency.Acknowledge:
			m.acknowledges = append(m.acknowledges, t.Operation)
		case idempotency.Import:
			m.imports = append(m.imports, t)
			m.hold(id, t.Response)
		}
		if !usual {
			m.others = append(m.others, id)
		}
		if always {
			m.always = append(m.always, id)
		}
	}
	return true
}

func (m *moves) hold(id idempotency.OperationID, r *idempotency.Response) {
	if r != nil && r.Replayable {
		if m.hand == nil {
			m.hand = make(map[idempotency.OperationID]*idempotency.Response)
		}
		m.hand[id] = r
	}
}

// outcomesOnly says whether the batch belongs to the reserved connections.
func (m *moves) outcomesOnly() bool {
	return len(m.claims)+len(m.notes)+len(m.cancels)+len(m.acknowledges)+len(m.imports) == 0
}

// first are the claims that a record need not be there for.
func (m *moves) first() []idempotency.Claim {
	further := func(t idempotency.Claim) bool { return t.Further }
	if !slices.ContainsFunc(m.claims, further) {
		return m.claims
	}
	return slices.DeleteFunc(slices.Clone(m.claims), further)
}

// queueClaims appends the statements of claims, whatever the records are.
func (m *moves) queueClaims(b *pgx.Batch, lease time.Duration) {
	if len(m.claims) == 0 {
		return
	}
	for same, part := range alike(m.first(), sameOfClaim) {
		queueFirstClaims(b, &m.arena, same, part)
	}
	c := claimColumns(m.claims, func(c *idempotency.Claim) *idempotency.Claim { return c })
	b.Queue(claimIfNotExecutedOrResend, c.id, c.attempt, c.owner, c.epoch, c.fingerprintVersion, c.fingerprint,
		c.method, c.target, c.budget, c.resend, c.keyDate, c.keepKey, c.trace, micros(lease), c.route)
}

// queueCompletes appends the statements of completions, whatever the records are.
func (m *moves) queueCompletes(b *pgx.Batch, lease time.Duration) {
	for part := range parts(m.completes, func(t idempotency.Complete) *idempotency.Response { return t.Response }) {
		queueAnswers(b, part, lease)
	}
}

// queueOthers appends the statements of all other kinds that the batch has.
func (m *moves) queueOthers(b *pgx.Batch, lease time.Duration) {
	if ts := m.releases; len(ts) > 0 {
		b.Queue(releaseIfOwn,
			column(ts, func(t *idempotency.Release) pgtype.UUID { return uuid(t.Attempt.Operation) }),
			column(ts, func(t *idempotency.Release) pgtype.UUID { return uuid(t.Attempt.ID) }),
			column(ts, func(t *idempotency.Release) pgtype.Int4 { return int4(t.Attempt.N) }),
			column(ts, func(t *idempotency.Release) pgtype.Text { return text(t.Cause) }),
			column(ts, func(t *idempotency.Release) pgtype.Int8 { return int8(micros(t.Retention.Key)) }),
			micros(lease))
	}
	if ts := m.doubts; len(ts) > 0 {
		b.Queue(doubtIfOwnExecuting,
			column(ts, func(t *idempotency.Doubt) pgtype.UUID { return uuid(t.Attempt.Operation) }),
			column(ts, func(t *idempotency.Doubt) pgtype.UUID { return uuid(t.Attempt.ID) }),
			column(ts, func(t *idempotency.Doubt) pgtype.Text { return text(t.Cause) }),
			column(ts, func(t *idempotency.Doubt) pgtype.Int8 { return int8(micros(t.Retention.Key)) }))
	}
	for part := range parts(m.resolves, func(t idempotency.Resolve) *idempotency.Response { return t.Response }) {
		queueResolves(b, part, lease)
	}
	if ts := m.notes; len(ts) > 0 {
		b.Queue(noteIfUnknown,
			column(ts, func(t *idempotency.Note) pgtype.UUID { return uuid(t.Operation) }),
			column(ts, func(t *idempotency.Note) pgtype.Int4 { return int4(t.N) }),
			column(ts, func(t *idempotency.Note) pgtype.Text { return text(t.By) }),
			column(ts, func(t *idempotency.Note) pgtype.Text { return text(t.Text) }),
			micros(lease))
	}
	if ts := m.cancels; len(ts) > 0 {
		id := column(ts, func(t *idempotency.Cancel) pgtype.UUID { return uuid(t.Operation.ID()) })
		keyDate := column(ts, func(t *idempotency.Cancel) pgtype.Timestamptz { return instant(t.KeyDate) })
		keepKey := column(ts, func(t *idempotency.Cancel) pgtype.Int8 { return int8(micros(t.Retention.Key)) })
		b.Queue(cancelIfUnseen, id,
			column(ts, func(t *idempotency.Cancel) pgtype.Text { return text(t.Operation.Caller) }),
			column(ts, func(t *idempotency.Cancel) pgtype.Text { return text(t.Operation.Key) }),
			keyDate, keepKey,
			column(ts, func(t *idempotency.Cancel) octets { return traceBytes(nil, t.Trace) }))
		b.Queue(cancelIfNotExecuted, id, keyDate, keepKey)
	}
	switch {
	case len(m.acknowledges) == 0 || m.erased != nil && len(m.erased) == 0: // nothing to erase
	case m.erased != nil:
		b.Queue(planEachTime)
		b.Queue(acknowledgeIfCompleted, uuids(m.acknowledges), m.erased)
	default:
		b.Queue(acknowledgeIfCompleted, uuids(m.acknowledges), nil)
	}
	for part := range parts(m.imports, func(t idempotency.Import) *idempotency.Response { return t.Response }) {
		queueImports(b, part)
	}
}

func queueAnswers(b *pgx.Batch, ts []idempotency.Complete, lease time.Duration) {
	r := responseColumns(ts, func(t *idempotency.Complete) *idempotency.Response { return t.Response })
	b.Queue(completeIfOwnOrEarlier,
		column(ts, func(t *idempotency.Complete) pgtype.UUID { return uuid(t.Attempt.Operation) }),
		column(ts, func(t *idempotency.Complete) pgtype.UUID { return uuid(t.Attempt.ID) }),
		column(ts, func(t *idempotency.Complete) pgtype.Int4 { return int4(t.Attempt.N) }),
		column(ts, func(t *idempotency.Complete) pgtype.Int8 { return int8(micros(t.Retention.Response)) }),
		column(ts, func(t *idempotency.Complete) pgtype.Int8 { return int8(micros(t.Retention.Key)) }),
		r.status, r.length, r.digest, r.replayable, r.fields, r.body, r.seal, micros(lease))
}

func queueResolves(b *pgx.Batch, ts []idempotency.Resolve, lease time.Duration) {
	r := responseColumns(ts, func(t *idempotency.Resolve) *idempotency.Response {
		if t.Verdict != idempotency.VerdictExecuted {
			return nil
		}
		return t.Response
	})
	b.Queue(resolveIfUnknown,
		column(ts, func(t *idempotency.Resolve) pgtype.UUID { return uuid(t.Operation) }),
		column(ts, func(t *idempotency.Resolve) pgtype.Int4 { return int4(t.N) }),
		column(ts, func(t *idempotency.Resolve) pgtype.Bool { return boolean(t.Verdict == idempotency.VerdictExecuted) }),
		column(ts, func(t *idempotency.Resolve) pgtype.Text { return text(t.By) }),
		column(ts, func(t *idempotency.Resolve) pgtype.Text { return text(t.Evidence) }),
		column(ts, func(t *idempotency.Resolve) pgtype.Int8 { return int8(micros(t.Retention.Response)) }),
		column(ts, func(t *idempotency.Resolve) pgtype.Int8 { return int8(micros(t.Retention.Key)) }),
		r.status, r.length, r.digest, r.replayable, r.fields, r.body, r.seal, micros(lease))
}

func queueImports(b *pgx.Batch, ts []idempotency.Import) {
	c := claimColumns(ts, func(t *idempotency.Import) *idempotency.Claim { return &t.Claim })
	r := responseColumns(ts, func(t *idempotency.Import) *idempotency.Response { return t.Response })
	b.Queue(importIfUnseen, append(c.all(),
		column(ts, func(t *idempotency.Import) pgtype.Int8 { return int8(micros(t.Claim.Retention.Response)) }),
		column(ts, func(t *idempotency.Import) pgtype.Int4 { return int4(t.Claim.Attempt.N) }),
		column(ts, func(t *idempotency.Import) pgtype.Text { return text(t.Evidence) }),
		r.status, r.length, r.digest, r.replayable, r.fields, r.body, r.seal, c.route)...)
}

// claims are the columns of new attempts.
type claims struct {
	id, attempt, owner          array[pgtype.UUID]
	caller, key, method, target array[pgtype.Text]
	route                       array[pgtype.Text]
	epoch, budget, keepKey      array[pgtype.Int8]
	fingerprintVersion          array[pgtype.Int2]
	fingerprint, trace          array[octets]
	resend                      array[pgtype.Bool]
	keyDate                     array[pgtype.Timestamptz]
}

func claimColumns[T any](rows []T, claim func(*T) *idempotency.Claim) claims {
	return claims{
		id:      column(rows, func(t *T) pgtype.UUID { return uuid(claim(t).Attempt.Operation) }),
		attempt: column(rows, func(t *T) pgtype.UUID { return uuid(claim(t).Attempt.ID) }),
		owner:   column(rows, func(t *T) pgtype.UUID { return uuid(claim(t).Attempt.Owner.Instance) }),
		caller:  column(rows, func(t *T) pgtype.Text { return text(claim(t).Operation.Caller) }),
		key:     column(rows, func(t *T) pgtype.Text { return text(claim(t).Operation.Key) }),
		method:  column(rows, func(t *T) pgtype.Text { return text(claim(t).Method) }),
		target:  column(rows, func(t *T) pgtype.Text { return text(claim(t).TargetURI) }),
		route:   column(rows, func(t *T) pgtype.Text { return text(claim(t).Route) }),
		epoch:   column(rows, func(t *T) pgtype.Int8 { return int8(claim(t).Attempt.Owner.Epoch) }),
		budget:  column(rows, func(t *T) pgtype.Int8 { return int8(micros(claim(t).Budget)) }),
		keepKey: column(rows, func(t *T) pgtype.Int8 { return int8(micros(claim(t).Retention.Key)) }),

		fingerprintVersion: column(rows, func(t *T) pgtype.Int2 { return int2(int16(claim(t).Fingerprint.Version)) }),
		fingerprint:        column(rows, func(t *T) octets { return claim(t).Fingerprint.Sum[:] }),
		trace:              column(rows, func(t *T) octets { return traceBytes(nil, claim(t).Trace) }),
		resend:             column(rows, func(t *T) pgtype.Bool { return boolean(claim(t).Resend) }),
		keyDate:            column(rows, func(t *T) pgtype.Timestamptz { return instant(claim(t).KeyDate) }),
	}
}

func (c claims) all() []any {
	return []any{c.id, c.caller, c.key, c.attempt, c.owner, c.epoch, c.fingerprintVersion, c.fingerprint,
		c.method, c.target, c.budget, c.resend, c.keyDate, c.keepKey, c.trace}
}
