package upstream

import (
	"errors"
	"net"
	"runtime"
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
	s := newSocket(b, true)
	s.arm()
	done := make(chan struct{})
	go func() { s.Write([]byte("request")); close(done) }()
	<-b.entered
	if !s.begun() {
		t.Error("not begun while the kernel has the bytes")
	}
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
			s := newSocket(b, true)
			write := func(takes int) {
				done := make(chan struct{})
				go func() { s.Write([]byte("request")); close(done) }()
				<-b.entered
				b.let <- takes
				<-done
			}
			write(7) // of an earlier request
			s.arm()
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
	s := newSocket(&vanished{}, true)
	s.arm()
	s.Write([]byte("head"))
	if n, err := s.Write([]byte("content")); n != 7 || err != nil || !s.dead {
		t.Errorf("%d, %v, dead: %v", n, err, s.dead)
	}
	s = newSocket(&vanished{writes: 1}, true)
	s.arm()
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
	s = newSocket(c, false)
	s.exclusive = true
	t.Cleanup(func() { s.Close(); peer.Close() })
	return s, peer
}

// What came before the request is refused whether net/http's reader has taken it or not.
func TestWhatCameBeforeTheRequest(t *testing.T) {
	for _, taken := range []bool{false, true} {
		s, peer := pair(t)
		s.arm()
		peer.Write([]byte("forged"))
		if taken {
			if n, err := s.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errUnsolicited) {
				t.Errorf("read %d, %v", n, err)
			}
		}
		if _, err := s.Write([]byte("request")); !errors.Is(err, errDead) {
			t.Errorf("taken %v: write: %v", taken, err)
		}
		if s.seal() {
			t.Error("counted as written")
		}
	}
}

// A connection goes back once its reader waits for bytes, and never with some that nobody had read.
func TestRelease(t *testing.T) {
	exchange := func(t *testing.T) (s *socket, peer net.Conn, back chan bool) {
		s, peer = pair(t)
		back = make(chan bool, 9)
		s.onIdle = func() bool { back <- true; return true }
		s.arm()
		if _, err := s.Write([]byte("request")); err != nil {
			t.Fatal(err)
		}
		peer.Write([]byte("answer"))
		if n, err := s.Read(make([]byte, 6)); n != 6 || err != nil {
			t.Fatal(n, err)
		}
		return s, peer, back
	}
	t.Run("before the reader waits", func(t *testing.T) {
		s, _, back := exchange(t)
		s.release()
		if len(back) > 0 {
			t.Error("went back while net/http may have had bytes left")
		}
		go s.Read(make([]byte, 1))
		<-back
	})
	t.Run("after the reader waits", func(t *testing.T) {
		s, _, back := exchange(t)
		ended := make(chan struct{})
		go func() { s.Read(make([]byte, 1)); close(ended) }()
		for waits := false; !waits; runtime.Gosched() {
			s.mu.Lock()
			waits = s.waiting
			s.mu.Unlock()
		}
		s.release()
		if len(back) != 1 {
			t.Error("did not go back")
		}
		s.seal()
		<-ended
	})
	t.Run("with something more", func(t *testing.T) {
		s, peer, back := exchange(t)
		peer.Write([]byte("more"))
		s.release()
		if n, err := s.Read(make([]byte, 9)); n != 0 || !errors.Is(err, errUnsolicited) {
			t.Errorf("read %d, %v", n, err)
		}
		ended := make(chan struct{})
		go func() { s.Read(make([]byte, 9)); close(ended) }()
		for waits := false; !waits; runtime.Gosched() {
			s.mu.Lock()
			waits = s.waiting
			s.mu.Unlock()
		}
		s.seal()
		<-ended
		if len(back) > 0 {
			t.Error("went back all the same")
		}
	})
	t.Run("sealed", func(t *testing.T) {
		s, _, back := exchange(t)
		s.seal()
		s.release()
		s.Read(make([]byte, 1))
		if len(back) > 0 {
			t.Error("went back after its end")
		}
	})
}
