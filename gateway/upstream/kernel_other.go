//go:build !unix

package upstream

// kernel offers nothing here. Bytes that come in the instant before a request is written are not
// recognised as unsolicited.
type kernel struct{}

func (*kernel) init(*socket) {}

func (s *socket) quiet() bool { return !s.spoilt }

func (s *socket) Read(p []byte) (int, error) {
	if !s.exclusive {
		return s.Conn.Read(p)
	}
	s.mu.Lock()
	if !s.empty() {
		return 0, errSealed
	}
	n, err := s.Conn.Read(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = false
	if n > 0 && !s.expected {
		s.spoilt = true
		return 0, errUnsolicited
	}
	return n, err
}
