package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Backend is a running ledger process, as the test sees it.
type Backend struct {
	dir     string
	at      addresses
	command *exec.Cmd
	input   io.Closer
	exited  chan struct{} // closed when the process is gone

	mu   sync.Mutex
	read []Entry // what the ledger said up to end, in bytes: nothing in it ever changes
	end  int64
}

// Start starts a ledger process, which ends with the test.
func Start(t testing.TB) *Backend {
	t.Helper()
	b := &Backend{dir: t.TempDir(), exited: make(chan struct{})}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	b.command = exec.Command(self)
	b.command.Env = append(os.Environ(), dirVariable+"="+b.dir)
	b.command.Stderr = os.Stderr
	out, err := b.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if b.input, err = b.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := b.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.input.Close()
		<-b.exited
	})
	err = json.NewDecoder(out).Decode(&b.at)
	go func() { // which closes out
		defer close(b.exited)
		b.command.Wait()
	}()
	if err != nil {
		t.Fatalf("the ledger did not start: %v", err)
	}
	return b
}

// Address is host:port of HTTP/1.1 and h2c.
func (b *Backend) Address() string { return b.at.Plain }

// URL, H2C and TLS are targets as the configuration of a gateway names them.
func (b *Backend) URL() string { return "http://" + b.at.Plain }
func (b *Backend) H2C() string { return "h2c://" + b.at.Plain }
func (b *Backend) TLS() string { return "https://" + b.at.TLS }

// CA is the path of the certificate that clients of TLS must trust.
func (b *Backend) CA() string { return filepath.Join(b.dir, "ca.pem") }

// Control is the URL of the gates, for programs that do not call [Backend.Open] and [Backend.Await]:
// POST /gates/NAME opens one, GET /gates/NAME?n=N returns when N requests have arrived at it.
func (b *Backend) Control() string { return "http://" + b.at.Control }

// Book is the path of the ledger: a line of JSON for each [Entry].
func (b *Backend) Book() string { return filepath.Join(b.dir, "ledger") }

// Exited is closed when the process is gone, and nobody listens any more.
func (b *Backend) Exited() <-chan struct{} { return b.exited }

// Open opens a gate for good.
func (b *Backend) Open(t testing.TB, gate string) {
	t.Helper()
	b.call(t, http.MethodPost, "/gates/"+gate)
}

// Await returns when n requests have arrived at a gate.
func (b *Backend) Await(t testing.TB, gate string, n int) {
	t.Helper()
	b.call(t, http.MethodGet, fmt.Sprintf("/gates/%s?n=%d", gate, n))
}

// Late reserves a port that refuses connections until listen is called.
func (b *Backend) Late(t testing.TB) (address string, listen func()) {
	t.Helper()
	address = b.call(t, http.MethodPost, "/late")
	return address, func() { b.call(t, http.MethodPost, "/late/"+address) }
}

// patience bounds every wait for something that must happen: far above what a loaded machine needs.
const patience = 2 * time.Minute

func (b *Backend) call(t testing.TB, method, path string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+b.at.Control+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("ledger: %v", err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("ledger: %s", text)
	}
	return string(text)
}

// Entries returns what the ledger says so far.
func (b *Backend) Entries(t testing.TB) []Entry {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	more, end, err := readBook(b.Book(), b.end)
	if err != nil {
		t.Fatal(err)
	}
	b.read, b.end = append(b.read, more...), end
	return slices.Clip(b.read)
}

// Of returns the lines of one event about one key, in either spelling; of every key if it is empty.
func (b *Backend) Of(t testing.TB, event Event, key string) []Entry {
	t.Helper()
	var found []Entry
	for _, e := range b.Entries(t) {
		if e.Event == event && (key == "" || e.Key == key || unquoted(e.Key) == key) {
			found = append(found, e)
		}
	}
	return found
}

// Effects returns how often a key was executed.
func (b *Backend) Effects(t testing.TB, key string) int {
	t.Helper()
	return len(b.Of(t, Effect, key))
}

func unquoted(key string) string {
	if len(key) < 2 || key[0] != '"' {
		return key
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(key[1 : len(key)-1])
}
