package ledger

import "sync"

// gates are named places to wait at. A gate that is open stays open.
type gates struct {
	mu  sync.Mutex
	all map[string]*gate
}

type gate struct {
	open    chan struct{}
	opened  bool
	waiting int
	changed chan struct{} // closed and replaced when somebody arrives
}

func (g *gates) of(name string) *gate {
	if g.all == nil {
		g.all = make(map[string]*gate)
	}
	if g.all[name] == nil {
		g.all[name] = &gate{open: make(chan struct{}), changed: make(chan struct{})}
	}
	return g.all[name]
}

// pass waits until the gate is open.
func (g *gates) pass(name string) {
	if name == "" {
		return
	}
	g.mu.Lock()
	at := g.of(name)
	at.waiting++
	close(at.changed)
	at.changed = make(chan struct{})
	g.mu.Unlock()
	<-at.open
}

func (g *gates) openUp(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at := g.of(name); !at.opened {
		at.opened = true
		close(at.open)
	}
}

// await returns when n have arrived at the gate, or done is closed.
func (g *gates) await(name string, n int, done <-chan struct{}) {
	for {
		g.mu.Lock()
		at := g.of(name)
		enough, changed := at.waiting >= n, at.changed
		g.mu.Unlock()
		if enough {
			return
		}
		select {
		case <-changed:
		case <-done:
			return
		}
	}
}
