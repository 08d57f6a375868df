package upstream

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // net/http logs what it calls unsolicited responses
	goleak.VerifyTestMain(m)
}

// newUpstream returns an upstream to these URLs that trusts the test's certificate.
func newUpstream(t testing.TB, o Options, targets ...string) *Upstream {
	t.Helper()
	for _, s := range targets {
		at, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		o.Targets = append(o.Targets, at)
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{RootCAs: certificate().pool}
	}
	u := New(o)
	t.Cleanup(u.Close)
	return u
}

// post returns a request for one operation; the backend counts executions by it.
func post(op string, body []byte) *Request {
	return &Request{
		Method: http.MethodPost, Target: "/orders", Host: "shop.example",
		Fields: []Field{{"X-Op", op}, {"Idempotency-Key", op}},
		Body:   body, MaxBody: 1 << 20, MaxSpill: 1 << 20,
	}
}

func send(t testing.TB, u *Upstream, r *Request) Outcome {
	t.Helper()
	return sendWithin(t, u, r, 10*time.Second)
}

func sendWithin(t testing.TB, u *Upstream, r *Request, d time.Duration) Outcome {
	t.Helper()
	r.Deadline = time.Now().Add(d)
	return u.Send(t.Context(), r)
}

// inTime calls attempt with ever longer deadlines until one was long enough for what was to happen before it: on a busy
// machine a goroutine may have to wait longer for its turn than any deadline that a test would like to wait for.
func inTime(t testing.TB, attempt func(deadline time.Duration) (enough bool)) {
	t.Helper()
	for d := 50 * time.Millisecond; !attempt(d); d *= 4 {
		if d > 30*time.Second {
			t.Fatalf("a deadline of %v was not enough", d)
		}
	}
}

// settle waits until the one HTTP/1.1 connection of u is back.
func settle(u *Upstream) {
	for t := u.targets[0]; ; runtime.Gosched() {
		t.mu.Lock()
		n := len(t.idle)
		t.mu.Unlock()
		if n == 1 {
			return
		}
	}
}

func wantAnswer(t testing.TB, o Outcome, body string) {
	t.Helper()
	if a, ok := o.(Answered); !ok || string(a.Body) != body {
		t.Fatalf("got %s, want the answer %q", describe(o), body)
	}
}

func wantUnknown(t testing.TB, o Outcome, causes ...idempotency.Cause) {
	t.Helper()
	u, ok := o.(Unknown)
	for _, c := range causes {
		if u.Cause == c {
			return
		}
	}
	if !ok || len(causes) > 0 {
		t.Fatalf("got %s, want Unknown of %v", describe(o), causes)
	}
}

func wantNotSent(t testing.TB, o Outcome, cause idempotency.Cause) {
	t.Helper()
	if n, ok := o.(NotSent); !ok || n.Cause != cause {
		t.Fatalf("got %s, want NotSent of %s", describe(o), cause)
	}
}

// watcher is an Observer that counts.
type watcher struct {
	mu     sync.Mutex
	dialed map[string]int // by target and cause
	said   []error
	moved  int
}

func (w *watcher) Dialed(_, target string, _ time.Duration, cause idempotency.Cause, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dialed == nil {
		w.dialed = map[string]int{}
	}
	w.dialed[target+" "+string(cause)]++
	w.said = append(w.said, err)
}

func (w *watcher) Moved(string, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moved++
}

func (w *watcher) moves() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moved
}

type testCertificate struct {
	cert tls.Certificate
	pool *x509.CertPool
}

var certificate = sync.OnceValue(func() testCertificate {
	public, key, err := ed25519.GenerateKey(rand.Reader) // its signatures, and so its handshakes, have one length
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return testCertificate{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool}
})
