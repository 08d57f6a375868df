package nemesis

import (
	"io"
	"net"
	"sync"
	"testing"
)

// echo starts a backend that sends back what it gets, and tells what that was at the end of a connection.
func echo(t *testing.T) (addr string, got <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	all := make(chan string, 10)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() { all <- echoed(c) })
		}
	})
	t.Cleanup(func() { l.Close(); work.Wait() })
	return l.Addr().String(), all
}

func echoed(c net.Conn) string {
	defer c.Close()
	var seen []byte
	for b := make([]byte, 100); ; {
		n, err := c.Read(b)
		seen = append(seen, b[:n]...)
		if err != nil {
			return string(seen)
		}
		_, _ = c.Write(b[:n])
	}
}

// say sends a message on a connection that may break, and returns what comes back of it.
func say(t *testing.T, c net.Conn, message string) string {
	t.Helper()
	if _, err := io.WriteString(c, message); err != nil {
		return ""
	}
	b := make([]byte, len(message))
	n, _ := io.ReadFull(c, b)
	return string(b[:n])
}

func TestATrapBreaksTheConnectionThatCarriesItsMark(t *testing.T) {
	for _, tt := range []struct {
		name      string
		up, down  Flow
		back, got string // of the marked message
	}{
		{"cut in the message", Flow{After: 3, Fault: CutRST}, Flow{}, "abc", "abc"},
		{"cut before the message", Flow{Fault: CutRST}, Flow{}, "", ""},
		{"cut before the answer", Flow{}, Flow{Fault: CutRST}, "", "abc*def"},
		{"cut in the answer", Flow{}, Flow{After: 4, Fault: CutRST}, "abc*", "abc*def"},
		{"no fault", Flow{}, Flow{}, "abc*def", "abc*def"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, got := echo(t)
			r := relay(t, addr, nil)
			other, c := dial(t, r, ""), dial(t, r, "")
			for _, c := range []net.Conn{c, other} {
				if back := say(t, c, "hello"); back != "hello" {
					t.Fatalf("%q", back)
				}
			}
			sprung := r.Set(&Trap{Mark: []byte("*"), Up: tt.up, Down: tt.down})
			if back := say(t, c, "plain"); back != "plain" {
				t.Errorf("an unmarked message comes back as %q", back)
			}
			back := say(t, c, "abc*def")
			<-sprung
			// A reset may overtake what was delivered before it, and the echo of that.
			if back != tt.back && back != "" {
				t.Errorf("%q came back, want %q", back, tt.back)
			}
			c.Close()
			if seen := <-got; seen != "helloplain"+tt.got && (tt.got != "abc" || seen != "helloplain") {
				t.Errorf("the backend got %q, want %q", seen, tt.got)
			}
			// It springs once.
			if back := say(t, other, "abc*def"); back != "abc*def" {
				t.Errorf("another connection says %q", back)
			}
			other.Close()
			<-got
		})
	}
}

func TestATrapHoldsAndDeliversLate(t *testing.T) {
	addr, got := echo(t)
	r := relay(t, addr, nil)
	c := dial(t, r, "")
	release := make(chan struct{})
	sprung := r.Set(&Trap{Mark: []byte("*"), Up: Flow{Fault: Hold, Release: release}})
	if _, err := io.WriteString(c, "abc*def"); err != nil {
		t.Fatal(err)
	}
	<-sprung
	c.Close() // its sender has given up
	select {
	case seen := <-got:
		t.Fatalf("the backend got %q", seen)
	default:
	}
	close(release)
	if seen := <-got; seen != "abc*def" {
		t.Errorf("the backend got %q", seen)
	}
}
