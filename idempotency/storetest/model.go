package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Model is a store in memory: [idempotency.Next] behind one mutex, and nothing else. It is the oracle
// that real stores are compared with, and serves tests that need a store but not durability. The zero
// value is not usable.
type Model struct {
	clock     func() time.Time
	lease     time.Duration
	lockLease bool

	mu       sync.Mutex
	records  map[idempotency.OperationID]idempotency.Record // as written, not derived
	damaged  map[idempotency.OperationID]bool
	evidence map[idempotency.OperationID][]idempotency.Evidence
	epochs   map[[16]byte]int64
	purged   time.Time                             // when the youngest record was claimed or first seen that was removed
	changed  time.Time                             // when the store became another one
	leases   map[idempotency.Owner]time.Time       // until when
	probes   map[idempotency.OperationID]time.Time // when due, if taken or put off since the last move
	known    []idempotency.InstanceRecord          // every lease that there was, the latest first

	commits uint64
	places  map[idempotency.OperationID]idempotency.Place // where records changed last
	history idempotency.FeedHistory
}

var _ Store = (*Model)(nil)

// NewModel returns an empty Model. Lease is how long an executing record outlives its deadline;
// lockLease is [Harness.LockLease].
func NewModel(clock func() time.Time, lease time.Duration, lockLease bool) *Model {
	return &Model{
		clock: clock, lease: lease, lockLease: lockLease,
		records:  map[idempotency.OperationID]idempotency.Record{},
		damaged:  map[idempotency.OperationID]bool{},
		evidence: map[idempotency.OperationID][]idempotency.Evidence{},
		epochs:   map[[16]byte]int64{},
		leases:   map[idempotency.Owner]time.Time{},
		probes:   map[idempotency.OperationID]time.Time{},
		places:   map[idempotency.OperationID]idempotency.Place{},
	}
}

// Apply implements [idempotency.Store].
func (m *Model) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, &idempotency.RolledBackError{Err: err}
	}
	seen := map[idempotency.OperationID]bool{}
	for _, t := range ts {
		if seen[t.Target()] {
			return nil, &idempotency.RolledBackError{Err: errors.New("two transitions of one batch are about one operation")}
		}
		seen[t.Target()] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	m.commits++
	results := make([]idempotency.Result, len(ts))
	for i, t := range ts {
		id := t.Target()
		m.move(t, now)
		results[i] = idempotency.ResultOf(t, m.read(id, now))
	}
	return results, nil
}

func (m *Model) move(t idempotency.Transition, now time.Time) {
	id := t.Target()
	stored := m.stored(id)
	after, changed, evidence := idempotency.Next(stored, t, m.env(stored, now))
	if changed {
		m.records[id] = after
		m.places[id] = idempotency.Place{Commit: m.commits, ID: id}
		if after.State != stored.State {
			delete(m.probes, id)
		}
	}
	if evidence != nil && !slices.ContainsFunc(m.evidence[id], func(e idempotency.Evidence) bool {
		return e.Attempt == evidence.Attempt && e.Kind == evidence.Kind
	}) {
		m.evidence[id] = append(m.evidence[id], *evidence)
	}
}

func (m *Model) stored(id idempotency.OperationID) idempotency.Record {
	r, ok := m.records[id]
	if !ok {
		r.ID = id
	}
	return r
}

func (m *Model) env(r idempotency.Record, now time.Time) idempotency.Env {
	return idempotency.Env{Now: now, OwnerHasLease: m.leased(r.Attempt.Owner, now), Lease: m.lease, Changed: m.changed}
}

// Change makes the store another one, since that instant, as in a failover.
func (m *Model) Change(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changed = at
}

// Lose makes the store forget a record, as a failover can.
func (m *Model) Lose(id idempotency.OperationID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, id)
	delete(m.evidence, id)
}

func (m *Model) leased(o idempotency.Owner, now time.Time) bool {
	until, ok := m.leases[o]
	return ok && (m.lockLease || until.After(now))
}

// read returns a record as callers see it.
func (m *Model) read(id idempotency.OperationID, now time.Time) idempotency.Record {
	r := m.stored(id)
	r.Derive(now, m.leased(r.Attempt.Owner, now), m.lease)
	if r.State == idempotency.Completed && m.damaged[id] {
		r.Damaged, r.Response = true, nil
	}
	if r.Response != nil {
		copied := *r.Response
		r.Response = &copied
	}
	return r
}

// Find implements [idempotency.Store].
func (m *Model) Find(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	records := make([]idempotency.Record, len(ids))
	for i, id := range ids {
		records[i] = m.read(id, now)
	}
	return records, nil
}

// Damage makes the stored answer of id unreadable.
func (m *Model) Damage(id idempotency.OperationID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.damaged[id] = true
}

// Evidence returns what is kept beside the record of id, in the order in which it came.
func (m *Model) Evidence(id idempotency.OperationID) []idempotency.Evidence {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.evidence[id])
}

