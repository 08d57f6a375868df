package client

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Entry is one intent: a request, and where it stands. Its header holds no credentials.
type Entry struct {
	Key     string      `json:"key"`
	Method  string      `json:"method"`
	URL     string      `json:"url"`
	Host    string      `json:"host,omitempty"` // where it differs from the URL's
	Header  http.Header `json:"header,omitempty"`
	Created time.Time   `json:"created"`
	Standing
	Body []byte `json:"-"`
}

// Outbox keeps entries. One client uses it at a time.
type Outbox interface {
	// Entries returns what was put and not removed, the oldest first. The error is about entries that cannot be
	// read, or about the outbox; the others are returned all the same.
	Entries() ([]Entry, error)
	// Put writes an entry, in place of the one with its key if there is one. When it returns nil the entry
	// survives a crash. On an error it may have been written or not.
	Put(Entry) error
	// Remove forgets an entry. It may come back after a crash: then its outcome is told again.
	Remove(key string) error
}

// credentials never go into an outbox. They are added when a copy is sent.
var credentials = []string{"Authorization", "Proxy-Authorization", "Cookie"}

// memory is an Outbox that ends with the process.
type memory struct {
	mu      sync.Mutex
	entries map[string]Entry
}

// NewMemory returns an outbox that ends with the process.
func NewMemory() Outbox { return &memory{entries: map[string]Entry{}} }

func (m *memory) Entries() ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return oldestFirst(slices.Collect(maps.Values(m.entries))), nil
}

func (m *memory) Put(e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[e.Key] = e
	return nil
}

func (m *memory) Remove(key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, key)
	return nil
}

func oldestFirst(entries []Entry) []Entry {
	slices.SortStableFunc(entries, func(a, b Entry) int { return a.Created.Compare(b.Created) })
	return entries
}

// ErrInUse says that another process has the outbox.
var ErrInUse = errors.New("it is used by another process; each process needs an outbox of its own")

// ErrDamaged says that an entry cannot be read. Its file is left as it is.
var ErrDamaged = errors.New("damaged entry")
