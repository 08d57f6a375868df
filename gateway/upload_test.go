package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Room in the budget is taken by what has come of a body, and not by what a client says of it.
func TestAnUploadTakesTheRoomOfWhatHasCome(t *testing.T) {
	const size, limit = 300 << 10, 400 << 10
	r := start(t, func(w http.ResponseWriter, req *http.Request) {
		b, err := io.ReadAll(req.Body)
		fmt.Fprint(w, len(b), " ", err, " ", strings.Count(string(b), "x"))
	}, ", max_request_body: 400KiB, max_response_body: 1KiB}}\nbody_budget: 600KiB # ")
	whole := func(n int) string { return fmt.Sprint(n, " <nil> ", n) }
	framings := []string{fmt.Sprint("Content-Length: ", size), "Transfer-Encoding: chunked"}
	var clients []net.Conn
	for i := range 6 {
		c, err := net.Dial("tcp", r.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k%d\r\n%s\r\n\r\n", i, framings[i%2])
		clients = append(clients, c)
	}
	for begin := time.Now(); r.InUse() != "0 slots, 61440 bytes"; runtime.Gosched() {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%s are in use", r.InUse())
		}
	}
	for i, n := range []int{1, 16 << 10, 16<<10 + 1, size} {
		if a := r.send(t, "POST", "/", strings.Repeat("x", n), "Idempotency-Key", fmt.Sprint("other", i)); a.body != whole(n) {
			t.Errorf("%d, %s", a.StatusCode, a.body)
		}
	}
	for i, c := range clients {
		n, content := size, strings.Repeat("x", size)
		switch i {
		case 1:
			n, content = limit, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", limit, strings.Repeat("x", limit))
		case 3:
			n, content = 0, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", limit+1, strings.Repeat("x", limit+1))
		case 5:
			n, content = 1, "1\r\nx\r\n0\r\n\r\n"
		}
		go io.WriteString(c, content)
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		if got := string(b); n > 0 && got != whole(n) || n == 0 && resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%d, %s", resp.StatusCode, got)
		}
	}
	if got := r.InUse(); got != "0 slots, 0 bytes" {
		t.Errorf("%s are in use in the end", got)
	}
}
