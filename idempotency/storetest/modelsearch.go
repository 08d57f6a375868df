package storetest

import (
	"bytes"
	"context"
	"encoding/hex"
	"slices"

	"github.com/onceway/onceway/idempotency"
)

// Search implements [idempotency.SearchStore]. It looks at everything; its order is by last attempt.
func (m *Model) Search(_ context.Context, q idempotency.Query) (idempotency.Page, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock()
	var found []idempotency.Record
	for id := range m.records {
		r := m.stored(id)
		r.Derive(now, m.leased(r.Attempt.Owner, now), m.lease)
		if r.Response != nil {
			r.Response = r.Response.Bodiless()
		}
		if q.Selects(r) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b idempotency.Record) int {
		if c := b.LastTried().Compare(a.LastTried()); c != 0 {
			return c
		}
		return bytes.Compare(b.ID[:], a.ID[:])
	})
	if q.After != "" {
		id, err := hex.DecodeString(string(q.After))
		if err != nil || len(id) != len(idempotency.OperationID{}) {
			return idempotency.Page{}, idempotency.ErrCursor
		}
		last := m.read(idempotency.OperationID(id), now)
		found = slices.DeleteFunc(found, func(r idempotency.Record) bool {
			c := r.LastTried().Compare(last.LastTried())
			return c > 0 || c == 0 && bytes.Compare(r.ID[:], last.ID[:]) >= 0
		})
	}
	page := idempotency.Page{Records: found, Observed: now}
	if len(found) > q.Limit {
		page.Records = found[:q.Limit]
		page.Next = idempotency.Cursor(hex.EncodeToString(found[q.Limit-1].ID[:]))
	}
	return page, nil
}

// History implements [idempotency.SearchStore].
func (m *Model) History(_ context.Context, id idempotency.OperationID) ([]idempotency.Evidence, error) {
	return m.Evidence(id), nil
}
