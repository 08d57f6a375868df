package simulator

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// disk is the spool of one machine. It outlives the processes on it, takes its time, and is full at times.
type disk struct {
	w    *world
	name string

	mu      sync.Mutex
	entries map[idempotency.AttemptID]idempotency.Spooled
}

// mount is the disk as one process has it: a dead one writes nothing any more.
type mount struct {
	*disk
	g *gateway
}

var errDisk = errors.New("input/output error")

// Put implements [idempotency.LocalSpool].
func (m mount) Put(s idempotency.Spooled) error {
	d := m.w.dice.of("put "+m.name, now(m.w), uint64First(s.Record.ID))
	if err := m.g.awake(d); err != nil {
		return err
	}
	if !m.w.calm.Load() && d.oneIn(10) {
		m.w.visits.add(spoolRefuses, answered, 1)
		return []error{idempotency.ErrSpoolFull, errDisk}[d.n(2)]
	}
	time.Sleep(d.between(100*time.Microsecond, 20*time.Millisecond))
	if err := m.g.awake(d); err != nil {
		return err
	}
	m.mu.Lock()
	m.entries[s.Record.Attempt.ID] = s
	m.mu.Unlock()
	m.w.visits.add(spooled, answered, 1)
	m.w.trace.add("%s spools %s %d", m.g.name, m.w.name(s.Record.ID), s.Record.Attempt.N)
	return nil
}

// Get implements [idempotency.LocalSpool].
func (m mount) Get(a idempotency.AttemptID) (idempotency.Spooled, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.entries[a]
	if !ok {
		return s, idempotency.ErrNotSpooled
	}
	return s, nil
}

// Remove implements [idempotency.LocalSpool].
func (m mount) Remove(a idempotency.AttemptID) error {
	if m.g.dead.Load() {
		return errKilled
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.entries[a]; ok {
		m.w.trace.add("%s takes %s %d from its spool", m.g.name, m.w.name(s.Record.ID), s.Record.Attempt.N)
		delete(m.entries, a)
	}
	return nil
}

// List implements [idempotency.LocalSpool].
func (m mount) List() []idempotency.SpooledEntry {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []idempotency.SpooledEntry
	for _, s := range m.entries {
		all = append(all, s.Entry())
	}
	slices.SortFunc(all, func(a, b idempotency.SpooledEntry) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(uint64First(a.Operation), uint64First(b.Operation)))
	})
	return all
}

// holds reports whether an outcome of an operation is on the disk.
func (d *disk) holds(id idempotency.OperationID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.entries {
		if s.Record.ID == id {
			return true
		}
	}
	return false
}
