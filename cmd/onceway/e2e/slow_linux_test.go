package e2e

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// A reader that takes nothing is cut off, and goes on by the last event that it had: it misses none.
func TestSlowReaderIsCutOff(t *testing.T) {
	t.Parallel()
	const n = 400
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		missing := map[string]bool{}
		var sent sync.WaitGroup
		turns := make(chan struct{}, 8)
		for range n {
			r := rig.Request{Key: newKey(), Body: "a"}
			missing[r.Key] = true
			sent.Go(func() {
				turns <- struct{}{}
				g.Do(t, r).Is(t, executed)
				<-turns
			})
		}
		sent.Wait()
		hears := func(e event) {
			if e.name == "request" {
				var r rig.Record
				decode(t, e.data, &r)
				if !missing[r.Key] {
					t.Errorf("an event about %s, which is none of these, or came before", r.Key)
				}
				delete(missing, r.Key)
			}
		}

		// Short segments and a narrow window, so that the kernels on the way hold little.
		dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
			control := c.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 536)
				if err == nil {
					err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
				}
			})
			if control != nil {
				return control
			}
			return err
		}}
		conn, err := dialer.DialContext(t.Context(), "tcp", g.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		r := rig.Request{Method: http.MethodGet, Path: listPath, Header: rig.Header("Accept", "text/event-stream")}.HTTP(t, g.Addr)
		if err := r.Write(conn); err != nil {
			t.Fatal(err)
		}
		g.Until(t, "somebody follows", func() bool { return gauge(t, g, "onceway_feed_readers") == 1 })
		g.Until(t, "who takes nothing is cut off", func() bool { return gauge(t, g, "onceway_feed_readers") == 0 })
		resp, err := http.ReadResponse(bufio.NewReader(conn), r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		had := eventsOf(resp.Body)
		last := ""
		for e := range had.events {
			hears(e)
			last = e.id
		}
		if len(missing) == 0 || len(missing) == n || last == "" {
			t.Fatalf("%d of %d events are missing: the kernel held all or nothing", len(missing), n)
		}
		again := streaming(t, g, listPath, "Last-Event-ID", last)
		if again == nil {
			t.Fatal("nobody answered")
		}
		for len(missing) > 0 {
			e := again.any(t)
			hears(e)
			if e.name == "sync" && strings.Contains(e.data, "true") && len(missing) > 0 {
				t.Fatalf("%d events never came", len(missing))
			}
		}
	})
}
