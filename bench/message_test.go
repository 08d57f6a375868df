package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseHead(t *testing.T) {
	whole := "HTTP/1.1 201 Created\r\nDate: today\r\ncontent-length: 3\r\nIDEMPOTENCY-STATE:executed\r\n" +
		"Idempotent-Replayed: true \r\nIdempotency-Key: k-1\r\n\r\n"
	h, size, err := parseHead([]byte(whole + "abc"))
	if err != nil || size != len(whole) || h.length != 3 || h.status() != 201 ||
		string(h.state) != "executed" || string(h.replayed) != "true" || string(h.key) != "k-1" {
		t.Errorf("got %+v of %d bytes, %v", h, size, err)
	}
	for n := range len(whole) {
		if _, size, err := parseHead([]byte(whole[:n])); size != 0 || err != nil {
			t.Fatalf("%d bytes of the head: size %d, %v", n, size, err)
		}
	}
	if h, _, err := parseHead([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil || h.length != -1 || string(h.start) != "GET / HTTP/1.1" {
		t.Errorf("without fields: %+v, %v", h, err)
	}
	for _, bad := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
	} {
		if _, _, err := parseHead([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestStatusOfWhatIsNoStatusLine(t *testing.T) {
	for _, line := range []string{"", "HTTP/1.1", "HTTP/1.0 200 OK", "HTTP/1.1 abc", "GET /orders/1 HTTP/1.1"} {
		if got := (&head{start: []byte(line)}).status(); got != 0 {
			t.Errorf("%q has status %d", line, got)
		}
	}
}

func TestReaderOverAnyFragments(t *testing.T) {
	const one = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
	big := strings.Repeat("b", 9000)
	stream := one + "HTTP/1.1 204 No Content\r\n\r\n" + "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + big
	for name, src := range map[string]io.Reader{
		"at once":      strings.NewReader(stream),
		"byte by byte": iotest.OneByteReader(strings.NewReader(stream)),
		"halves":       iotest.HalfReader(strings.NewReader(stream)),
	} {
		r := newReader(src)
		for _, want := range []string{"first", "", big} {
			if _, body, err := r.next(); err != nil || string(body) != want {
				t.Errorf("%s: %.20q, %v, want %.20q", name, body, err, want)
			}
		}
		if _, _, err := r.next(); err != io.EOF {
			t.Errorf("%s: end of stream is %v, want EOF", name, err)
		}
	}
	for n := 1; n < len(one); n++ {
		if _, _, err := newReader(strings.NewReader(one[:n])).next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("cut after %d bytes: %v", n, err)
		}
	}
	endless := io.MultiReader(strings.NewReader("HTTP/1.1 200 OK\r\nX: "), bytes.NewReader(make([]byte, 2*maxMessage)))
	if _, _, err := newReader(endless).next(); err == nil {
		t.Error("an endless head was accepted")
	}
}
