package nemesis

import (
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering starts a backend that reads a request of n bytes and answers, once per connection. What it
// got is sent to the channel, whole or not.
func answering(t *testing.T, n int, answer string) (addr string, got <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	requests := make(chan string, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, n)
			m, _ := io.ReadFull(c, b)
			requests <- string(b[:m])
			if m == n {
				io.WriteString(c, answer)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return l.Addr().String(), requests
}

func relay(t *testing.T, backend string, s Script) *Relay {
	t.Helper()
	r, err := Listen(backend, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func dial(t *testing.T, r *Relay, request string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnswersAreCutAtTheExactByte(t *testing.T) {
	const answer = "0123456789"
	backend, got := answering(t, 4, answer)
	for _, fault := range []Fault{CutFIN, CutRST} {
		for n := range len(answer) {
			r := relay(t, backend, Always(Plan{Down: Flow{After: int64(n), Fault: fault}}))
			c := dial(t, r, "ping")
			if request := <-got; request != "ping" {
				t.Fatalf("backend got %q", request)
			}
			b, err := io.ReadAll(c)
			// A reset may overtake bytes that the client has not read yet; an end in good order may not.
			if fault == CutFIN && (err != nil || string(b) != answer[:n]) {
				t.Errorf("%v after %d: got %q, %v", fault, n, b, err)
			}
			if fault == CutRST && (!errors.Is(err, syscall.ECONNRESET) || len(b) > n) {
				t.Errorf("%v after %d: got %q, %v", fault, n, b, err)
			}
			if m := r.Conn(0).Down.Bytes(); m != int64(n) {
				t.Errorf("%v after %d: counted %d", fault, n, m)
			}
			c.Close()
			r.Close()
		}
	}
}

func TestRequestsAreCutAtTheExactByte(t *testing.T) {
	backend, got := answering(t, 4, "pong")
	for n := range 4 {
		r := relay(t, backend, Always(Plan{Up: Flow{After: int64(n), Fault: CutFIN}}))
		c := dial(t, r, "ping")
		if request := <-got; request != "ping"[:n] {
			t.Errorf("cut after %d: backend got %q", n, request)
		}
		c.Close()
		r.Close()
	}
}

func TestHeldBytesComeWhenReleased(t *testing.T) {
	backend, got := answering(t, 4, "pong")
	release := make(chan struct{})
	r := relay(t, backend, Always(Plan{Up: Flow{After: 2, Fault: Hold, Release: release}}))
	c := dial(t, r, "ping")
	conn := r.Conn(0)
	<-conn.Up.Struck()
	if n := conn.Up.Bytes(); n != 2 {
		t.Fatalf("%d bytes passed before the hold", n)
	}
	select {
	case request := <-got:
		t.Fatalf("backend got %q before the release", request)
	default:
	}
	close(release)
	if request := <-got; request != "ping" {
		t.Fatalf("backend got %q", request)
	}
	if b, err := io.ReadAll(c); err != nil || string(b) != "pong" {
		t.Fatalf("client got %q, %v", b, err)
	}
}

func TestSwallowedAndFrozenBytesNeverArrive(t *testing.T) {
	for _, fault := range []Fault{Swallow, Freeze} {
		backend, got := answering(t, 4, "pong")
		r := relay(t, backend, Always(Plan{Up: Flow{After: 3, Fault: fault}}))
		dial(t, r, "ping")
		conn := r.Conn(0)
		<-conn.Up.Struck()
		if fault == Swallow && !conn.Up.Wait(4) {
			t.Error("the swallowed byte was not counted")
		}
		r.Close()
		if request := <-got; request != "pin" {
			t.Errorf("%v: backend got %q", fault, request)
		}
	}
}

func TestRefuseAndIgnore(t *testing.T) {
	backend, got := answering(t, 4, "pong")
	r := relay(t, backend, First(Plan{Refuse: true}, Plan{Ignore: true}))
	c, err := net.Dial("tcp", r.Addr()) // the reset may overtake the handshake
	if err == nil {
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("refused: %v", err)
	}
	r.Conn(0)
	ignored := dial(t, r, "ping") // the kernel takes it; nobody reads it
	r.Conn(1)
	if b, err := io.ReadAll(dial(t, r, "ping")); string(b) != "pong" || err != nil {
		t.Errorf("third connection: %q, %v", b, err)
	}
	if request := <-got; request != "ping" || len(got) != 0 {
		t.Errorf("backend got %q and %d more", request, len(got))
	}
	r.Close()
	if _, err := ignored.Read(make([]byte, 1)); err == nil {
		t.Error("the ignored connection was answered")
	}
	if r.Accepted() != 3 {
		t.Errorf("accepted %d", r.Accepted())
	}
}

// writes collects each of them.
type writes []string

func (w *writes) Write(b []byte) (int, error) {
	*w = append(*w, string(b))
	return len(b), nil
}

func TestSegments(t *testing.T) {
	c := &Conn{relay: &Relay{}, segment: 3}
	var m Meter
	m.init(nil)
	var got writes
	if err := c.copyOut(&got, strings.NewReader("pingpong"), &m); err != nil || !slices.Equal(got, []string{"pin", "gpo", "ng"}) || m.Bytes() != 8 {
		t.Errorf("%q, %d bytes, %v", got, m.Bytes(), err)
	}
	backend, _ := answering(t, 4, "pong")
	r := relay(t, backend, Always(Plan{Segment: 1}))
	if b, err := io.ReadAll(dial(t, r, "ping")); string(b) != "pong" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// Who connected before there was a relay is relayed, too, with all that it has sent.
func TestServeWhatWaits(t *testing.T) {
	backend, got := answering(t, 4, "pong")
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "ping"); err != nil {
		t.Fatal(err)
	}
	r := Serve(l, backend, nil)
	defer r.Close()
	if b, err := io.ReadAll(c); string(b) != "pong" || err != nil || <-got != "ping" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestCutNow(t *testing.T) {
	backend, _ := answering(t, 4, "pong")
	r := relay(t, backend, nil)
	c := dial(t, r, "pin")
	conn := r.Conn(0)
	if !conn.Up.Wait(3) {
		t.Fatal("not relayed")
	}
	conn.Cut(true)
	<-conn.Done()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	if conn.Up.Wait(4) {
		t.Error("a byte came after the end")
	}
}

// What is held passes when it is resumed, although its sender has gone; and a cut ends all connections.
func TestHoldAndCutAll(t *testing.T) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Close()
	relay, err := Listen(backend.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	client, err := net.Dial("tcp", relay.Addr())
	if err != nil {
		t.Fatal(err)
	}
	server, err := backend.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	relay.Hold()
	if _, err := io.WriteString(client, "late"); err != nil {
		t.Fatal(err)
	}
	client.Close()
	if n := relay.Conn(0).Up.Bytes(); n != 0 {
		t.Errorf("%d bytes passed", n)
	}
	relay.Resume()
	relay.Resume()
	if b, err := io.ReadAll(server); string(b) != "late" || err != nil {
		t.Errorf("%q arrived, %v", b, err)
	}

	other, err := net.Dial("tcp", relay.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	relay.Conn(1)
	relay.CutAll(true)
	if _, err := other.Read(make([]byte, 1)); err == nil {
		t.Error("the connection goes on")
	}
}
