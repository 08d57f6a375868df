package upstream

// Memory is the budget from which the contents of responses are kept in memory. It never blocks: what it
// refuses goes into a file, so that a backend's answer is not lost for want of memory.
type Memory interface {
	// Take reserves n bytes, or refuses.
	Take(n int64) bool
	// Overdraw reserves n bytes whatever that makes of the budget: there is no file either.
	Overdraw(n int64)
	// Give returns n reserved bytes.
	Give(n int64)
}

// unlimited is the budget of requests that have none.
type unlimited struct{}

func (unlimited) Take(int64) bool { return true }
func (unlimited) Overdraw(int64)  {}
func (unlimited) Give(int64)      {}

// share is what one response has taken of a Memory.
type share struct {
	of      Memory
	held    int64
	short   bool // a reservation was refused
	overdue bool // nothing is refused any more
}

func newShare(m Memory) *share {
	if m == nil {
		m = unlimited{}
	}
	return &share{of: m}
}

func (s *share) take(n int64) bool {
	switch {
	case n == 0:
	case s.overdue:
		s.of.Overdraw(n)
	case !s.of.Take(n):
		s.short = true
		return false
	}
	s.held += n
	return true
}

// keep gives back all but n bytes.
func (s *share) keep(n int64) {
	s.of.Give(s.held - n)
	s.held = n
}
