package ledger

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

type connKey struct{}

// arrival is a connection with its number.
type arrival struct {
	net.Conn
	number int64
}

// serve writes its lines and does what the script says.
func (p *process) serve(w http.ResponseWriter, r *http.Request) {
	var s Script
	if text := r.Header.Get(Field); text != "" {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			http.Error(w, "script: "+err.Error(), http.StatusNotImplemented)
			return
		}
	}
	conn := r.Context().Value(connKey{}).(*arrival)
	e := Entry{
		Event: Begin, Request: p.requests.Add(1), Conn: conn.number,
		Operation: r.Header.Get("Onceway-Operation"), Attempt: r.Header.Get("Onceway-Attempt"), Key: r.Header.Get("Idempotency-Key"),
		Method: r.Method, Target: r.RequestURI, Host: r.Host, Proto: r.Proto, Header: r.Header,
	}
	if strings.HasPrefix(r.URL.Path, probePath) {
		p.probe(w, r, e)
		return
	}
	p.book.write(e)
	for _, url := range s.Lookup {
		looked := e
		looked.Event, looked.Lookup = Looked, lookUp(url)
		p.book.write(looked)
	}
	if s.Then == Echo || s.Then == Upgrade {
		e.Event = Effect
		p.book.write(e)
		if s.Then == Echo {
			echo(w, r)
		} else {
			upgrade(w)
		}
		return
	}
	content, length, err := readContent(r.Body)
	if err != nil {
		return // what arrived in part is not executed
	}
	p.gates.pass(s.Before)
	time.Sleep(time.Duration(s.Pause) * time.Millisecond)
	if !s.NoEffect {
		status, body := s.answer(e)
		what := executedOperation{status: status, fields: s.Header, body: body}
		e.Event, e.Body, e.Length = Effect, content, length
		if !p.operations.execute(e.Operation, e.Attempt, what, func() { p.book.write(e) }) {
			e.Event, e.Body, e.Length = Fenced, nil, 0
			p.book.write(e)
			http.Error(w, "this attempt was refused for ever", http.StatusConflict)
			return
		}
	}
	p.gates.pass(s.After)
	switch s.Then {
	case Hang:
		<-r.Context().Done()
		e.Event = Stopped
		p.book.write(e)
		return
	case Die:
		os.Exit(9)
	case ResetStream:
		panic(http.ErrAbortHandler)
	case Close, Reset, Answer, Upgrade, Echo:
	}
	switch {
	case s.Raw != "":
		c := hijack(w)
		io.WriteString(c, s.Raw)
		end(c, s.Then == Reset)
	case s.Then == Close || s.Then == Reset:
		end(conn.Conn, s.Then == Reset)
		panic(http.ErrAbortHandler)
	default:
		p.answer(w, s, e)
	}
}

func (p *process) answer(w http.ResponseWriter, s Script, e Entry) {
	for _, status := range s.Informational {
		w.WriteHeader(status)
	}
	h := w.Header()
	for name, values := range s.Header {
		h[name] = values // in the spelling of the script; nil keeps net/http from adding its own
	}
	for name := range s.Trailer {
		h.Add("Trailer", name)
	}
	status, body := s.answer(e)
	length := int64(len(body))
	if s.Big > 0 {
		length = s.Big
	}
	if !s.Chunked && s.Pieces == nil && bodyAllowed(status) {
		h.Set("Content-Length", strconv.FormatInt(length, 10))
	}
	w.WriteHeader(status)
	flush := func() { http.NewResponseController(w).Flush() }
	switch {
	case !bodyAllowed(status) || e.Method == http.MethodHead:
	case s.Pieces != nil:
		for i, piece := range s.Pieces {
			if i > 0 && i <= len(s.Gates) {
				p.gates.pass(s.Gates[i-1])
			}
			io.WriteString(w, piece)
			flush()
		}
	case s.Big > 0:
		writePattern(w, s.Big)
	default:
		io.WriteString(w, body)
	}
	if s.Chunked {
		flush()
	}
	for name, values := range s.Trailer {
		h[name] = values
	}
}

// answer returns what the script answers, if it answers at all.
func (s Script) answer(e Entry) (status int, body string) {
	status = s.Status
	if status == 0 {
		status = http.StatusOK
	}
	if s.Body != nil {
		return status, *s.Body
	}
	return status, fmt.Sprintf(`{"execution":%d,"operation":"%s","attempt":"%s"}`+"\n", e.Request, e.Operation, e.Attempt)
}

func bodyAllowed(status int) bool {
	return status != http.StatusNoContent && status != http.StatusNotModified && status != http.StatusResetContent
}

func writePattern(w io.Writer, n int64) {
	buf := make([]byte, 64<<10)
	for at := int64(0); at < n; {
		part := buf[:min(int64(len(buf)), n-at)]
		for i := range part {
			part[i] = Pattern(at + int64(i))
		}
		if _, err := w.Write(part); err != nil {
			return
		}
		at += int64(len(part))
	}
}

func readContent(r io.Reader) (kept []byte, length int64, err error) {
	kept, err = io.ReadAll(io.LimitReader(r, keptBody+1))
	if err != nil || len(kept) <= keptBody {
		return kept, int64(len(kept)), err
	}
	more, err := io.Copy(io.Discard, r)
	return nil, int64(len(kept)) + more, err
}

func lookUp(url string) *Lookup {
	l := &Lookup{URL: url}
	resp, err := http.Get(url)
	if err != nil {
		l.Body = err.Error()
		return l
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	l.Status, l.Header, l.Body = resp.StatusCode, resp.Header, string(body)
	return l
}

// echo sends back what comes, as it comes.
func echo(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	c.EnableFullDuplex()
	for name := range r.Trailer {
		w.Header().Add("Trailer", name)
	}
	w.WriteHeader(http.StatusOK)
	c.Flush()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		w.Write(buf[:n])
		c.Flush()
		if err != nil {
			break
		}
	}
	names := make([]string, 0, len(r.Trailer))
	for name := range r.Trailer {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		w.Header()[name] = r.Trailer[name]
	}
}

func upgrade(w http.ResponseWriter) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	io.Copy(c, rw)
}

func hijack(w http.ResponseWriter) net.Conn {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err) // raw answers are for HTTP/1.1
	}
	return c
}

// end closes a connection with FIN or RST, over TLS without its closing alert: as a process that dies.
func end(c net.Conn, rst bool) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if t, ok := c.(*net.TCPConn); ok && rst {
		t.SetLinger(0)
	}
	c.Close()
}
