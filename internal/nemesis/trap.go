package nemesis

import (
	"bytes"
	"errors"
	"net"
	"sync"
)

// Trap waits for a mark in what clients send, and then breaks the connection that carries it: once, the
// first one, however old the connection is. Without a fault it only tells. The mark is looked for in what is read at once, so a message
// is found if its client writes it at once, up to 32 KiB.
type Trap struct {
	Mark []byte
	Up   Flow // from the first byte on of what was read with the mark; Pass delivers it
	Down Flow // of what the backend sends from then on

	once   sync.Once
	size   int
	conn   *Conn // that it sprang on
	sprung chan struct{}
}

// Size is how many bytes were read with the mark. It is known once the trap has sprung.
func (t *Trap) Size() int { return t.size }

// Cut resets the connection that the trap sprang on.
func (t *Trap) Cut() { t.conn.Cut(true) }

// Set makes t the relay's trap; nil takes it away. The channel is closed when t springs.
func (r *Relay) Set(t *Trap) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trap = t
	if t == nil {
		return nil
	}
	t.sprung = make(chan struct{})
	return t.sprung
}

// springs reports whether b springs the relay's trap for c, and remembers that.
func (c *Conn) springs(b []byte) bool {
	c.relay.mu.Lock()
	t := c.relay.trap
	c.relay.mu.Unlock()
	if t == nil || !bytes.Contains(b, t.Mark) {
		return false
	}
	mine := false
	t.once.Do(func() {
		if mine = t.Up.Fault != Pass || t.Down.Fault != Pass; mine {
			c.mu.Lock()
			c.trap = t
			c.mu.Unlock()
		}
		t.size, t.conn = len(b), c
		close(t.sprung)
	})
	return mine
}

// trapped returns the trap that has sprung on c, or nil.
func (c *Conn) trapped() *Trap {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trap
}

// door is the way out of one direction. It closes at the bytes from which on a trap decides.
type door struct {
	c   *Conn
	up  bool
	dst *net.TCPConn
	// caught is what was not delivered.
	caught []byte
}

var errTrapped = errors.New("trapped")

func (d *door) Write(b []byte) (int, error) {
	if d.up && d.c.springs(b) || !d.up && d.c.trapped() != nil {
		d.caught = bytes.Clone(b)
		return 0, errTrapped
	}
	return d.dst.Write(b)
}

// flow is what the sprung trap says of the door's direction.
func (d *door) flow() Flow {
	if t := d.c.trapped(); d.up {
		return t.Up
	} else {
		return t.Down
	}
}