// Acquire implements [idempotency.LeaseStore].
func (m *Model) Acquire(_ context.Context, i idempotency.Instance, lease time.Duration) (idempotency.Owner, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for o := range m.leases {
		if m.lockLease || o.Instance == i.ID {
			delete(m.leases, o)
		}
	}
	m.epochs[i.ID]++
	o := idempotency.Owner{Instance: i.ID, Epoch: m.epochs[i.ID]}
	m.leases[o] = m.clock().Add(lease)
	m.noteInstance(o, i)
	return o, nil
}

// Renew implements [idempotency.LeaseStore].
func (m *Model) Renew(_ context.Context, o idempotency.Owner, lease time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	if !m.leased(o, now) {
		return idempotency.ErrLeaseLost
	}
	m.leases[o] = now.Add(lease)
	return nil
}

// GiveBack implements [idempotency.LeaseStore].
func (m *Model) GiveBack(_ context.Context, o idempotency.Owner) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.leases, o)
	return nil
}

// Sweep implements [idempotency.LeaseStore].
func (m *Model) Sweep(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, n := m.clock(), 0
	m.commits++
	for id, stored := range m.records {
		seen := m.read(id, now)
		if stored.State == idempotency.Executing && seen.State == idempotency.Unknown {
			m.move(idempotency.Doubt{Attempt: stored.Attempt, Cause: seen.Cause}, now)
			n++
		}
	}
	return n, nil
}

// Executing implements [idempotency.OwnStore].
func (m *Model) Executing(_ context.Context, o idempotency.Owner, age time.Duration, limit int) ([]idempotency.Attempt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	var found []idempotency.Record
	for _, r := range m.records {
		if r.State == idempotency.Executing && r.Attempt.Owner == o && !r.Claimed.After(now.Add(-age)) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b idempotency.Record) int { return a.Claimed.Compare(b.Claimed) })
	var attempts []idempotency.Attempt
	for _, r := range found[:min(limit, len(found))] {
		attempts = append(attempts, r.Attempt)
	}
	return attempts, nil
}

// Purge implements [idempotency.RetentionStore].
func (m *Model) Purge(_ context.Context, limit int) (removed int, more bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	for id, r := range m.records {
		if removed == limit {
			break
		}
		keep := r.State == idempotency.Executing || r.State == idempotency.Unknown || r.Contradicted
		if !keep && r.Expires.Before(now.Add(-Grace)) {
			delete(m.records, id)
			delete(m.evidence, id)
			delete(m.damaged, id)
			delete(m.places, id)
			removed++
			for _, at := range []time.Time{r.FirstSeen, r.Claimed} {
				if at.After(m.purged) {
					m.purged = at
				}
			}
		}
	}
	return removed, removed == limit, nil
}

// Purged implements [idempotency.RetentionStore].
func (m *Model) Purged(context.Context) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.purged, nil
}

// InDoubt implements [idempotency.CensusStore].
func (m *Model) InDoubt(context.Context) (int64, error) {
	return m.count(func(r idempotency.Record) bool { return r.State == idempotency.Unknown }), nil
}

// InDoubtOf implements [idempotency.CensusStore].
func (m *Model) InDoubtOf(_ context.Context, caller idempotency.Caller, most int) (int, error) {
	n := m.count(func(r idempotency.Record) bool { return r.State == idempotency.Unknown && r.Operation.Caller == caller })
	return min(int(n), most), nil
}

// Contradicted implements [idempotency.CensusStore].
func (m *Model) Contradicted(context.Context) (int64, error) {
	return m.count(func(r idempotency.Record) bool { return r.Contradicted }), nil
}

func (m *Model) count(of func(idempotency.Record) bool) (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.records {
		if of(r) {
			n++
		}
	}
	return n
}

// TakeProbes implements [idempotency.ProbeStore].
func (m *Model) TakeProbes(_ context.Context, routes []string, limit int, hold time.Duration) (due []idempotency.OperationID, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	for _, route := range routes {
		var of []idempotency.OperationID
		for id, r := range m.records {
			if r.State == idempotency.Unknown && r.Route == route && !m.probeDue(id).After(now) {
				of = append(of, id)
			}
		}
		slices.SortFunc(of, func(a, b idempotency.OperationID) int { return m.probeDue(a).Compare(m.probeDue(b)) })
		due = append(due, of[:min(limit, len(of))]...)
	}
	for _, id := range due {
		m.probes[id] = now.Add(hold)
	}
	return due, nil
}

func (m *Model) probeDue(id idempotency.OperationID) time.Time {
	if at, ok := m.probes[id]; ok {
		return at
	}
	return m.records[id].Settled
}

// PutOffProbe implements [idempotency.ProbeStore].
func (m *Model) PutOffProbe(_ context.Context, a idempotency.Attempt, d time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.records[a.Operation]; r.State == idempotency.Unknown && r.Attempt.ID == a.ID {
		m.probes[a.Operation] = m.clock().Add(d)
	}
	return nil
}
