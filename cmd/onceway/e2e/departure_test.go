package e2e

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

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
			wantEffects(t, b, key, 1)
		}
	})
}

// Clients may speak HTTP/2 in clear text: the same answers, and a cancelled stream is a client that left.
func TestClientsOverHTTP2(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	send := func(r rig.Request) *rig.Answer {
		resp, err := transport.RoundTrip(r.HTTP(t, g.Addr))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return &rig.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body), Proto: resp.Proto}
	}
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201}}
	first := send(r)
	first.Is(t, with(executed, 201))
	again := send(r)
	again.Is(t, with(replayed, 201))
	if first.Proto != "HTTP/2.0" || first.Bytes() != again.Bytes() {
		t.Errorf("over %s: %s, then %s", first.Proto, first.Bytes(), again.Bytes())
	}
	wantEffects(t, b, r.Key, 1)

	left := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := transport.RoundTrip(left.HTTP(t, g.Addr).WithContext(ctx))
		gone <- err
	}()
	b.Await(t, left.Script.After, 1)
	cancel()
	if err := <-gone; err == nil {
		t.Error("a cancelled request was answered")
	}
	b.Open(t, left.Script.After)
	wantState(t, g, left.Key, "completed", 1)
	send(left).Is(t, replayed)
	wantEffects(t, b, left.Key, 1)
}
