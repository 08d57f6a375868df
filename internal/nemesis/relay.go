package nemesis

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
)

// Relay listens on a loopback port and relays to one backend address.
type Relay struct {
	listener *net.TCPListener
	backend  string
	script   Script
	closing  chan struct{}
	work     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	held   chan struct{} // not nil while bytes are held; closed when they may pass
	conns  []*Conn
	grown  chan struct{} // closed and replaced when conns grows
	trap   *Trap
}

// Listen starts a relay to the backend, a TCP address. Close it.
func Listen(backend string, script Script) (*Relay, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	return Serve(l, backend, script), nil
}

// Serve is Listen on a listener that is there already, with whatever waits in its queue. Close closes it.
func Serve(l *net.TCPListener, backend string, script Script) *Relay {
	if script == nil {
		script = Always(Plan{})
	}
	r := &Relay{listener: l, backend: backend, script: script, closing: make(chan struct{}), grown: make(chan struct{})}
	r.work.Go(r.accept)
	return r
}

// Addr is where clients connect to.
func (r *Relay) Addr() string { return r.listener.Addr().String() }

// Close closes every connection and returns when nothing of the relay runs any more. It is safe to
// call twice.
func (r *Relay) Close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.closing)
		r.listener.Close()
		for _, c := range r.conns {
			c.end(false)
		}
	}
	r.mu.Unlock()
	r.work.Wait()
}

// Hold stops every byte of every connection, in both directions, until Resume. What was on its way is then
// delivered, also if its sender has long given up.
func (r *Relay) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held = make(chan struct{})
	}
}

// Resume ends Hold. It is safe to call twice.
func (r *Relay) Resume() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != nil {
		close(r.held)
		r.held = nil
	}
}

// CutAll ends every connection now, with a reset or in good order. New ones are accepted.
func (r *Relay) CutAll(rst bool) {
	r.mu.Lock()
	conns := slices.Clone(r.conns)
	r.mu.Unlock()
	for _, c := range conns {
		c.Cut(rst)
	}
}

// passing waits while bytes are held.
func (c *Conn) passing() {
	c.relay.mu.Lock()
	held := c.relay.held
	c.relay.mu.Unlock()
	if held == nil {
		return
	}
	select {
	case <-held:
	case <-c.done:
	}
}

// Accepted returns how many connections have been accepted so far.
func (r *Relay) Accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.conns)
}

// Conn returns connection i, and waits until it has been accepted. It is nil if the relay closes first.
func (r *Relay) Conn(i int) *Conn {
	for {
		r.mu.Lock()
		grown := r.grown
		if i < len(r.conns) {
			c := r.conns[i]
			r.mu.Unlock()
			return c
		}
		r.mu.Unlock()
		select {
		case <-grown:
		case <-r.closing:
			return nil
		}
	}
}

func (r *Relay) accept() {
	for i := 0; ; i++ {
		client, err := r.listener.AcceptTCP()
		if err != nil {
			return
		}
		c := &Conn{relay: r, client: client, done: make(chan struct{})}
		c.Up.init(c.done)
		c.Down.init(c.done)
		if !r.add(c) {
			reset(client)
			return
		}
		plan := r.script(i)
		c.segment = plan.Segment
		r.work.Go(func() { c.run(plan) })
	}
}

func (r *Relay) add(c *Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.conns = append(r.conns, c)
	close(r.grown)
	r.grown = make(chan struct{})
	return true
}

// Conn is one relayed connection.
type Conn struct {
	Up, Down Meter // client to backend, backend to client

	relay   *Relay
	segment int           // of its plan
	done    chan struct{} // closed when the connection has ended

	mu        sync.Mutex
	ended     bool
	finishing bool
	trap      *Trap // that has sprung on it
	client    *net.TCPConn
	backend   *net.TCPConn // nil until dialled
}

// Cut ends the connection to both sides now, with a reset or in good order.
func (c *Conn) Cut(rst bool) { c.end(rst) }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

func (c *Conn) run(p Plan) {
	switch {
	case p.Refuse:
		c.end(true)
		return
	case p.Ignore:
		<-c.done
		return
	}
	b, err := net.Dial("tcp", c.relay.backend)
	if err != nil {
		c.end(true)
		return
	}
	if !c.connected(b.(*net.TCPConn)) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.flow(c.backend, c.client, p.Up, &c.Up) })
	both.Go(func() { c.flow(c.client, c.backend, p.Down, &c.Down) })
	both.Wait()
	c.end(false)
}

