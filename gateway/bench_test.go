package gateway_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// BenchmarkFreshPost is a whole protected request over sockets, but for a durable store.
func BenchmarkFreshPost(b *testing.B) {
	r := start(b, created, "")
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req, err := http.NewRequest("POST", "http://"+r.address+"/orders", strings.NewReader("{}"))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "key-"+strconv.Itoa(i))
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 201 {
			b.Fatalf("status %d", resp.StatusCode)
		}
	}
}

// BenchmarkStatus is a status query of a record in memory, over one socket.
func BenchmarkStatus(b *testing.B) {
	r := start(b, created, "")
	req, err := http.NewRequest("POST", "http://"+r.address+"/orders", strings.NewReader("{}"))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", "key")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	resp.Body.Close()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	query, buffer := []byte("GET /_reconcile/v1/requests/key HTTP/1.1\r\nHost: example.com\r\nAccept: application/json\r\n\r\n"), make([]byte, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(query); err != nil {
			b.Fatal(err)
		}
		if answer := readMessage(conn, buffer); !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
			b.Fatalf("answered %q", answer)
		}
	}
}

var (
	endOfHead     = []byte("\r\n\r\n")
	contentLength = []byte("Content-Length: ")
)

// readMessage reads one message that has a Content-Length or no content. It returns nil at the end.
func readMessage(conn net.Conn, buffer []byte) []byte {
	for n := 0; ; {
		more, err := conn.Read(buffer[n:])
		if err != nil {
			return nil
		}
		n += more
		head := bytes.Index(buffer[:n], endOfHead)
		if head < 0 {
			continue
		}
		length := 0
		if at := bytes.Index(buffer[:head], contentLength); at >= 0 {
			for _, digit := range buffer[at+len(contentLength) : head+1] {
				if digit < '0' || digit > '9' {
					break
				}
				length = 10*length + int(digit-'0')
			}
		}
		if n >= head+len(endOfHead)+length {
			return buffer[:n]
		}
	}
}
