package storetest

import (
	"context"
	"slices"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Feed implements [idempotency.FeedStore]. Every commit can be read at once.
func (m *Model) Feed(_ context.Context, q idempotency.FeedQuery) (idempotency.FeedPage, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if q.After != (idempotency.Place{}) && (q.History != m.history || q.After.Commit > m.commits) {
		return idempotency.FeedPage{}, idempotency.ErrFeedLost
	}
	now := m.clock()
	page := idempotency.FeedPage{
		Next: idempotency.EndOf(m.commits), Last: idempotency.EndOf(m.commits), End: true, History: m.history, Observed: now,
	}
	for id, place := range m.places {
		if _, there := m.records[id]; !there || place.Compare(q.After) <= 0 || !slices.Contains(q.Callers, m.records[id].Operation.Caller) {
			continue
		}
		r := m.read(id, now)
		if r.Response != nil {
			r.Response.Body = nil
		}
		page.Changes = append(page.Changes, idempotency.Change{Place: place, Record: r})
	}
	slices.SortFunc(page.Changes, func(a, b idempotency.Change) int { return a.Place.Compare(b.Place) })
	if len(page.Changes) > q.Limit {
		page.Changes = page.Changes[:q.Limit]
		page.Next, page.End = page.Changes[q.Limit-1].Place, false
	}
	return page, nil
}

// FeedSecret implements [idempotency.FeedStore].
func (m *Model) FeedSecret(context.Context) ([]byte, error) {
	return []byte("a model keeps no secrets, but it has 32 bytes"), nil
}

// FeedLag implements [idempotency.FeedStore].
func (m *Model) FeedLag(context.Context) (time.Duration, error) { return 0, nil }

// Replace begins another history, as a restored store does.
func (m *Model) Replace() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history[0]++
}
