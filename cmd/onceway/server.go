package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/onceway/onceway/gateway"
	"github.com/onceway/onceway/gateway/admin"
	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/spool"
	"github.com/onceway/onceway/idempotency/sqlite"
	"github.com/onceway/onceway/migrations"
)

// server is a running gateway process: store, lease, engine and two listeners.
type server struct {
	config    *config.Config
	log       *slog.Logger
	store     *openedStore
	spool     *spool.Spool // nil without one
	noted     *spoolNote   // what the store was told of it last; the rounds' own, then stop's
	lease     *idempotency.Lease
	committer *idempotency.Committer
	engine    *idempotency.Engine
	recovers  atomic.Pointer[idempotency.Engine] // engine, for whoever may ask before there is one
	changed   atomic.Bool                        // the store, since this process began
	gateway   *gateway.Gateway
	janitor   *janitor
	telemetry *telemetrySetup

	public, admin                 *http.Server
	publicListener, adminListener net.Listener

	draining atomic.Bool
	failed   chan error // the first listener that broke
}

// startServer starts everything that c asks for. When it returns, the gateway answers.
func startServer(ctx context.Context, c *config.Config, migrate bool, logTo io.Writer) (_ *server, err error) {
	log.SetOutput(io.Discard) // net/http's clients quote what backends send into the standard logger
	s := &server{config: c, failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			s.abort()
		}
	}()
	if s.telemetry, err = setUpTelemetry(context.WithoutCancel(ctx), c, logTo); err != nil {
		return nil, err
	}
	s.log = s.telemetry.log
	observer, err := telemetry.New(telemetry.Options{Tracer: s.telemetry.tracer, Meter: s.telemetry.meter, Log: s.log, Access: c.Log.Access})
	if err != nil {
		return nil, err
	}
	// Ports first: a store must not be touched by a process that cannot serve.
	if s.publicListener, err = listen(c, s.log); err != nil {
		return nil, err
	}
	if s.adminListener, err = net.Listen("tcp", c.Admin.Listen); err != nil {
		return nil, fmt.Errorf("admin.listen: %w", err)
	}
	if s.spool, err = openSpool(c, s.log); err != nil {
		return nil, err
	}
	if s.store, err = openStore(ctx, c, migrate, s.storeChanged); err != nil {
		return nil, err
	}
	if err := observer.Store(s.store); err != nil {
		return nil, err
	}
	s.lease = idempotency.NewLease(s.store, s.instance(), c.Lease, newClock())
	s.lease.ReportSweeps(reportSweeps(s.log))
	s.store.committer.Observer = observer
	s.committer = idempotency.NewCommitter(s.store, s.store.committer)
	s.engine = idempotency.NewEngine(s.store, s.committer, s.lease, newRecordCache())
	s.distrust()
	starting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.attachSpool(starting, observer); err != nil {
		return nil, err
	}
	if err := s.lease.Start(starting, s.rounds()); err != nil {
		return nil, storeFailure(err)
	}
	if s.janitor, err = startJanitor(starting, s.store, s.log); err != nil {
		return nil, storeFailure(err)
	}
	if s.gateway, err = gateway.New(gateway.Options{
		Config: c, Engine: s.engine, Probes: s.store, Doubts: s.store.InDoubtOf, Feed: s.store, Purged: s.janitor.lastPurged,
		Observer: observer, Log: s.log, Version: version(), Now: wallClock,
	}); err != nil {
		return nil, err
	}
	s.handOver(starting)
	s.serve(s.operators(observer))
	return s, nil
}

func (s *server) serve(operators http.Handler) {
	quiet := telemetry.NetHTTP(s.log)
	s.public = newPublic(s.gateway, quiet)
	s.admin = newAdmin(admin.Handler(admin.Options{Checks: s.checks(), Metrics: s.telemetry.metrics, API: operators, Spool: s.spoolStatus, Log: s.log}), quiet)
	run := func(name string, server *http.Server, l net.Listener) {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("%s listener: %w", name, err)
		}
	}
	go run("public", s.public, s.publicListener)
	go run("admin", s.admin, s.adminListener)
}

// newPublic returns the server of the public listener.
func newPublic(h http.Handler, faults *log.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: h, Protocols: &protocols, ErrorLog: faults,
		DisableGeneralOptionsHandler: true, // it knows nothing of how the gateway ends connections

		// The deadline of an answer over HTTP/2 ends its stream by a frame, which waits as well where the client's kernel
		// takes nothing any more: without this its answers would keep their share of body_budget as long as it likes.
		HTTP2: &http.HTTP2Config{WriteByteTimeout: stuckFor},

		ReadHeaderTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
}

// newAdmin returns the server of the operators' listener.
func newAdmin(h http.Handler, faults *log.Logger) *http.Server {
	return &http.Server{
		Handler: h, ErrorLog: faults,
		ReadHeaderTimeout: 15 * time.Second, IdleTimeout: 2 * time.Minute,

		// Also of content that nobody wants, for which net/http waits with the answer. It is longer than calls take: the
		// context of what runs then ends, as if its client had left.
		ReadTimeout: time.Minute,
	}
}

// stuckFor is how long a connection over HTTP/2 may take nothing of what is to be sent on it. Other streams wait for
// it, so no client has a reason to stop the connection, and not a stream, for long.
const stuckFor = 30 * time.Second

