package e2e

import (
	"io"
	"net"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// What was answered is answered again after the gateway was killed.
func TestRestartThenReplay(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, Header: map[string][]string{"Location": {"/orders/1"}, "X-Many": {"a", "b"}}}}
		first := g.Do(t, r)
		first.Is(t, with(executed, 201))
		for range 2 {
			g.Kill(t)
			g.Start(t)
			again := g.Do(t, r)
			again.Is(t, with(replayed, 201))
			if again.Bytes() != first.Bytes() {
				t.Errorf("after a restart:\n%s\nbefore:\n%s", again.Bytes(), first.Bytes())
			}
		}
		wantEffects(t, b, r.Key, 1)
	})
}

// A gateway that is killed while the backend works leaves an operation that nobody knows the outcome
// of, and that nobody executes again.
func TestKilledWhileTheBackendWorks(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "lease: 2s"})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
		answer := g.Go(t, r)
		b.Await(t, r.Script.After, 1)
		g.Kill(t)
		if a := <-answer; a != nil {
			t.Errorf("a killed gateway answered %d", a.Status)
		}
		g.Start(t)
		wantState(t, g, r.Key, "unknown", 1)
		for range 2 {
			g.Do(t, r).Is(t, stillUnknown)
		}
		b.Open(t, r.Script.After)
		g.Do(t, r).Is(t, stillUnknown)
		wantEffects(t, b, r.Key, 1)
	})
}

// The client's departure changes nothing for the operation; a client that only stops sending still
// gets its answer.
func TestClientGoneMidCall(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		for name, leave := range map[string]func(*net.TCPConn){
			"reset":      func(c *net.TCPConn) { c.SetLinger(0); c.Close() },
			"closed":     func(c *net.TCPConn) { c.Close() },
			"half-close": func(c *net.TCPConn) { c.CloseWrite() },
		} {
			t.Run(name, func(t *testing.T) {
				r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, After: newKey()}}
				c := g.Dial(t)
				io.WriteString(c, r.Raw())
				b.Await(t, r.Script.After, 1)
				leave(c)
				b.Open(t, r.Script.After)
				stored := wantState(t, g, r.Key, "completed", 1)
				again := g.Do(t, r)
				again.Is(t, with(replayed, 201))
				if stored.Response == nil || stored.Response.Body == nil || *stored.Response.Body != again.Body {
					t.Errorf("the record has %+v, the retry got %q", stored.Response, again.Body)
				}
				if name == "half-close" {
					a := rig.ReadAnswer(t, c, "POST")
					a.Is(t, with(executed, 201))
					if a.Bytes() != again.Bytes() {
						t.Errorf("the first caller got %s, the retry %s", a.Bytes(), again.Bytes())
					}
				}
				wantEffects(t, b, r.Key, 1)
			})
		}
	})
}

// An upload that the client gives up leaves no trace anywhere, and the key is as good as new.
func TestAbortedUploadLeavesNoTrace(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		for name, framing := range map[string]string{
			"length": "Content-Length: 10\r\n\r\nhalf",
			"chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
			"chunk":  "Transfer-Encoding: chunked\r\n\r\na\r\nhalf",
		} {
			key := newKey()
			head := "POST /orders HTTP/1.1\r\nHost: " + rig.Host + "\r\nIdempotency-Key: " + key + "\r\n"
			g.Send(t, "POST", head+framing, true).Is(t, refused(400, "request-malformed"))
			wantUnseen(t, g, b, key)
			c := g.Dial(t)
			io.WriteString(c, head+framing)
			c.SetLinger(0)
			c.Close()
			g.Until(t, name+": the gateway is done with it", func() bool { return inFlight(t, g) == 0 })
			wantUnseen(t, g, b, key)
			g.Do(t, rig.Request{Key: key, Body: "whole"}).Is(t, executed)
		}
	})
}
