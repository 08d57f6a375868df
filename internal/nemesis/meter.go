package nemesis

import "sync"

// Meter counts the bytes of one direction: those that were delivered, and those that were swallowed.
type Meter struct {
	mu     sync.Mutex
	bytes  int64
	grown  chan struct{} // closed and replaced when bytes grows
	struck chan struct{} // closed when the fault has struck
	ended  <-chan struct{}
}

func (m *Meter) init(ended <-chan struct{}) {
	m.grown, m.struck, m.ended = make(chan struct{}), make(chan struct{}), ended
}

// Bytes returns the count.
func (m *Meter) Bytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// Struck is closed when the direction's fault strikes.
func (m *Meter) Struck() <-chan struct{} { return m.struck }

// Wait returns true once n bytes have been counted, and false if the connection ends before.
func (m *Meter) Wait(n int64) bool {
	for {
		m.mu.Lock()
		grown, enough := m.grown, m.bytes >= n
		m.mu.Unlock()
		if enough {
			return true
		}
		select {
		case <-grown:
		case <-m.ended:
			return m.Bytes() >= n
		}
	}
}

func (m *Meter) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += int64(n)
	close(m.grown)
	m.grown = make(chan struct{})
}

func (m *Meter) strike() { close(m.struck) }
