package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// What the backend is asked directly, never through a proxy.
const (
	executionsPath = "/bench/executions/" // and a cell: the number of POSTs executed in it
	heldPath       = "/bench/held"        // the number of POSTs that wait
	releasePath    = "/bench/release"     // lets them go on
)

// backend is an order service that costs as little as Go's sockets allow, so that what is measured is
// the proxy in front of it:
//
//	POST /…             is executed: counted, and answered 201 with its own key in the content
//	POST /documents     the same, with an answer as long as the request
//	POST /held          the same, once it has been released
//	GET /download/N     N bytes
//	GET /…              200 with its own target in the content
type backend struct {
	executions sync.Map // cell → *atomic.Int64
	held       atomic.Int64
	mu         sync.Mutex
	gate       chan struct{} // closed to release what waits
}

func newBackend() *backend { return &backend{gate: make(chan struct{})} }

func (b *backend) serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go b.converse(ctx, conn)
	}
}

// converse answers one connection's requests until the peer, or the end of the process, closes it.
func (b *backend) converse(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	in := newReader(conn)
	var out []byte
	var cell string // of the last execution, with its count
	var executed *atomic.Int64
	for {
		h, _, err := in.next()
		if err != nil {
			return
		}
		method, rest, _ := bytes.Cut(h.start, []byte(" "))
		path, _, _ := bytes.Cut(rest, []byte(" "))
		switch {
		case string(method) != "POST":
			if size, ok := bytes.CutPrefix(path, []byte("/download/")); ok {
				if err := download(conn, string(size)); err != nil {
					return
				}
				continue
			}
			out = b.look(out[:0], path)
		case len(h.key) == 0:
			out = appendAnswer(out[:0], "400 Bad Request", `{"error":"no idempotency key"`, nil, `}`)
		default:
			if string(path) == "/held" && !b.wait(ctx) {
				return
			}
			if executed == nil || string(h.cell) != cell {
				cell = string(h.cell)
				executed = b.count(cell)
			}
			executed.Add(1)
			after := `"}`
			if string(path) == "/documents" {
				after = `","content":"` + strings.Repeat("Onceway ", h.length/8) + `"}`
			}
			out = appendAnswer(out[:0], "201 Created", `{"status":"accepted","order":"`, h.key, after)
		}
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

func (b *backend) look(out, path []byte) []byte {
	cell, ok := bytes.CutPrefix(path, []byte(executionsPath))
	switch {
	case ok:
		return appendAnswer(out, "200 OK", "", strconv.AppendInt(nil, b.count(string(cell)).Load(), 10), "")
	case string(path) == heldPath:
		return appendAnswer(out, "200 OK", "", strconv.AppendInt(nil, b.held.Load(), 10), "")
	case string(path) == releasePath:
		b.release()
		return appendAnswer(out, "200 OK", "released", nil, "")
	}
	return appendAnswer(out, "200 OK", `{"status":"open","order":"`, path, `"}`)
}

func (b *backend) count(cell string) *atomic.Int64 {
	n, _ := b.executions.LoadOrStore(cell, new(atomic.Int64))
	return n.(*atomic.Int64)
}

// wait holds a request until the next release; false means that the backend ends.
func (b *backend) wait(ctx context.Context) bool {
	b.mu.Lock()
	gate := b.gate
	b.held.Add(1)
	b.mu.Unlock()
	defer b.held.Add(-1)
	select {
	case <-gate:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *backend) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.gate)
	b.gate = make(chan struct{})
}

func download(conn net.Conn, size string) error {
	left, err := strconv.Atoi(size)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", left); err != nil {
		return err
	}
	for block := make([]byte, 64<<10); left > 0; {
		n, err := conn.Write(block[:min(left, len(block))])
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

func appendAnswer(out []byte, status, before string, key []byte, after string) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = append(out, status...)
	out = append(out, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(before)+len(key)+len(after)), 10)
	out = append(out, "\r\n\r\n"...)
	out = append(out, before...)
	out = append(out, key...)
	return append(out, after...)
}
