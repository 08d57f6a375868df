package e2e

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/rig"
)

// event is a server-sent event.
type event struct{ id, name, data string }

// eventStream is an answer that goes on.
type eventStream struct {
	header http.Header
	events chan event // closed when it has ended
	end    func()
}

// streaming asks for events, and returns once the header fields have come. It is nil if nobody answered.
func streaming(t *testing.T, g *rig.Gateway, path string, header ...string) *eventStream {
	t.Helper()
	r := rig.Request{Method: http.MethodGet, Path: path, Header: rig.Header(append(header, "Accept", "text/event-stream")...)}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r.HTTP(t, g.Addr))
	if err != nil {
		return nil
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		body, _ := io.ReadAll(resp.Body)
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
		resp.Body.Close()
		return nil
	}
	s := eventsOf(resp.Body)
	s.header = resp.Header
	t.Cleanup(s.end)
	return s
}

// eventsOf reads events for as long as there are any.
func eventsOf(body io.ReadCloser) *eventStream {
	s := &eventStream{events: make(chan event, 10_000), end: func() { body.Close() }}
	go func() {
		defer close(s.events)
		var e event
		for lines := bufio.NewScanner(body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				if e.name != "" {
					s.events <- e
				}
				e = event{}
			}
		}
	}()
	return s
}

// next returns the next event that is no heartbeat, and fails the test if there is none in time.
func (s *eventStream) next(t *testing.T) event {
	t.Helper()
	for {
		if e := s.any(t); e.name != "sync" {
			return e
		}
	}
}

func (s *eventStream) any(t *testing.T) event {
	t.Helper()
	select {
	case e, ok := <-s.events:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(time.Minute):
		t.Fatal("nothing comes")
	}
	return event{}
}

// hears checks that the next change is a record in a state.
func (s *eventStream) hears(t *testing.T, key, state string) event {
	t.Helper()
	e := s.next(t)
	var r rig.Record
	decode(t, e.data, &r)
	if e.name != "request" || r.Key != key || r.State != state || e.id == "" {
		t.Fatalf("event %q with %s, want %s %s", e.name, e.data, key, state)
	}
	return e
}
