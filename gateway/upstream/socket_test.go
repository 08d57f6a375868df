package upstream

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// blocking is a connection whose writes wait until they are let through or the connection is closed.
type blocking struct {
	net.Conn
	entered chan struct{}
	let     chan int // how many bytes the kernel takes
	closed  chan struct{}
}

func (b *blocking) Write(p []byte) (int, error) {
	b.entered <- struct{}{}
	select {
	case n := <-b.let:
		if n < len(p) {
			return n, errors.New("no more")
		}
		return n, nil
	case <-b.closed:
		return 0, net.ErrClosed
	}
}

func (b *blocking) Close() error { close(b.closed); return nil }

func newBlocking() *blocking {
	return &blocking{entered: make(chan struct{}), let: make(chan int), closed: make(chan struct{})}
}

// On a slow write the deadline comes while nothing is counted yet, and the bytes leave afterwards: a
// counter that is read without a seal proves nothing.
func TestAWriteUnderWayCountsAsWritten(t *testing.T) {
	b := newBlocking()
	s := newSocket(b)
	s.arm(t.Context())
	done := make(chan struct{})
	go func() { s.Write([]byte("request")); close(done) }()
	<-b.entered
	if !s.seal() {
		t.Error("a write under way was not counted")
	}
	<-done
}

func TestSeal(t *testing.T) {
	tests := []struct {
		name  string
		takes int // bytes that the kernel takes of 7; -1: no write
		want  bool
	}{
		{"no write", -1, false},
		{"refused by the kernel", 0, false},
		{"one byte", 1, true},
		{"all", 7, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBlocking()
			s := newSocket(b)
			write := func(takes int) {
				done := make(chan struct{})
				go func() { s.Write([]byte("request")); close(done) }()
				<-b.entered
				b.let <- takes
				<-done
			}
			write(7) // of an earlier request
			s.arm(t.Context())
			if tt.takes >= 0 {
				write(tt.takes)
			}
			if got := s.seal(); got != tt.want {
				t.Errorf("wrote: %v", got)
			}
			if n, err := s.Write([]byte("late")); n != 0 || !errors.Is(err, errSealed) {
				t.Errorf("a write after the seal: %d, %v", n, err)
			}
			if got := s.seal(); got != tt.want {
				t.Errorf("sealed again, wrote: %v", got)
			}
		})
	}
}

type vanished struct {
	net.Conn
	writes int
}

func (v *vanished) Write(p []byte) (int, error) {
	if v.writes++; v.writes == 1 {
		return len(p), nil
	}
	return 0, &net.OpError{Op: "write", Err: syscall.EPIPE}
}

func (v *vanished) Close() error { return nil }

// Once the head is out, a peer that stops reading may still have answered; before that, the error is
// the proof that nothing left.
func TestWriteErrorsAfterTheHeadAreLeftToTheReader(t *testing.T) {
	s := newSocket(&vanished{})
	s.arm(t.Context())
	s.Write([]byte("head"))
	if n, err := s.Write([]byte("content")); n != 7 || err != nil || !s.dead {
		t.Errorf("%d, %v, dead: %v", n, err, s.dead)
	}
	s = newSocket(&vanished{writes: 1})
	s.arm(t.Context())
	if n, err := s.Write([]byte("head")); n != 0 || err == nil || s.seal() {
		t.Errorf("%d, %v", n, err)
	}
}

// pair returns an exclusive socket and the peer's end of it.
func pair(t *testing.T) (s *socket, peer net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if peer, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	s = newSocket(c)
	t.Cleanup(func() { s.Close(); peer.Close() })
	return s, peer
}

// What came before the request keeps it from being written, and so does the peer's end.
func TestWhatCameBeforeTheRequest(t *testing.T) {
	for _, end := range []bool{false, true} {
		s, peer := pair(t)
		s.arm(t.Context())
		if end {
			peer.Close()
		} else {
			peer.Write([]byte("forged"))
		}
		if _, err := s.Write([]byte("request")); !errors.Is(err, errDead) {
			t.Errorf("end %v: write: %v", end, err)
		}
		if s.seal() {
			t.Error("counted as written")
		}
	}
}

func TestGlance(t *testing.T) {
	s, peer := pair(t)
	s.glance = true
	b := make([]byte, 9)
	if n, err := s.Read(b); n != 0 || !errors.Is(err, errNothing) {
		t.Errorf("nothing there: %d, %v", n, err)
	}
	peer.Write([]byte("more"))
	if n, err := s.Read(b); n != 4 || err != nil {
		t.Errorf("something there: %d, %v", n, err)
	}
	peer.Close()
	if n, err := s.Read(b); n != 0 || err != io.EOF {
		t.Errorf("the end: %d, %v", n, err)
	}
	s.seal()
	if n, err := s.Read(b); n != 0 || err == nil || errors.Is(err, errNothing) {
		t.Errorf("sealed: %d, %v", n, err)
	}
}
