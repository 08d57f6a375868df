package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Answers on an HTTP/2 connection whose client has opened all windows, and then takes nothing, end.
func TestAStuckConnectionIsClosed(t *testing.T) {
	cut := make(chan struct{})
	server := newPublic(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(cut)
		for block, err := make([]byte, 1<<20), error(nil); err == nil; {
			_, err = w.Write(block)
		}
	}), slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug))
	if server.HTTP2 == nil || server.HTTP2.WriteByteTimeout <= 0 || server.HTTP2.WriteByteTimeout > time.Minute {
		t.Fatal("no connection is ever closed")
	}
	server.HTTP2.WriteByteTimeout = time.Second // which the first bytes of the connection have, too
	c := dialed(t, server)
	io.WriteString(c, http2.ClientPreface)
	f := http2.NewFramer(c, nil)
	const most = 1<<31 - 1
	f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: most})
	f.WriteWindowUpdate(0, most-1<<16)
	var head bytes.Buffer
	fields := hpack.NewEncoder(&head)
	for name, value := range map[string]string{":method": "GET", ":scheme": "http", ":path": "/", ":authority": "a"} {
		fields.WriteField(hpack.HeaderField{Name: name, Value: value})
	}
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: head.Bytes(), EndHeaders: true, EndStream: true})
	select {
	case <-cut:
	case <-time.After(30 * time.Second):
		t.Fatal("the answer still waits for its client")
	}
}

// Whoever declares content, and does not send it, holds no connection of the operators' listener for long, even where nobody
// wants that content: net/http waits for it before it answers.
func TestOperatorsListenerWaitsForNoContent(t *testing.T) {
	server := newAdmin(http.NotFoundHandler(), slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug))
	if server.ReadTimeout <= 0 || server.ReadTimeout > time.Minute {
		t.Fatal("no request ever has to be whole")
	}
	server.ReadTimeout = time.Second // in which the head has to come
	c := dialed(t, server)
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx")
	if _, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection is still there: %v", err)
	}
}

// dialed runs a server for a test, and returns a connection to it.
func dialed(t *testing.T, server *http.Server) net.Conn {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
