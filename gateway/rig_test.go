package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/onceway/onceway/gateway"
	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
	"github.com/onceway/onceway/internal/openapitest"
)

// rig is a gateway on the in-memory store, in front of a handler, on real sockets.
type rig struct {
	*gateway.Gateway
	address string
	store   *hookedStore
	config  *config.Config
	broken  atomic.Bool // the clock panics: a fault of our own
}

// hookedStore lets a test do something to a batch before it is applied.
type hookedStore struct {
	*storetest.Model
	before atomic.Pointer[func([]idempotency.Transition)]
	looks  atomic.Pointer[func()] // called before each read
	down   atomic.Bool            // nothing is written or read
	counts atomic.Pointer[func()] // called when what is in doubt is counted
}

func (s *hookedStore) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	if f := s.before.Load(); f != nil {
		(*f)(ts)
	}
	if s.down.Load() {
		return nil, &idempotency.RolledBackError{Err: errDown}
	}
	return s.Model.Apply(ctx, ts)
}

func (s *hookedStore) Find(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	if f := s.looks.Load(); f != nil {
		(*f)()
	}
	if s.down.Load() {
		return nil, errDown
	}
	return s.Model.Find(ctx, ids)
}

func (s *hookedStore) inDoubtOf(context.Context, idempotency.Caller, int) (int, error) {
	if f := s.counts.Load(); f != nil {
		(*f)()
	}
	return 0, nil
}

var errDown = errors.New("the store is down")

type steadyClock struct{ since time.Time }

func (c steadyClock) Now() time.Duration { return time.Since(c.since) }

// start takes the lines of a configuration that follow `mode: required` in the only route.
func start(t testing.TB, backend http.HandlerFunc, settings string) *rig {
	t.Helper()
	return startWith(t, backend, "caller: {none: {}}\nupstreams: {b: {targets: ['BACKEND']}}\nroutes:\n"+
		"- {name: all, match: {path: '/**'}, upstream: b, idempotency: {mode: required"+settings+"}}\n")
}

// startWith takes a whole configuration, in which BACKEND stands for the address of the backend.
func startWith(t testing.TB, backend http.HandlerFunc, yaml string) *rig {
	t.Helper()
	server := httptest.NewServer(backend)
	t.Cleanup(server.Close)
	return startAt(t, server.URL, yaml)
}

// startAt is startWith for a backend that runs already.
func startAt(t testing.TB, backend, yaml string) *rig {
	t.Helper()
	return startOn(t, nil, backend, yaml)
}

// startOn is startAt for a store that has a gateway already; nil for one of its own.
func startOn(t testing.TB, store *storetest.Model, backend, yaml string) *rig {
	t.Helper()
	yaml = strings.ReplaceAll(yaml, "BACKEND", backend)
	c, err := config.Load(config.Source{File: "test.yaml", Data: []byte(yaml)})
	if err != nil {
		t.Fatal(err)
	}
	if store == nil {
		store = storetest.NewModel(time.Now, c.Lease, false)
	}
	r := &rig{config: c, store: &hookedStore{Model: store}}
	lease := idempotency.NewLease(r.store, idempotency.Instance{ID: [16]byte([]byte(rand.Text())[:16])}, c.Lease, steadyClock{time.Now()})
	committer := idempotency.NewCommitter(r.store, idempotency.CommitterOptions{Timeout: c.StoreTimeout})
	engine := idempotency.NewEngine(r.store, committer, lease, nil)
	if err := lease.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	now := func() time.Time {
		if r.broken.Load() {
			panic("broken clock")
		}
		return time.Now()
	}
	r.Gateway, err = gateway.New(gateway.Options{Config: c, Now: now, Engine: engine, Doubts: r.store.inDoubtOf, Feed: r.store, Observer: observer(t), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	public := httptest.NewUnstartedServer(r)
	public.Config.Protocols = &p
	public.Config.DisableGeneralOptionsHandler = true
	public.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	public.Start()
	r.address = public.Listener.Addr().String()
	t.Cleanup(func() {
		r.Gateway.Close()
		public.CloseClientConnections()
		public.Close()
		committer.Stop()
		_ = lease.Stop(context.Background())
	})
	return r
}

// observer sees as much as that of a process whose telemetry goes nowhere: spans are dropped at their start, and
// there are metrics for whoever asks.
func observer(t testing.TB) *telemetry.Observer {
	t.Helper()
	o, err := telemetry.New(telemetry.Options{
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())),
		Meter:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())),
		Log:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// answer is a response, read whole.
type answer struct {
	*http.Response
	body string
}

func (a answer) is(t *testing.T, status int, state, next string) {
	t.Helper()
	if a.StatusCode != status || a.Header.Get("Idempotency-State") != state || a.Header.Get("Idempotency-Next") != next {
		t.Errorf("answered %d, state %q, next %q; want %d, %q, %q\n%s", a.StatusCode, a.Header.Get("Idempotency-State"), a.Header.Get("Idempotency-Next"), status, state, next, a.body)
	}
}

// send makes one request on a connection of its own; header are pairs.
func (r *rig) send(t *testing.T, method, path, body string, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	req.Host = req.Header.Get("Host") // "" is the gateway's address
	transport := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	documented(t, method, path, resp, b)
	return answer{resp, string(b)}
}

var reconciliation = sync.OnceValues(func() (*openapitest.Document, error) { return openapitest.Load("../openapi/reconciliation.yaml") })

// documented holds an answer to an address of the document against it.
func documented(t *testing.T, method, path string, resp *http.Response, body []byte) {
	t.Helper()
	path, _, _ = strings.Cut(path, "?")
	doc, err := reconciliation()
	if err != nil {
		t.Fatal(err)
	}
	if method == http.MethodOptions || !doc.Has(path) {
		return // a preflight is no call
	}
	if err := doc.Check(openapitest.Answer{Method: method, Path: path, Status: resp.StatusCode, Header: resp.Header, Body: body}); err != nil {
		t.Errorf("not as documented: %v", err)
	}
}

// raw writes bytes on a connection of its own and reads one response; nil if there is none in time.
func (r *rig) raw(t *testing.T, request string, within time.Duration) *answer {
	t.Helper()
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil
	}
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return &answer{resp, b.String()}
}
