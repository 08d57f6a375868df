package upstream

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// wire returns the bytes of one request as a backend sees them.
func wire(t *testing.T, r *Request) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- ""
			return
		}
		defer c.Close()
		br := bufio.NewReader(c)
		var head strings.Builder
		for !strings.HasSuffix(head.String(), "\r\n\r\n") {
			line, err := br.ReadString('\n')
			if err != nil {
				got <- head.String()
				return
			}
			head.WriteString(line)
		}
		body := make([]byte, len(r.Body))
		io.ReadFull(br, body)
		got <- head.String() + string(body)
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	}()
	u := newUpstream(t, Options{}, "http://"+l.Addr().String())
	wantAnswer(t, send(t, u, r), "")
	return <-got
}

func TestTheRequestGoesOutAsGiven(t *testing.T) {
	for _, target := range []string{
		"/", "/orders", "/a%2Fb;x=1?q=%20%41", "/%7e", "/a//b", "//a/b", "//a%2fb?x=//y", "///", "/a/../b", "/?", "/a?", "/a??b",
		"/?a=b&a=c;d", "/:8080", "/@x", "/a|b", `/a"b`, "/caf\xc3\xa9", "/%", "/%zz?%zz", "/a#b", "*",
	} {
		r := &Request{Method: "POST", Target: target, Host: "Shop.example:81", Body: []byte("body")}
		want := "POST " + target + " HTTP/1.1\r\nHost: Shop.example:81\r\nContent-Length: 4\r\n\r\nbody"
		if got := wire(t, r); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestNothingIsAdded(t *testing.T) {
	tests := []struct {
		method string
		fields []Field
		body   string
		want   string
	}{
		{"POST", nil, "", "Content-Length: 0\r\n"},
		{"PATCH", nil, "x", "Content-Length: 1\r\n"},
		{"DELETE", nil, "", ""},
		{"BREW", []Field{{"User-Agent", "pot/1"}}, "", "User-Agent: pot/1\r\n"},
		{"POST", []Field{{"Expect", "100-continue"}, {"X-A", "1"}, {"X-A", "2"}}, "x", "Content-Length: 1\r\nX-A: 1\r\nX-A: 2\r\n"},
	}
	for _, tt := range tests {
		want := fmt.Sprintf("%s /o HTTP/1.1\r\nHost: h\r\n%s\r\n%s", tt.method, tt.want, tt.body)
		if got := wire(t, &Request{Method: tt.method, Target: "/o", Host: "h", Fields: tt.fields, Body: []byte(tt.body)}); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

func TestOddTargetsOnHTTP2(t *testing.T) {
	for _, target := range []string{"/a%2Fb;x=1?q=%20%41", "//a/b", "/a?"} {
		got := make(chan string, 1)
		b := newBackend(t, "h2c", answering)
		b.onHead = func(f *http2.MetaHeadersFrame) {
			got <- f.PseudoValue("path") + " " + f.PseudoValue("authority") + " " + f.PseudoValue("scheme")
		}
		r := post("op", nil)
		r.Target, r.Host = target, "Shop.example"
		wantAnswer(t, send(t, newUpstream(t, Options{}, b.URL()), r), "done op")
		if g, want := <-got, target+" Shop.example http"; g != want {
			t.Errorf("got %q, want %q", g, want)
		}
	}
}

func TestUnsendable(t *testing.T) {
	b := newBackend(t, "http", answering)
	u := newUpstream(t, Options{}, b.URL())
	for _, target := range []string{"", "orders", "http://elsewhere/", "/a b"} {
		r := post("op", nil)
		r.Target = target
		wantNotSent(t, send(t, u, r), CauseUnsendable)
	}
	for _, change := range []func(r *Request){
		func(r *Request) { r.Target = "/a\nb" },
		func(r *Request) { r.Method = "PO ST" },
		func(r *Request) { r.Fields = append(r.Fields, Field{"X-A", "a\r\nb"}) },
	} {
		r := post("op", nil)
		change(r)
		wantNotSent(t, send(t, u, r), CauseUnsendable)
	}
	if b.heads() != 0 {
		t.Errorf("%d requests arrived", b.heads())
	}
}
