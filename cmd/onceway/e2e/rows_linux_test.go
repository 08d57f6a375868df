package e2e

import (
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kernelRows are those for which a relay is not enough.
var kernelRows = []row{
	{name: "T4 nothing is acknowledged", before: vanishing, after: heal, books: executesNot},
	{name: "T6 half-established, and reset", before: halfEstablished, strike: func(h *hop) { overflow(h); deafen(h) }, after: restart, books: executesNot},
	{name: "T6 half-established, and late", before: halfEstablished, strike: late, after: establish, books: executes},
	{name: "T6 half-established, and late and unwanted", before: halfEstablished, strike: late, after: establish, books: executes, unwanted: true, onlyTo: "backend"},
	{name: "T6 half-established for ever", before: halfEstablished, strike: func(h *hop) { overflow(h) }, after: func(h *hop) { deafen(h); restart(h) }, books: executesNot},
	{name: "T8 queued, and reset by a restart", before: func(*hop) {}, strike: func(h *hop) { queued(h); deafen(h) }, after: restart, books: executesNot},
	{name: "T8 refused during a restart", before: deafen, after: restart},
}

// vanishing accepts one connection, whose own side then drops all that comes.
func vanishing(h *hop) {
	attach(h.T, h.listener, dropAllButSYN) // where that is allowed
	detach(h.T, h.listener)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c, err := h.listener.AcceptTCP()
		if err == nil {
			h.lost, err = c, vanish(c)
		}
		if err != nil {
			h.Error(err)
		}
	}()
	h.Cleanup(func() {
		h.listener.Close()
		if <-ended; h.lost != nil {
			h.lost.Close()
		}
	})
}

// halfEstablished lets nobody complete a handshake.
func halfEstablished(h *hop) {
	must(h.T, listen(h.listener, 0))
	attach(h.T, h.listener, dropAllButSYN)
}

// overflow fills the queue of a listener behind the back of a connection that is half-established, which then cannot
// become whole: what its side sends is not acknowledged, as long as nobody accepts. Where the machine was so slow that the
// attempt is over before, nothing is filled.
func overflow(h *hop) (full bool) {
	h.Helper()
	address, half := h.listener.Addr().String(), false
	await(h.T, "the connection is half-established, or its attempt is over", func() bool {
		local, remote := sockets(h.T, address)
		half = local[synReceived] > 0 && remote[established]+remote[finWait1] > 0
		return half || attemptIsOver(h)
	})
	if !half {
		h.Log("the machine was too slow to see it half-established")
		detach(h.T, h.listener)
		return false
	}
	filler := net.Dialer{Timeout: time.Minute, Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) {
			var name unix.Sockaddr
			if err = unix.Bind(int(fd), &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err == nil {
				name, err = unix.Getsockname(int(fd))
			}
			if err == nil {
				err = filter(h.listener, dropAllButSYNAnd(name.(*unix.SockaddrInet4).Port))
			}
		}); e != nil {
			return e
		}
		return err
	}}
	var err error
	if h.lost, err = filler.Dial("tcp", address); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { h.lost.Close() })
	await(h.T, "the queue is full", func() bool {
		local, _ := sockets(h.T, address)
		return local[established] == 1
	})
	detach(h.T, h.listener)
	if local, _ := sockets(h.T, address); local[synReceived] == 0 && !attemptIsOver(h) {
		h.Error("nothing is half-established any more")
	}
	return true
}

// attemptIsOver reports whether the gateway has given up what it sent to the backend. Its kernel gives up the connection then.
func attemptIsOver(h *hop) bool {
	if h.to != "backend" {
		return false
	}
	a := h.g.Get(h.T, recordPath(h.request.Key))
	return a.Status == http.StatusOK && a.Record(h.T).State == "unknown"
}

// late ends the half-established state when the nearer peer still waits. The gateway's kernel gives up what is not acknowledged
// together with the attempt: where the machine was too slow for the request to come to the queue before, it never will.
func late(h *hop) {
	h.Helper()
	if overflow(h) {
		drain(h)
	}
	if h.to == "gateway" {
		return
	}
	address, came := h.listener.Addr().String(), false
	await(h.T, "the request is in the queue, or nobody sends it any more", func() bool {
		came = unread(h.T, address)
		_, remote := sockets(h.T, address)
		return came || remote[established]+remote[finWait1] == 0
	})
	if !came {
		h.Log("the machine was too slow for it to come late: it never came")
		h.books = executesNot
	}
}

// drain accepts what filled the queue.
func drain(h *hop) {
	h.Helper()
	c, err := h.listener.AcceptTCP()
	if err != nil {
		h.Fatal(err)
	}
	c.Close()
	h.lost.Close()
}

// establish accepts what comes late.
func establish(h *hop) {
	h.Helper()
	heal(h)
	await(h.T, "nothing is half-established", func() bool {
		local, _ := sockets(h.T, h.listener.Addr().String())
		return local[synReceived] == 0
	})
}

// queued returns when a request is in the queue of a listener.
func queued(h *hop) {
	h.Helper()
	await(h.T, "the request is in the queue", func() bool { return unread(h.T, h.listener.Addr().String()) })
}

// deafen closes a listener and keeps its port: what is in its queue is reset, what is half-established is forgotten, and
// who comes is refused.
func deafen(h *hop) {
	h.Helper()
	at := h.listener.Addr().(*net.TCPAddr)
	h.listener.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(h.T, err)
	h.deaf = os.NewFile(uintptr(fd), at.String())
	h.Cleanup(func() { h.deaf.Close() })
	must(h.T, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)) // over the connections that are left
	// A process that somebody starts at this moment has the old listener, too, until it becomes another program.
	await(h.T, "the address is free", func() bool {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: at.Port, Addr: [4]byte(at.IP.To4())})
		return err != unix.EADDRINUSE
	})
	must(h.T, err)
}

// restart is heal after that.
func restart(h *hop) {
	h.Helper()
	must(h.T, control(h.deaf, func(fd int) error { return unix.Listen(fd, 128) }))
	l, err := net.FileListener(h.deaf)
	must(h.T, err)
	h.listener = l.(*net.TCPListener)
	heal(h)
}

// listen makes a socket listen, with a queue that takes one connection more than that.
func listen(l *net.TCPListener, queue int) error {
	return control(l, func(fd int) error { return unix.Listen(fd, queue) })
}
