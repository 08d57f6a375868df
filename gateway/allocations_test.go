//go:build !race

package gateway_test

import (
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// The guard against what makes requests dearer: the memory that the gateway takes for each, in pieces and in
// bytes. Unlike times, that is the same on every machine. Client and backend take none; the store does, but
// always the same.
// (The race detector makes pools forget at random: .ci/run runs this without it.)
//
// Whoever needs more raises a ceiling, and says in docs/performance.md for what.
func TestAllocations(t *testing.T) {
	backend := serveRaw(t, "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n"+`{"order":17}`)
	r := startAt(t, "http://"+backend, "caller: {none: {}}\nupstreams: {b: {targets: ['BACKEND']}}\nroutes:\n"+
		"- {name: all, match: {path: '/**'}, upstream: b, idempotency: {mode: required}}\n")
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()

	const post = "POST /orders HTTP/1.1\r\nHost: example.com\r\nContent-Type: application/json\r\nContent-Length: 2\r\n" +
		"Idempotency-Key: 0193b2f4-5a7e-4c1d-8f00-000000000000\r\n\r\n{}"
	request := []byte(post)
	serial := 0
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would empty pools
	count := func(t *testing.T, name string, pieces, bytes float64, request []byte, next func()) {
		t.Helper()
		buffer := make([]byte, 64<<10)
		once := func() {
			next()
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			answer := readMessage(conn, buffer)
			if !strings.HasPrefix(string(answer[:12]), "HTTP/1.1 20") {
				t.Fatalf("answered %q", answer)
			}
		}
		for range 50 {
			once()
		}
		const runs = 500
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			once()
		}
		runtime.ReadMemStats(&after)
		n, size := float64(after.Mallocs-before.Mallocs)/runs, float64(after.TotalAlloc-before.TotalAlloc)/runs
		if n > pieces || size > bytes {
			t.Errorf("%s takes %.1f pieces of memory, %.0f bytes; the ceilings are %.0f and %.0f", name, n, size, pieces, bytes)
		}
		t.Logf("%s: %.1f pieces, %.0f bytes", name, n, size)
	}
	count(t, "a fresh POST", 82, 10900, request, func() {
		serial++
		digits := request[len(post)-len("000000\r\n\r\n{}"):]
		for i, n := 5, serial; i >= 0; i, n = i-1, n/10 {
			digits[i] = byte('0' + n%10)
		}
	})
	count(t, "a replay", 46, 6100, request, func() {})
	digits := string(request[len(post)-len("000000\r\n\r\n{}") : len(post)-len("\r\n\r\n{}")])
	count(t, "a status query", 82, 6700, []byte("GET /_reconcile/v1/requests/0193b2f4-5a7e-4c1d-8f00-000000"+digits+" HTTP/1.1\r\nHost: example.com\r\n\r\n"), func() {})
	count(t, "a GET", 95, 8700, []byte("GET /orders HTTP/1.1\r\nHost: example.com\r\n\r\n"), func() {})
}

// serveRaw answers every request with the same bytes, and allocates nothing for it.
func serveRaw(t *testing.T, answer string) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer, bytes := make([]byte, 64<<10), []byte(answer)
				for readMessage(conn, buffer) != nil {
					if _, err := conn.Write(bytes); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}
