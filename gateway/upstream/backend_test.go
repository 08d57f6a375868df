package upstream

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/onceway/onceway/internal/freeport"
)

// protocols under test: cleartext and TLS, HTTP/1.1 and HTTP/2.
var protocols = []string{"http", "https1", "h2c", "h2"}

// backend is a handwritten server that counts executions: whole requests, by operation. What it does
// with each request is decided by react.
type backend struct {
	protocol string
	listener net.Listener
	work     sync.WaitGroup

	mu         sync.Mutex
	conns      []*tcpEnd
	closed     bool
	arrived    int // request heads
	executions map[string]int
	react      func(e *event)
	onHead     func(f *http2.MetaHeadersFrame) // may be nil
	settings   []http2.Setting
}

// event is one moment of one request.
type event struct {
	*tcpEnd
	n      int    // of the request: 0, 1, …
	op     string // X-Op
	moment moment
	answer responder
	stop   bool // set by react: this connection is over
}

type moment int

const (
	headRead moment = iota // the request's head is here, its content not yet
	executed               // the whole request is here and counted
)

// responder writes answers in the connection's protocol.
type responder interface {
	whole(body string)
	partial(head, body string) // announces more than body
}

// tcpEnd is the backend's end of a connection.
type tcpEnd struct {
	net.Conn // TLS or the socket
	tcp      *net.TCPConn
	cork     *cork // of TLS
}

// cork can hold writes until they go out as one.
type cork struct {
	net.Conn
	in   bool
	held []byte
}

func (c *cork) Write(p []byte) (int, error) {
	if c.in {
		c.held = append(c.held, p...)
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// together lets what write writes leave in one piece, whatever records it is made of.
func (e *tcpEnd) together(write func()) {
	e.cork.in = true
	write()
	e.cork.in = false
	e.cork.Conn.Write(e.cork.held)
	e.cork.held = nil
}

func (e *tcpEnd) cut(rst bool) {
	if rst {
		e.tcp.SetLinger(0)
	} else {
		e.tcp.CloseWrite()
	}
	e.tcp.Close()
}

func newBackend(t testing.TB, protocol string, react func(e *event)) *backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &backend{protocol: protocol, listener: l, executions: map[string]int{}, react: react}
	b.work.Go(b.accept)
	t.Cleanup(b.close)
	return b
}

func (b *backend) url(addr string) string {
	switch b.protocol {
	case "https1", "h2":
		return "https://" + addr
	default:
		return b.protocol + "://" + addr
	}
}

func (b *backend) URL() string { return b.url(b.listener.Addr().String()) }

func (b *backend) close() {
	b.listener.Close()
	b.mu.Lock()
	b.closed = true
	for _, c := range b.conns {
		c.tcp.Close()
	}
	b.mu.Unlock()
	b.work.Wait()
}

func (b *backend) accept() {
	for {
		c, err := b.listener.Accept()
		if err != nil {
			return
		}
		e := &tcpEnd{Conn: c, tcp: c.(*net.TCPConn)}
		b.mu.Lock()
		b.conns = append(b.conns, e)
		if b.closed {
			c.Close()
		}
		b.mu.Unlock()
		b.work.Go(func() {
			defer c.Close()
			switch b.protocol {
			case "https1", "h2":
				next := map[string]string{"https1": "http/1.1", "h2": "h2"}[b.protocol]
				e.cork = &cork{Conn: c}
				s := tls.Server(e.cork, &tls.Config{Certificates: []tls.Certificate{certificate().cert}, NextProtos: []string{next}})
				if s.Handshake() != nil {
					return
				}
				e.Conn = s
			}
			if strings.HasPrefix(b.protocol, "h2") {
				b.serve2(e)
			} else {
				b.serve1(e)
			}
		})
	}
}

// last returns the most recent connection.
func (b *backend) last() *tcpEnd {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.conns[len(b.conns)-1]
}

func (b *backend) connections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}

