package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

// control does something to the socket of a listener or a connection.
func control(s syscall.Conn, do func(fd int) error) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) { err = do(int(fd)) }); e != nil {
		return e
	}
	return err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// await polls what only the kernel can tell.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(time.Minute); !so(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// tcpTable returns the kernel's TCP sockets whose local or remote port is this one: the columns of /proc/net/tcp.
func tcpTable(t *testing.T, address string) (local, remote [][]string) {
	t.Helper()
	_, text, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(text)
	port := fmt.Sprintf(":%04X", n)
	table, err := os.ReadFile("/proc/net/tcp")
	must(t, err)
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasSuffix(f[1], port) {
			local = append(local, f)
		} else if len(f) > 4 && strings.HasSuffix(f[2], port) {
			remote = append(remote, f)
		}
	}
	return local, remote
}

// sockets counts such sockets by state.
func sockets(t *testing.T, address string) (local, remote map[string]int) {
	t.Helper()
	count := func(sockets [][]string) map[string]int {
		n := map[string]int{}
		for _, f := range sockets {
			n[f[3]]++
		}
		return n
	}
	l, r := tcpTable(t, address)
	return count(l), count(r)
}

// unread reports whether a connection to an address has bytes that nobody has read.
func unread(t *testing.T, address string) bool {
	t.Helper()
	local, _ := tcpTable(t, address)
	return slices.ContainsFunc(local, func(f []string) bool {
		return f[3] != listening && !strings.HasSuffix(f[4], ":00000000") // tx_queue:rx_queue
	})
}

// States in /proc/net/tcp.
const (
	established = "01"
	synReceived = "03"
	finWait1    = "04"
	listening   = "0A"
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

// dropAllButSYNAnd lets one remote port through, besides.
func dropAllButSYNAnd(port int) []unix.SockFilter {
	return append([]unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 0}, // the source port
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(port), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff},
	}, dropAllButSYN...)
}

func filter(s syscall.Conn, f []unix.SockFilter) error {
	return control(s, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]})
	})
}

// attach gives a socket a filter; where that is not allowed the test is skipped.
func attach(t *testing.T, s syscall.Conn, f []unix.SockFilter) {
	t.Helper()
	if err := filter(s, f); err != nil {
		t.Skip("a socket cannot be given a filter here: ", err)
	}
}

func detach(t *testing.T, s syscall.Conn) {
	t.Helper()
	must(t, control(s, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0) }))
}

// vanish makes a connection's own side drop whatever comes, so that nothing is acknowledged.
func vanish(c *net.TCPConn) error { return filter(c, dropAll) }

// T4: the backend vanishes without FIN or RST, and without acknowledging: a filter on its socket drops
// everything. The attempt ends by its own deadline, not by the kernel's retransmissions.
func TestT4PeerVanishes(t *testing.T) {
	t.Parallel()
	attach(t, asleep(t), dropAll)
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		failed := make(chan error, 100)
		gone := listenRaw(t, func(c *net.TCPConn) {
			failed <- vanish(c)
			io.Copy(io.Discard, c)
		})
		g := rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{"http://" + gone}, Upstream: "timeout: 1s",
			Routes: "  - {name: good, match: {path: /good}, upstream: good}", Upstreams: "  good: {targets: [" + b.URL() + "]}",
		})
		for range 2 {
			r, a := inTime(t, g, b, func() rig.Request { return rig.Request{Key: newKey(), Body: "a"} })
			a.Is(t, timedOut)
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

// accepting relays what has come to a listener, however long ago, and what comes.
func accepting(t *testing.T, l *net.TCPListener, backend string) {
	t.Cleanup(nemesis.Serve(l, backend, nil).Close)
}

// T5: connecting to and writing to a backend that never accepts succeeds. That is no proof of anything: the
// operation is in doubt, and when the backend accepts later it executes once.
func TestT5ListenerThatAcceptsLater(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		late := asleep(t)
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{"http://" + late.Addr().String()}, Upstream: "timeout: 1s"})
		r, a := inTime(t, g, b, func() rig.Request { return rig.Request{Key: newKey(), Body: "amount=1"} })
		a.Is(t, timedOut)
		g.Do(t, r).Is(t, stillUnknown)
		wantState(t, g, r.Key, "unknown", 1)
		accepting(t, late, b.Address())
		g.Until(t, "it is executed late", func() bool { return b.Effects(t, r.Key) == 1 })
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
		// What is late must come before the deadline, which is also the kernel's for what is not acknowledged.
		for end, deadline := range map[string]string{"reset": "3s", "late": "10s", "never": "3s"} {
			t.Run(end, func(t *testing.T) {
				half := asleep(t)
				attach(t, half, dropAllButSYN)
				g := rig.Serve(t, rig.Config{Store: newStoreLike(t, dsn), Targets: []string{"http://" + half.Addr().String()}, Upstream: "timeout: " + deadline})
				r := rig.Request{Key: newKey(), Body: "amount=1"}
				answer := g.Go(t, r)
				g.Until(t, "the connection is half-established", func() bool {
					local, remote := sockets(t, half.Addr().String())
					return remote[established] > 0 && local[synReceived] > 0
				})
				want := timedOut
				switch end {
				case "reset":
					// The kernel refuses what it retransmits now. Only Close of the listener forgets the handshake.
					detach(t, half)
					half.Close()
					want = doubted
				case "late":
					detach(t, half)
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
				if end == "late" {
					accepting(t, half, b.Address())
					g.Until(t, "it is executed late", func() bool { return b.Effects(t, r.Key) == 1 })
				}
				if n := b.Effects(t, r.Key); n > 1 || end != "late" && n != 0 {
					t.Errorf("%d executions", n)
				}
				g.Do(t, r).Is(t, stillUnknown)
			})
		}
	})
}
