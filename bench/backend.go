package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"sync/atomic"
)

// executionsPath answers with the number of POSTs executed so far. It is asked directly, never
// through a proxy.
const executionsPath = "/bench/executions"

// backend is an order service that costs as little as Go's sockets allow, so that what is measured is
// the proxy in front of it. A POST is executed: counted, and answered 201 with its own key in the
// body. A GET is answered 200.
type backend struct{ executions atomic.Int64 }

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
		go b.converse(conn)
	}
}

// converse answers one connection's requests until the peer, or the end of the process, closes it.
func (b *backend) converse(conn net.Conn) {
	defer conn.Close()
	in := newReader(conn)
	var out []byte
	for {
		h, _, err := in.next()
		if err != nil {
			return
		}
		out = b.answer(out[:0], &h)
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

func (b *backend) answer(out []byte, h *head) []byte {
	method, rest, _ := bytes.Cut(h.start, []byte(" "))
	path, _, _ := bytes.Cut(rest, []byte(" "))
	switch {
	case string(method) == "POST" && len(h.key) > 0:
		b.executions.Add(1)
		return appendAnswer(out, "201 Created", `{"status":"accepted","order":"`, h.key, `"}`)
	case string(method) == "POST":
		return appendAnswer(out, "400 Bad Request", `{"error":"no idempotency key"`, nil, `}`)
	case string(path) == executionsPath:
		return appendAnswer(out, "200 OK", "", strconv.AppendInt(nil, b.executions.Load(), 10), "")
	default:
		return appendAnswer(out, "200 OK", `{"status":"open","order":"0193e4a0-0000-7000-8000-000000000000"`, nil, `}`)
	}
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