// schemaFresh is how long the answer is used again whether the schema is still the one that this program needs: each
// look takes a connection of its own.
const schemaFresh = 2 * time.Second

// checks are what /readyz asks.
func (s *server) checks() []admin.Check {
	checks := []admin.Check{
		{Name: "draining", Run: func(context.Context) error {
			if s.draining.Load() {
				return errors.New("shutting down")
			}
			return nil
		}},
		{Name: "lease", Run: func(context.Context) error {
			if _, ok := s.lease.Owner(); !ok {
				return idempotency.ErrNoLease
			}
			return nil
		}},
		{Name: "store", Fresh: time.Second, Run: func(ctx context.Context) error {
			_, err := s.store.Find(ctx, []idempotency.OperationID{{}})
			return err
		}},
	}
	if file, ok := s.store.recordStore.(*sqlite.Store); ok {
		checks = append(checks, admin.Check{Name: "file", Run: func(context.Context) error { return file.InPlace() }})
	} else { // nobody can migrate a file meanwhile
		checks = append(checks, admin.Check{Name: "schema", Fresh: schemaFresh, Run: func(ctx context.Context) error {
			return migrations.Check(ctx, s.config.Store)
		}})
	}
	return checks
}

// drain ends the server as guarantee and protocol say: not ready first, still accepting for drain_delay,
// then no new connections and no new attempts; what runs may finish within drain_timeout, the rest is
// recorded as in doubt, and the lease is given back. Its error is about what could not be recorded.
//
// http.Server.Shutdown drops requests that come on open connections without an answer, so it comes
// last: until then each answer asks its client to use another connection.
func (s *server) drain(ctx context.Context) error {
	s.draining.Store(true)
	s.log.Info("draining", "delay", s.config.DrainDelay.String(), "timeout", s.config.DrainTimeout.String())
	s.gateway.Leave()
	pause(ctx, s.config.DrainDelay)
	s.gateway.Refuse()
	s.publicListener.Close()
	within, cancel := context.WithTimeout(ctx, s.config.DrainTimeout)
	defer cancel()
	s.gateway.EndWaits()
	_ = s.engine.Drain(within)
	err := s.public.Shutdown(within)
	s.gateway.Close() // what is left ends in doubt
	s.lastAnswers()
	return errors.Join(ignoreTimeout(err), s.stop())
}

// lastAnswers lets clients be told of attempts that have just ended in doubt: recording that takes the
// store's time, and writing the answers a moment more. Streams that never end are not waited for.
func (s *server) lastAnswers() {
	recorded, cancel := context.WithTimeout(context.Background(), s.config.StoreTimeout)
	defer cancel()
	_ = s.engine.Drain(recorded)
	written, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.public.Shutdown(written)
}

// stop ends what is behind the listeners, in the order in which each needs the next.
func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.StoreTimeout)
	defer cancel()
	_ = s.engine.Drain(ctx)
	s.public.Close()
	s.engine.ReleaseAbandoned(ctx)
	s.committer.Stop()
	s.engine.CloseWatches()
	s.janitor.stop()
	err := s.lease.Stop(ctx)
	if err != nil {
		err = fmt.Errorf("the lease could not be given back, and lapses by itself: %w", err)
	}
	if s.spool != nil {
		err = errors.Join(err, s.leaveSpool(ctx))
	}
	s.admin.Close()
	_ = s.telemetry.shutdown(ctx) // reads the store once more; a collector that is away is no failure of ours
	return errors.Join(err, s.store.Close())
}

// abort undoes a start that failed half-way.
func (s *server) abort() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if s.publicListener != nil {
		s.publicListener.Close()
	}
	if s.adminListener != nil {
		s.adminListener.Close()
	}
	if s.gateway != nil {
		s.gateway.Close()
	}
	if s.committer != nil {
		s.committer.Stop()
	}
	if s.janitor != nil {
		s.janitor.stop()
	}
	if s.lease != nil {
		_ = s.lease.Stop(ctx)
	}
	if s.spool != nil {
		if s.engine != nil {
			_ = s.engine.CloseSpool(ctx)
		}
		s.spool.Close()
	}
	if s.store != nil {
		s.store.Close()
	}
	if s.telemetry != nil {
		_ = s.telemetry.shutdown(ctx)
	}
}

func listen(c *config.Config, log *slog.Logger) (net.Listener, error) {
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if !c.TLS.Enabled() {
		return l, nil
	}
	certificate, err := newReloadedCertificate(c.TLS.Cert, c.TLS.Key, log)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("tls: %w", err)
	}
	return tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: certificate.get}), nil
}

// instance describes this process. With a spool it is the instance of whoever had the spool before, under
// a new lease: whatever that left executing ends with its lease, and its answers are these.
func (s *server) instance() idempotency.Instance {
	i := idempotency.Instance{Version: version()}
	rand.Read(i.ID[:])
	if s.spool != nil {
		i.ID = s.spool.Instance()
	}
	i.Host, _ = os.Hostname()
	for _, u := range s.config.Upstreams {
		i.Longest = max(i.Longest, u.Timeout)
	}
	return i
}

func ignoreTimeout(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
