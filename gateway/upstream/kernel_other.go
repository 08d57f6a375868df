//go:build !unix

package upstream

// kernel offers nothing here. Bytes that come in the instant before a request is written are not
// recognised as unsolicited.
type kernel struct{}

func (*kernel) init(*socket) {}

func (s *socket) quiet() bool { return true }

func (s *socket) Read(p []byte) (int, error) {
	if s.glance {
		return 0, errNothing
	}
	return s.Conn.Read(p)
}
