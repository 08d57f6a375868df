package reconcile

import (
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// client is the far end of a stream.
type client struct {
	header   http.Header
	got      strings.Builder
	deadline time.Time
	gone     bool
	writes   int
}

func (c *client) Header() http.Header                 { return c.header }
func (c *client) WriteHeader(int)                     {}
func (c *client) FlushError() error                   { return nil }
func (c *client) SetWriteDeadline(at time.Time) error { c.deadline = at; return nil }
func (c *client) Write(b []byte) (int, error) {
	c.writes++
	if c.gone {
		return 0, os.ErrDeadlineExceeded
	}
	return c.got.Write(b)
}

// A client that does not read is given up in time, and nothing is made for it any more. Between events there is
// no deadline: over HTTP/2 it would end the stream.
func TestEventsWaitForNobodyForLong(t *testing.T) {
	c := &client{header: http.Header{}}
	e := newEvents(c)
	e.sync("a", false)
	if left := time.Until(c.deadline); left <= 0 || left > eventPatience {
		t.Errorf("the deadline is in %v", left)
	}
	if e.flush(); e.err != nil || !c.deadline.IsZero() {
		t.Errorf("after the events were written: deadline %v, error %v", c.deadline, e.err)
	}
	if got := c.got.String(); !strings.HasPrefix(got, "retry: ") || !strings.HasSuffix(got, "\n\nid: a\nevent: sync\ndata: {\"caught_up\":false}\n\n") {
		t.Errorf("written: %q", got)
	}
	c.gone = true
	e.write("request", "b", nil)
	writes := c.writes
	e.write("request", "c", nil)
	e.bye("c", byeDraining)
	if !errors.Is(e.err, os.ErrDeadlineExceeded) || c.writes != writes {
		t.Errorf("error %v; %d writes after it", e.err, c.writes-writes)
	}
}
