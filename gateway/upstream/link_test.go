package upstream

import (
	"bytes"
	"net"
	"strings"
	"testing"
)

type recordingConn struct {
	net.Conn
	writes []string
}

func (c *recordingConn) Write(p []byte) (int, error) {
	c.writes = append(c.writes, string(p))
	return len(p), nil
}

// A request's head goes out with the first of its content, and nothing is lost or doubled.
func TestHeadGoesWithContent(t *testing.T) {
	var buf []byte
	for _, size := range []int{0, 1, 1000, atOnce - 1000, atOnce, 100 << 10} {
		content := bytes.Repeat([]byte("x"), size)
		head, sent, err := compose(buf, &Request{Method: "POST", Target: "/", Host: "h", Body: content}, "a")
		if err != nil {
			t.Fatal(err)
		}
		conn := new(recordingConn)
		l := &link{Conn: conn}
		l.Conn.Write(head)
		rest := l.write(content[sent:])
		rest.wait()
		if got := strings.Join(conn.writes, ""); !strings.HasSuffix(got, "\r\n\r\n"+string(content)) {
			t.Errorf("%d bytes arrive as %d", size, len(got))
		}
		if want := 1 + min(size/(atOnce-100), 1); len(conn.writes) != want {
			t.Errorf("%d bytes of content go in %d writes, want %d", size, len(conn.writes), want)
		}
		buf = head
	}
}

func TestComposeRefuses(t *testing.T) {
	good := func() *Request {
		return &Request{Method: "POST", Target: "/a?b", Host: "shop.example:81", Fields: []Field{{"X-A", "1"}}}
	}
	tests := []struct {
		name   string
		change func(r *Request)
	}{
		{"target with a line end", func(r *Request) { r.Target = "/a\nb" }},
		{"target with a space", func(r *Request) { r.Target = "/a b" }},
		{"target with DEL", func(r *Request) { r.Target = "/a\x7fb" }},
		{"absolute target", func(r *Request) { r.Target = "http://x/" }},
		{"method with a space", func(r *Request) { r.Method = "PO ST" }},
		{"no method", func(r *Request) { r.Method = "" }},
		{"host with a line end", func(r *Request) { r.Host = "a\r\nX: y" }},
		{"value with a line end", func(r *Request) { r.Fields[0].Value = "1\r\nX-B: 2" }},
		{"value with NUL", func(r *Request) { r.Fields[0].Value = "1\x00" }},
		{"name with a colon", func(r *Request) { r.Fields[0].Name = "X-A: 1\r\nX-B" }},
		{"empty name", func(r *Request) { r.Fields[0].Name = "" }},
	}
	if _, _, err := compose(nil, good(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		r := good()
		tt.change(r)
		if message, _, err := compose(nil, r, "a"); err == nil {
			t.Errorf("%s: %q", tt.name, message)
		}
	}
}

// Fields that frame the message are never taken from a request's header.
func TestFramingIsOurs(t *testing.T) {
	fields := []Field{{"Host", "other"}, {"Content-Length", "7"}, {"Transfer-Encoding", "chunked"}, {"Trailer", "X"}, {"Connection", "close"}, {"Expect", "100-continue"}}
	got, _, err := compose(nil, &Request{Method: "POST", Target: "/", Fields: fields, Body: []byte("abc")}, "a:1")
	if want := "POST / HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\n\r\nabc"; err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
}