func (b *backend) executed(op string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.executions[op]
}

func (b *backend) arrive() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived++
	return b.arrived - 1
}

// heads returns how many request heads have arrived.
func (b *backend) heads() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.arrived
}

func (b *backend) count(op string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.executions[op]++
}

func (b *backend) serve1(c *tcpEnd) {
	br := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		e := &event{tcpEnd: c, n: b.arrive(), op: r.Header.Get("X-Op"), answer: answer1{c}}
		if b.react(e); e.stop {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		b.count(e.op)
		e.moment = executed
		if b.react(e); e.stop {
			return
		}
	}
}

type answer1 struct{ io.Writer }

func (a answer1) whole(body string) {
	fmt.Fprintf(a, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func (a answer1) partial(head, body string) {
	fmt.Fprintf(a, "HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s", head, len(body)+1, body)
}

func (b *backend) serve2(c *tcpEnd) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c, preface); err != nil || string(preface) != http2.ClientPreface {
		return
	}
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	f.WriteSettings(b.settings...)
	requests := map[uint32]*event{}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		var ended bool
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				f.WritePing(true, frame.Data)
			}
		case *http2.MetaHeadersFrame:
			if b.onHead != nil {
				b.onHead(frame)
			}
			e := &event{tcpEnd: c, n: b.arrive(), answer: answer2{f, frame.StreamID}}
			for _, h := range frame.RegularFields() {
				if h.Name == "x-op" {
					e.op = h.Value
				}
			}
			requests[frame.StreamID] = e
			if b.react(e); e.stop {
				return
			}
			ended = frame.StreamEnded()
		case *http2.DataFrame:
			if n := uint32(len(frame.Data())); n > 0 {
				f.WriteWindowUpdate(0, n)
				if !frame.StreamEnded() {
					f.WriteWindowUpdate(frame.StreamID, n)
				}
			}
			ended = frame.StreamEnded()
		}
		if !ended {
			continue
		}
		e := requests[frame.Header().StreamID]
		b.count(e.op)
		e.moment = executed
		if b.react(e); e.stop {
			return
		}
	}
}

type answer2 struct {
	*http2.Framer
	stream uint32
}

func (a answer2) head(end bool, fields ...string) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	a.WriteHeaders(http2.HeadersFrameParam{StreamID: a.stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: end})
}

func (a answer2) whole(body string) {
	a.head(false, ":status", "200", "content-length", fmt.Sprint(len(body)))
	a.WriteData(a.stream, true, []byte(body))
}

func (a answer2) partial(_, body string) {
	a.head(false, ":status", "200")
	a.WriteData(a.stream, false, []byte(body))
}

// answering is the reaction of a backend that does its work.
func answering(e *event) {
	if e.moment == executed {
		e.answer.whole("done " + e.op)
	}
}

// raw starts an HTTP/1.1 backend that executes each request and answers with these bytes; it keeps the
// connection open unless close is set.
func raw(t testing.TB, bytes string, close bool) *backend {
	return newBackend(t, "http", func(e *event) {
		if e.moment == executed {
			io.WriteString(e, bytes)
			if close {
				e.cut(false)
				e.stop = true
			}
		}
	})
}

// silent returns the address of a listener that never accepts.
func silent(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// refusing returns an address that nobody listens on.
func refusing(t testing.TB) string {
	port, release, err := freeport.Take() // or somebody else may come to listen there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return fmt.Sprintf("127.0.0.1:%d", port)
}

func describe(o Outcome) string {
	switch o := o.(type) {
	case Answered:
		return fmt.Sprintf("Answered %d, %d bytes", o.Status, o.Length)
	case NotSent:
		return fmt.Sprintf("NotSent %s: %v", o.Cause, o.Err)
	case Unknown:
		return fmt.Sprintf("Unknown %s while %v: %v", o.Cause, o.Phase, o.Err)
	}
	return fmt.Sprintf("no outcome: %v", errors.New("nil"))
}
