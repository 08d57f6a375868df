package idempotency

import "sync"

// latch is opened once. A channel is made for it only where somebody waits, which is seldom: most operations
// have no duplicate while they run. The zero value is closed.
type latch struct {
	mu     sync.Mutex
	isOpen bool
	opened chan struct{} // closed when isOpen is set; nil if nobody waits
}

func (l *latch) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isOpen = true
	if l.opened != nil {
		close(l.opened)
	}
}

// passable reports whether it is open.
func (l *latch) passable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isOpen
}

// wait returns a channel that is closed when the latch is open.
func (l *latch) wait() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened == nil {
		l.opened = make(chan struct{})
		if l.isOpen {
			close(l.opened)
		}
	}
	return l.opened
}
