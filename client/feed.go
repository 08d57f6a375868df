package client

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Feed says which changes to follow. Only Gateway is required.
type Feed struct {
	Gateway string   // its origin, such as https://shop.example
	Since   string   // the cursor of the last change that was taken; "" for all records, and then what changes
	States  []string // only records in one of these, and those that leave them; none stands for all
	// Silence is how long a connection may say nothing before it counts as dead. The gateway speaks every 15 s. Default 45 s.
	Silence time.Duration
}

// Change is what a reader of the feed learns. Keep the cursor together with what you made of the change, and begin
// there the next time.
type Change struct {
	Event    Event
	Cursor   string
	Record   Record          // of a Changed, at its latest state
	Data     json.RawMessage // of a Changed: all that the gateway says of the record
	CaughtUp bool            // of a Synced: nothing has been left out up to here
}

// Event is what kind of a change it is, in the words of the stream.
type Event string

const (
	Changed Event = "request" // a record has changed
	Synced  Event = "sync"    // nothing more has changed for now, or the stream has only begun
	Reset   Event = "reset"   // the cursor had expired: all records follow from the start, and what is not among them is gone
)

// FeedRefusedError says that the gateway refuses the feed, and that asking again cannot help.
type FeedRefusedError struct {
	Status int
	Code   string // of the problem, such as unauthenticated
}

func (e *FeedRefusedError) Error() string {
	return fmt.Sprintf("client: the gateway refuses the feed: %d %s", e.Status, e.Code)
}

// Follow tells each what changes of the caller's records, whoever sent them, over any number of connections. It
// misses nothing: each connection goes on after the last change that each has returned nil for, so that a change
// may be told again, and is never left out. Credentials are those that Options.Authorize adds.
//
// It returns the first error of each; a *FeedRefusedError; or, when ctx ends, its cause.
func (c *Client) Follow(ctx context.Context, f Feed, each func(Change) error) error {
	f.Silence = positive(f.Silence, 45*time.Second)
	r := &follower{Client: c, feed: f, each: each}
	for ctx.Err() == nil {
		r.idle++
		if err := r.connect(ctx); err != nil {
			return err
		}
		c.pause(ctx, r.floor, r.idle)
	}
	return context.Cause(ctx)
}

// follower goes along the feed.
type follower struct {
	*Client
	feed   Feed // Since moves
	each   func(Change) error
	idle   int           // connections since the gateway last told something, this one included
	floor  time.Duration // before the next one
	denied bool          // the last one was refused with 401
}

// connect follows over one connection. An error ends the feed; the end of the connection is none.
func (r *follower) connect(ctx context.Context) error {
	ctx, hangUp := context.WithCancel(ctx)
	defer hangUp()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.feed.Gateway+r.o.Facts.BasePath+"/requests", nil)
	if err != nil {
		return err
	}
	q.URL.RawQuery = url.Values{"state": r.feed.States}.Encode()
	q.Header.Set("Accept", eventStream)
	q.Header.Set("Accept-Encoding", "identity") // who compresses a stream holds it back
	if r.feed.Since != "" {
		q.Header.Set("Last-Event-ID", r.feed.Since)
	}
	silence := time.AfterFunc(r.feed.Silence, hangUp)
	defer silence.Stop()
	r.floor = 0
	if r.o.Authorize(q, r.denied) != nil {
		return nil // it may have more luck the next time
	}
	resp, err := r.o.Base.RoundTrip(q)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	body := listening{resp.Body, silence, r.feed.Silence}
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode == http.StatusOK && kind == eventStream {
		if _, signed := only(resp.Header, "Idempotency-State"); signed {
			r.denied = false
			return r.listen(ctx, body)
		}
	}
	content, err := io.ReadAll(io.LimitReader(body, 64<<10))
	return r.refused(read(resp.StatusCode, resp.Header, content, err == nil, r.now()))
}

// refused is what follows from an answer that is no stream. One that is not the gateway's own proves nothing.
func (r *follower) refused(a answer) error {
	again := r.denied
	r.floor, r.denied = a.floor, a.status == http.StatusUnauthorized
	switch {
	case !a.signed:
	case a.status == http.StatusGone:
		return r.tell(Change{Event: Reset})
	case a.next == nextStop && (again || !r.denied):
		return &FeedRefusedError{a.status, a.code}
	}
	return nil
}

const eventStream = "text/event-stream"

// listen reads server-sent events (HTML Standard, section 9.2.6) in the form in which the gateway writes them: lines
// end with LF, and an event has one line of data. An event that the stream's end cuts short is none.
func (r *follower) listen(ctx context.Context, body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, int(r.o.MaxAnswer))
	field := map[string]string{"id": r.feed.Since}
	for lines.Scan() && ctx.Err() == nil {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if value = strings.TrimPrefix(value, " "); lines.Text() != "" {
			field[name] = value
			continue
		}
		if ms, err := strconv.Atoi(field["retry"]); err == nil {
			r.floor = time.Duration(min(max(ms, 0), 60_000)) * time.Millisecond
		}
		if Event(field["event"]) == "bye" {
			return nil
		}
		ch, known, err := changeOf(field)
		if err != nil {
			return nil // damaged on its way: it comes again
		}
		if known {
			if err := r.tell(ch); err != nil {
				return err
			}
		}
		field = map[string]string{"id": ch.Cursor}
	}
	return nil
}

// changeOf reads an event; known is false of those of a later version.
func changeOf(field map[string]string) (ch Change, known bool, err error) {
	ch = Change{Event: Event(field["event"]), Cursor: field["id"]}
	data := []byte(field["data"])
	switch ch.Event {
	case Changed:
		ch.Data = data
		return ch, true, json.Unmarshal(data, &ch.Record)
	case Synced:
		var said struct {
			CaughtUp bool `json:"caught_up"`
		}
		err := json.Unmarshal(data, &said)
		ch.CaughtUp = said.CaughtUp
		return ch, true, err
	case Reset:
		return ch, true, nil
	}
	return ch, false, nil
}

// tell tells a change. The cursor moves when it has been taken.
func (r *follower) tell(ch Change) error {
	if err := r.each(ch); err != nil {
		return err
	}
	r.feed.Since = ch.Cursor
	if ch.Event != Reset {
		r.idle = 0
	}
	return nil
}

// listening is a body whose connection counts as dead if a read takes too long. The time that a reader takes for
// what it has read does not count.
type listening struct {
	io.Reader
	silence *time.Timer
	most    time.Duration
}

func (l listening) Read(b []byte) (int, error) {
	l.silence.Reset(l.most)
	defer l.silence.Stop()
	return l.Reader.Read(b)
}
