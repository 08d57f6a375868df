package ledger

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// Entry is one line of the ledger.
type Entry struct {
	Event   Event
	At      time.Time
	Request int64 // 1, 2, … in order of arrival; one for all lines of a request
	Conn    int64 // 1, 2, …: the connection that it came by

	Operation string // Onceway-Operation
	Attempt   string // Onceway-Attempt
	Key       string // Idempotency-Key, as sent

	Method string
	Target string // of the request line, as sent
	Host   string
	Proto  string
	Header http.Header

	Length int64  // of the content; only of effects
	Body   []byte // the content if it is at most keptBody long; only of effects

	Lookup *Lookup `json:",omitempty"`
}

// Event is what a line tells.
type Event string

const (
	Begin   Event = "begin"  // the request's head has arrived
	Looked  Event = "lookup" // the backend has asked for a record
	Effect  Event = "effect" // it was executed
	Stopped Event = "hung"   // the gateway gave up a request that hung
	Probe   Event = "probe"  // it was asked about an operation; see [Backend.Probe]
	Fenced  Event = "fenced" // it was refused, because a probe said that it would be
)

// Lookup is the answer to a look-up.
type Lookup struct {
	URL    string
	Status int
	Header http.Header
	Body   string
}

const keptBody = 64 << 10

// book is the ledger's file.
type book struct {
	mu   sync.Mutex
	file *os.File
}

func openBook(path string) (*book, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &book{file: f}, err
}

// write returns when the line is on disk. A ledger that cannot be written is no ledger: it panics.
func (b *book) write(e Entry) {
	e.At = time.Now()
	line, err := json.Marshal(e)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		_, err = b.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = b.file.Sync()
	}
	if err != nil {
		panic(err)
	}
}

// readBook returns the whole lines of a ledger from an offset on, and the offset behind them.
func readBook(path string, from int64) (entries []Entry, end int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, from, err
	}
	defer f.Close()
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return nil, from, err
	}
	r := bufio.NewReader(f)
	for end = from; ; {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return entries, end, nil // a line without its end has not been written yet
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, from, err
		}
		entries, end = append(entries, e), end+int64(len(line))
	}
}