func (c *Conn) connected(b *net.TCPConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		reset(b)
		return false
	}
	c.backend = b
	return true
}

// end closes both sides, once.
func (c *Conn) end(rst bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	for _, s := range []*net.TCPConn{c.client, c.backend} {
		switch {
		case s == nil:
		case rst:
			reset(s)
		default:
			s.Close()
		}
	}
	close(c.done)
}

// reset makes the peer see RST.
func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// flow relays one direction until it ends or its fault strikes.
func (c *Conn) flow(dst, src *net.TCPConn, f Flow, m *Meter) {
	if f.Fault == Pass {
		c.pass(dst, src, m)
		return
	}
	c.strike(dst, src, src, f, m)
}

// strike relays as much of in as the fault allows, and then it strikes. In is src, or what was read of it
// already and then src.
func (c *Conn) strike(dst, src *net.TCPConn, in io.Reader, f Flow, m *Meter) {
	var next []byte
	if f.After > 0 {
		if !c.passExactly(dst, src, in, f.After, m) {
			return
		}
	} else if next = c.first(dst, src, in); next == nil {
		return
	}
	m.strike()
	switch f.Fault {
	case CutFIN:
		c.finish()
		c.copyOut(io.Discard, in, nil)
	case CutRST:
		c.end(true)
	case Freeze:
		<-c.done
	case Swallow:
		m.add(len(next))
		c.copyOut(io.Discard, in, m)
	case Hold:
		select {
		case <-f.Release:
			if _, err := dst.Write(next); err != nil {
				c.broke(src)
				return
			}
			m.add(len(next))
			c.deliver(dst, src, in, m)
		case <-c.done:
		}
	case Pass:
	}
}

// finish sends FIN to both sides. The sockets are closed only when both have answered with theirs,
// because closing one with unread bytes would send RST.
func (c *Conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finishing = true
	c.client.CloseWrite()
	c.backend.CloseWrite()
}

// pass relays to the end of src, and passes that end on, unless a trap springs.
func (c *Conn) pass(dst, src *net.TCPConn, m *Meter) {
	d := &door{c: c, up: m == &c.Up, dst: dst}
	switch err := c.copyOut(d, src, m); {
	case errors.Is(err, errTrapped):
		rest := io.MultiReader(bytes.NewReader(d.caught), src)
		if f := d.flow(); f.Fault != Pass {
			c.strike(dst, src, rest, f, m)
		} else {
			c.deliver(dst, src, rest, m)
		}
	case err != nil:
		c.broke(src)
	default:
		dst.CloseWrite()
	}
}

// deliver relays the rest of src, whatever traps there are.
func (c *Conn) deliver(dst, src *net.TCPConn, rest io.Reader, m *Meter) {
	if err := c.copyOut(dst, rest, m); err != nil {
		c.broke(src)
		return
	}
	dst.CloseWrite()
}

// broke handles a direction whose source or destination failed.
func (c *Conn) broke(src *net.TCPConn) {
	c.mu.Lock()
	finishing := c.finishing
	c.mu.Unlock()
	if finishing {
		c.copyOut(io.Discard, src, nil)
	} else {
		c.end(true)
	}
}

// first waits for the first byte, and returns nil if there is none.
func (c *Conn) first(dst, src *net.TCPConn, in io.Reader) []byte {
	b := make([]byte, 1)
	if _, err := io.ReadFull(in, b); err == io.EOF {
		dst.CloseWrite()
		return nil
	} else if err != nil {
		c.broke(src)
		return nil
	}
	return b
}

// passExactly relays n bytes and not one more, and reports whether there were as many.
func (c *Conn) passExactly(dst, src *net.TCPConn, in io.Reader, n int64, m *Meter) bool {
	before := m.Bytes()
	err := c.copyOut(dst, io.LimitReader(in, n), m)
	if err == nil && m.Bytes() == before+n {
		return true
	}
	if err != nil {
		c.broke(src)
	} else {
		dst.CloseWrite()
	}
	return false
}

func (c *Conn) copyOut(dst io.Writer, src io.Reader, m *Meter) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		c.passing()
		for read := buf[:n]; len(read) > 0; {
			segment := read
			if c.segment > 0 {
				segment = read[:min(c.segment, len(read))]
			}
			if _, err := dst.Write(segment); err != nil {
				return err
			}
			if m != nil {
				m.add(len(segment))
			}
			read = read[len(segment):]
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
