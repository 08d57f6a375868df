package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// sleeper is a listener below net's: nobody accepts until the test says so.
type sleeper struct {
	fd      int
	address string
}

func listenAsleep(t *testing.T) *sleeper {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60})) // of accept
	must(unix.Listen(fd, 16))
	name, err := unix.Getsockname(fd)
	must(err)
	s := &sleeper{fd, net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))}
	t.Cleanup(func() {
		if s.fd >= 0 {
			unix.Close(s.fd)
		}
	})
	return s
}

// forward accepts one connection, and gives what it has sent to the backend, however late that is. It
// reports whether it was a request.
func (s *sleeper) forward(t *testing.T, backend string) bool {
	t.Helper()
	fd, _, err := unix.Accept(s.fd)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "accepted")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to, err := net.Dial("tcp", backend)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	// The sender has gone: what it sent ends with FIN or RST, and was received before that.
	text, _ := io.ReadAll(c)
	if !bytes.Contains(text, []byte("\r\n\r\n")) {
		return false
	}
	if _, err := to.Write(text); err != nil {
		t.Fatal(err)
	}
	rig.ReadAnswer(t, to, "POST")
	return true
}

// sockets counts the kernel's TCP sockets whose local or remote port is this one, by state.
func sockets(t *testing.T, address string) (local, remote map[string]int) {
	t.Helper()
	_, text, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(text)
	port := fmt.Sprintf(":%04X", n)
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	local, remote = map[string]int{}, map[string]int{}
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 3 && strings.HasSuffix(f[1], port) {
			local[f[3]]++
		} else if len(f) > 3 && strings.HasSuffix(f[2], port) {
			remote[f[3]]++
		}
	}
	return local, remote
}

// States in /proc/net/tcp.
const (
	established = "01"
	synReceived = "03"
)

// Filters for SO_ATTACH_FILTER. A socket's filter sees its segments from the TCP header on.
var (
	dropAll       = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	dropAllButSYN = []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13},            // the flags
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: 0x02, Jf: 1}, // SYN
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
)

// attach gives a socket a filter; where that is not allowed the test is skipped.
func attach(t *testing.T, fd int, filter []unix.SockFilter) {
	t.Helper()
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
	if err != nil {
		t.Skip("a socket cannot be given a filter here: ", err)
	}
}

// vanish makes a connection's own side drop whatever comes, so that nothing is acknowledged.
func vanish(c *net.TCPConn) (err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	program := unix.SockFprog{Len: 1, Filter: &dropAll[0]}
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program)
	}); e != nil {
		return e
	}
	return err
}

// T4: the backend vanishes without FIN or RST, and without acknowledging: a filter on its socket drops
// everything. The attempt ends by its own deadline, not by the kernel's retransmissions.
func TestT4PeerVanishes(t *testing.T) {
	t.Parallel()
	attach(t, listenAsleep(t).fd, dropAll)
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		failed := make(chan error, 10)
		gone := listenRaw(t, func(c *net.TCPConn) {
			failed <- vanish(c)
			io.Copy(io.Discard, c)
		})
		g := rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{"http://" + gone}, Upstream: "timeout: 1s",
			Routes: "  - {name: good, match: {path: /good}, upstream: good}", Upstreams: "  good: {targets: [" + b.URL() + "]}",
		})
		for range 2 {
			r := rig.Request{Key: newKey(), Body: "a"}
			g.Do(t, r).Is(t, timedOut)
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			g.Do(t, r).Is(t, stillUnknown)
		}
		// A client that vanishes behind its request: the answer is recorded, and nothing waits for it.
		r := rig.Request{Path: "/good", Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
		c := g.Dial(t)
		io.WriteString(c, r.Raw())
		b.Await(t, r.Script.After, 1)
		if err := vanish(c); err != nil {
			t.Fatal(err)
		}
		b.Open(t, r.Script.After)
		wantState(t, g, r.Key, "completed", 1)
		g.Do(t, r).Is(t, replayed)
		wantEffects(t, b, r.Key, 1)
		g.Until(t, "no request waits for the client", func() bool { return inFlight(t, g) == 0 })
	})
}

// T5: connecting to and writing to a backend that never accepts succeeds. That is no proof of anything: the
// operation is in doubt, and when the backend accepts later it executes once.
func TestT5ListenerThatAcceptsLater(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		late := listenAsleep(t)
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{"http://" + late.address}, Upstream: "timeout: 1s"})
		r := rig.Request{Key: newKey(), Body: "amount=1"}
		g.Do(t, r).Is(t, timedOut)
		g.Do(t, r).Is(t, stillUnknown)
		wantState(t, g, r.Key, "unknown", 1)
		if !late.forward(t, b.Address()) {
			t.Error("the request had not reached the kernel, so that nothing was tested")
		}
		g.Do(t, r).Is(t, stillUnknown)
		wantState(t, g, r.Key, "unknown", 1)
		wantEffects(t, b, r.Key, 1)
	})
}

// T6: a half-established connection: for the gateway it is established, for the backend it is not, because
// the segment that completes the handshake and all that follow are dropped. What the gateway has written is
// then met by a reset, or arrives late, or never.
func TestT6HalfEstablishedConnection(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		for _, end := range []string{"reset", "late", "never"} {
			t.Run(end, func(t *testing.T) {
				half := listenAsleep(t)
				attach(t, half.fd, dropAllButSYN)
				g := rig.Serve(t, rig.Config{Store: newStoreLike(t, dsn), Targets: []string{"http://" + half.address}, Upstream: "timeout: 3s"})
				r := rig.Request{Key: newKey(), Body: "amount=1"}
				answer := g.Go(t, r)
				g.Until(t, "the connection is half-established", func() bool {
					local, remote := sockets(t, half.address)
					return remote[established] > 0 && local[synReceived] > 0
				})
				want := timedOut
				switch end {
				case "reset":
					// The kernel refuses what it retransmits now. Only Close of the listener forgets the handshake.
					unix.SetsockoptInt(half.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
					unix.Close(half.fd)
					half.fd = -1
					want = doubted
				case "late":
					unix.SetsockoptInt(half.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
				}
				a := <-answer
				if a == nil {
					t.Fatal("no answer")
				}
				if end == "reset" && a.Status == timedOut.Status {
					want = timedOut // before the next retransmission
				}
				a.Is(t, want)
				g.Do(t, r).Is(t, stillUnknown)
				wantState(t, g, r.Key, "unknown", 1)
				if end == "late" && !half.forward(t, b.Address()) {
					t.Error("nothing arrived late")
				}
				if n := b.Effects(t, r.Key); n > 1 || end != "late" && n != 0 {
					t.Errorf("%d executions", n)
				}
				g.Do(t, r).Is(t, stillUnknown)
			})
		}
	})
}
