package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

var errNoSettings = errors.New("the connection ended before the server's SETTINGS")

// prefaced is an HTTP/2 connection of which it is known when the server's preface has come: net/http acknowledges its
// SETTINGS once it goes by them (RFC 9113, sections 3.4 and 6.5.3).
//
// Requests wait for that. Until then net/http reckons with a hundred streams, and where the server admits fewer, those
// beyond would be refused by it, or wait inside net/http for a stream that does not come: in doubt, without need.
type prefaced struct {
	net.Conn // TLS or the socket
	sock     *socket
	heard    bool // of the writer; net/http has one at a time
	settings chan struct{}
	closing  sync.Once
	closed   chan struct{}
}

func newPrefaced(top net.Conn, sock *socket) *prefaced {
	return &prefaced{Conn: top, sock: sock, settings: make(chan struct{}), closed: make(chan struct{})}
}

// wait returns nil when the server's SETTINGS apply.
func (p *prefaced) wait(ctx context.Context) error {
	select {
	case <-p.settings:
		return nil
	case <-p.closed:
		return errNoSettings
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Write looks for the acknowledgement among the first frames, which net/http writes one by one: what comes before it
// is our own preface at most.
func (p *prefaced) Write(b []byte) (int, error) {
	if !p.heard && acknowledges(b) {
		p.heard = true
		close(p.settings)
	}
	return p.Conn.Write(b)
}

// acknowledges reports whether a frame is SETTINGS with the flag ACK (RFC 9113, sections 4.1 and 6.5).
func acknowledges(frame []byte) bool {
	const typeSettings, flagAck = 4, 1
	return len(frame) >= 9 && frame[3] == typeSettings && frame[4]&flagAck != 0
}

// Close does not wait for long until a peer that does not read takes the farewell of TLS. net/http sees to that itself
// where it knows that it has TLS before it.
func (p *prefaced) Close() error {
	p.closing.Do(func() { close(p.closed) })
	defer time.AfterFunc(250*time.Millisecond, func() { p.sock.seal() }).Stop()
	return p.Conn.Close()
}
