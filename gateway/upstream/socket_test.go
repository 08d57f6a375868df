package upstream

import (
	"errors"
	"net"
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
