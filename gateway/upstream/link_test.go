package upstream

import (
	"bytes"
	"io"
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
	const head = "POST / HTTP/1.1\r\n\r\n"
	for _, size := range []int{1, 1000, 32 << 10, 32<<10 + 1, 100 << 10} {
		content := strings.Repeat("x", size)
		conn := new(recordingConn)
		l := &link{Conn: conn}
		for range 2 { // the second request of the connection, too
			conn.writes = nil
			l.withBody.Store(true)
			if n, err := l.Write([]byte(head)); n != len(head) || err != nil {
				t.Fatal(n, err)
			}
			if len(conn.writes) != 0 {
				t.Fatal("the head went out alone")
			}
			if n, err := l.ReadFrom(io.LimitReader(bytes.NewReader([]byte(content)), int64(size))); n != int64(size) || err != nil {
				t.Fatalf("%d bytes: %d, %v", size, n, err)
			}
			if got := strings.Join(conn.writes, ""); got != head+content {
				t.Errorf("%d bytes arrive as %d", len(head)+size, len(got))
			}
			if want := 1 + (size-1)/(32<<10); len(conn.writes) != want {
				t.Errorf("%d bytes of content go in %d writes, want %d", size, len(conn.writes), want)
			}
		}
		conn.writes = nil
		if _, err := l.Write([]byte(head)); err != nil || len(conn.writes) != 1 {
			t.Error("a request without content is held back")
		}
	}
}
