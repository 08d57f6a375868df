package storetest

import (
	"context"
	"slices"

	"github.com/onceway/onceway/idempotency"
)

func (m *Model) noteInstance(o idempotency.Owner, i idempotency.Instance) {
	r := idempotency.InstanceRecord{Owner: o, Host: i.Host, Version: i.Version, Started: m.clock(), Spool: i.Spool}
	m.known = slices.Insert(m.known, 0, r)
}

// NoteSpool implements [idempotency.SpoolStore].
func (m *Model) NoteSpool(_ context.Context, instance [16]byte, s *idempotency.SpoolNote) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.known {
		if m.known[i].Owner.Instance == instance {
			m.known[i].Spool = s
		}
	}
	return nil
}

// Instances implements [idempotency.InstanceStore]. The Model forgets no lease.
func (m *Model) Instances(_ context.Context, limit int) ([]idempotency.InstanceRecord, error) {
	all := m.instances(func(idempotency.InstanceRecord) bool { return true })
	rank := func(i idempotency.InstanceRecord) int {
		switch {
		case i.Alive:
			return 0
		case i.Spool != nil:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b idempotency.InstanceRecord) int { return rank(a) - rank(b) })
	return all[:min(limit, len(all))], nil
}

// InstanceLeases implements [idempotency.InstanceStore].
func (m *Model) InstanceLeases(_ context.Context, instance [16]byte) ([]idempotency.InstanceRecord, error) {
	return m.instances(func(i idempotency.InstanceRecord) bool { return i.Owner.Instance == instance }), nil
}

func (m *Model) instances(of func(idempotency.InstanceRecord) bool) (all []idempotency.InstanceRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	for _, i := range m.known {
		if of(i) {
			i.Alive = m.leased(i.Owner, now)
			if !m.lockLease {
				i.LeaseUntil = m.leases[i.Owner]
			}
			all = append(all, i)
		}
	}
	return all
}
