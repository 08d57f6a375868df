package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceway/onceway/gateway/caller"
	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/cors"
	"github.com/onceway/onceway/gateway/limit"
	"github.com/onceway/onceway/gateway/probe"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/reconcile"
	"github.com/onceway/onceway/gateway/route"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/gateway/upstream"
	"github.com/onceway/onceway/idempotency"
)

// Options are what a gateway is made of.
type Options struct {
	Config   *config.Config
	Engine   *idempotency.Engine
	Probes   probe.Store           // of the engine's store; needed where a route says on_unknown: probe
	Doubts   Doubts                // of the engine's store; needed by limits.unsettled
	Feed     idempotency.FeedStore // the engine's store
	Purged   func() time.Time      // what the engine's store has purged: see [reconcile.KeyAges]
	Observer *telemetry.Observer
	Log      *slog.Logger
	Version  string
	Now      func() time.Time // default time.Now
}

// Gateway is the handler of the public listener.
type Gateway struct {
	engine     *idempotency.Engine
	callers    caller.Resolver
	routes     *route.Table
	bounds     map[*config.Route]*bound
	unrouted   *telemetry.Route
	own        *telemetry.Route // of our own addresses
	pages      *cors.Policy     // of what has no route
	ownPages   *cors.Policy     // of our own addresses
	basePath   string
	reconcile  http.Handler
	feed       *idempotency.Feed
	prober     *probe.Prober
	problems   problem.Writer
	observer   *telemetry.Observer
	log        *slog.Logger
	now        func() time.Time
	retention  idempotency.Retention
	keyAges    reconcile.KeyAges
	maxWait    time.Duration
	trusted    caller.Trusted
	bodies     budget
	dates      dates
	limits     *limit.Callers // of new attempts
	asks       *limit.Callers // of calls to our own APIs
	askRate    int
	upstreams  []*upstream.Upstream
	leaving    atomic.Bool
	draining   atomic.Bool
	background sync.WaitGroup // attempts that outlive their request

	// work ends when a drain runs out of time: attempts and waits that are left then end in doubt.
	work     context.Context
	giveUp   context.CancelFunc
	waits    context.Context // of work; ends when a drain begins to hurry
	stopWait context.CancelFunc
}

// bound is a route with what its requests need at hand.
type bound struct {
	route    *config.Route
	up       *upstream.Upstream
	proxy    *httputil.ReverseProxy
	timeout  time.Duration
	seen     *telemetry.Route
	observed *telemetry.Upstream
	pages    *cors.Policy
}

// New makes a gateway. Close ends it. The error is about a caller policy that is not available.
func New(o Options) (*Gateway, error) {
	c := o.Config
	if o.Now == nil {
		o.Now = time.Now
	}
	callers, err := caller.New(c)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		engine: o.Engine, callers: callers, bounds: make(map[*config.Route]*bound), routes: route.New(c.Routes), unrouted: o.Observer.Route("none", "/**"),
		basePath: c.Reconcile.BasePath, observer: o.Observer, log: o.Log, now: o.Now,
		own: o.Observer.Route("reconcile", c.Reconcile.BasePath+"/**"), pages: cors.New(c.CORS), ownPages: cors.New(everyCORS(c)...),
		retention: c.Retention, keyAges: reconcile.KeyAges{Keep: c.Retention.Key, Purged: o.Purged}, maxWait: c.MaxWait, trusted: caller.NewTrusted(c.TrustedProxies),
	}
	g.limits, g.asks, g.askRate = newLimits(c, o.Doubts), newAskLimits(c), c.Reconcile.RequestsPerSecond
	g.bodies.limit, g.bodies.loading.limit = c.BodyBudget, c.BodyBudget/loadingShare
	g.bodies.patience = c.StoreTimeout
	g.work, g.giveUp = context.WithCancel(context.Background())
	ups := make(map[string]*upstream.Upstream)
	seen := make(map[string]*telemetry.Upstream)
	for _, u := range c.Upstreams {
		seen[u.Name] = o.Observer.Upstream(u.Name)
		ups[u.Name] = upstream.New(upstream.Options{
			Name: u.Name, Targets: u.Targets, Timeout: u.Timeout, ConnectTimeout: u.ConnectTimeout,
			IdleTimeout: u.IdleTimeout, MaxInFlight: u.MaxInFlight, Observer: seen[u.Name],
		})
		g.upstreams = append(g.upstreams, ups[u.Name])
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		b := &bound{
			route: r, up: ups[r.Upstream], timeout: c.UpstreamOf(*r).Timeout,
			seen: o.Observer.Route(r.Name, r.Match.Path), observed: seen[r.Upstream],
			pages: cors.New(c.CORS, r.CORS),
		}
		b.proxy = g.newProxy(b)
		g.bounds[r] = b
	}
	g.waits, g.stopWait = context.WithCancel(g.work)
	g.prober = newProber(o)
	g.feed = o.Engine.NewFeed(o.Feed, idempotency.FeedOptions{Keep: c.Retention.Key, Timeout: c.StoreTimeout, Now: o.Now})
	if err := o.Observer.Feed(g.feed); err != nil {
		return nil, err
	}
	g.reconcile = reconcile.New(reconcile.Options{
		Engine: o.Engine, Feed: g.feed, Callers: g.callers, BasePath: g.basePath, MaxWait: c.MaxWait, Facts: facts(c, o.Version),
		Observer: o.Observer, Log: o.Log, Work: g.waits, Now: o.Now, Pending: g.prober.Pending,
		Retention: g.retention, KeyAges: g.keyAges, Memory: &g.bodies, FirstSent: g.firstSentByAnyRoute(),
	})
	if o.Probes != nil {
		g.prober.Start()
	}
	return g, nil
}

// facts are what clients may rely on: of several protected routes, the strictest.
func facts(c *config.Config, version string) reconcile.Facts {
	f := reconcile.Facts{Version: version, BasePath: c.Reconcile.BasePath, KeyHeader: problem.HeaderKey}
	f.Retention.Response = int64(c.Retention.Response / time.Second)
	f.Retention.Key = int64(c.Retention.Key / time.Second)
	f.Wait.Max = int64(c.MaxWait / time.Second)
	f.Limits.Key = idempotency.MaxKeyLength
	first := true
	for _, r := range c.Routes {
		p := &r.Idempotency
		if p.Mode == config.ModeOff {
			continue
		}
		if first {
			f.KeyHeader, f.Wait.Default = p.Header, int64(p.AttachWait/time.Second)
			f.Limits.RequestBody, f.Limits.ResponseBody = p.MaxRequestBody, p.MaxResponseBody
			first = false
		}
		f.Limits.RequestBody = min(f.Limits.RequestBody, p.MaxRequestBody)
		f.Limits.ResponseBody = min(f.Limits.ResponseBody, p.MaxResponseBody)
	}
	return f
}

// ServeHTTP answers our own addresses, and finds the route of every other request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out := newRecorder(w, r)
	out.last = g.leaving.Load()
	g.serve(out, r)
	out.finish() // after the request's event has ended, so that nobody sees an answer before its event
}

func (g *Gateway) serve(out *recorder, r *http.Request) {
	// Ambiguity is judged by the route, so the path is first read as if it were allowed.
	t, err := route.ParseTarget(r.Method, r.RequestURI, true)
	if err == nil {
		err = checkHead(r)
	}
	if err == nil && Own(t.Path, g.basePath) {
		if out.pages = g.ownPages; g.preflightOfOurs(out, r) {
			return
		}
		if g.mayAsk(out, r, t.Path) {
			g.reconcile.ServeHTTP(out, inNormalForm(r, t))
		}
		return
	}
	out.pages = g.pages
	if err == nil {
		err = checkLength(r)
	}
	if err != nil {
		g.unroutable(out, r, g.unrouted, problem.NewRequestMalformed(sentence(err)))
		return
	}
	if t.Path == "*" {
		g.answerAsWhole(out, r)
		return
	}
	if g.preflight(out, r, t) {
		return
	}
	matched, ok := g.routes.Match(r.Method, r.Host, t.Path)
	if !ok {
		g.unroutable(out, r, g.unrouted, problem.NewNoRoute())
		return
	}
	b := g.bounds[matched]
	out.pages = b.pages
	if !b.route.RawPaths {
		if err := t.CheckAmbiguous(r.Method); err != nil {
			g.unroutable(out, r, b.seen, problem.NewPathAmbiguous(sentence(err)))
			return
		}
	}
	ev := g.observer.Start(r, b.seen)
	defer func() { ev.End(out.status) }()
	defer g.recoverFrom(out, ev)
	if !route.Protected(b.route, r.Method, r.Header) {
		out.streams = true
		g.pass(out, r, b, t, ev, false)
		return
	}
	if b.route.Idempotency.Mode == config.ModeOptional && len(r.Header[b.route.Idempotency.Header]) == 0 {
		out.streams = true
		g.pass(out, r, b, t, ev, true)
		return
	}
	g.protected(out, r, b, t, ev)
}

// recoverFrom answers for a fault of our own, if nothing has been answered yet. A cut connection is all
// that can be said otherwise.
func (g *Gateway) recoverFrom(w *recorder, ev *telemetry.Event) {
	fault := recover()
	if fault == nil {
		return
	}
	if fault == http.ErrAbortHandler || w.status != 0 {
		if fault != http.ErrAbortHandler {
			g.panicked(ev.Context(), fault)
		}
		w.abandon()
		panic(http.ErrAbortHandler)
	}
	g.panicked(ev.Context(), fault)
	p := problem.NewInternal(problem.Rejected)
	switch {
	case ev.Attempt != 0:
		p.State = problem.Unknown // of an attempt that this request made
	case w.streams:
		p = ofUnprotected(p, w.request.Method) // which the backend may have
	}
	clear(w.Header())
	g.writeProblem(w, ev, p)
}

// panicked logs a panic: where it was, and what it said only where that cannot contain data.
func (g *Gateway) panicked(ctx context.Context, fault any) {
	text := fmt.Sprintf("%T", fault)
	if e, ok := fault.(runtime.Error); ok {
		text = e.Error()
	}
	g.log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("error", text), slog.String("stack", string(debug.Stack())))
}

// inNormalForm lets our own addresses be found in every spelling.
func inNormalForm(r *http.Request, t route.Target) *http.Request {
	if r.URL.EscapedPath() == t.Path {
		return r
	}
	decoded, err := url.PathUnescape(t.Path)
	if err != nil {
		return r
	}
	u := *r.URL
	u.Path, u.RawPath = decoded, t.Path
	r = r.WithContext(r.Context())
	r.URL = &u
	return r
}

// Own reports whether a path in normal form is the gateway's own: of the reconciliation API at basePath, or of what
// it says about itself. Such requests are never forwarded, whatever the routes are.
func Own(path, basePath string) bool {
	return within(path, basePath) || within(path, reconcile.WellKnown)
}

// within reports whether a path is base or below it.
func within(path, base string) bool {
	return strings.HasPrefix(path, base) && (len(path) == len(base) || path[len(base)] == '/')
}

// answerAsWhole answers OPTIONS for the server as a whole, asked by * or by an absolute URI without a path (RFC 9110,
// section 9.3.7; RFC 9112, section 3.2.4). With several backends behind it, that is the gateway itself.
func (g *Gateway) answerAsWhole(w *recorder, r *http.Request) {
	ev := g.observer.Start(r, g.unrouted)
	defer func() { ev.End(w.status) }()
	w.Header().Set("Content-Length", "0")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

func (g *Gateway) unroutable(w *recorder, r *http.Request, seen *telemetry.Route, p problem.Problem) {
	ev := g.observer.Start(r, seen)
	defer func() { ev.End(w.status) }()
	g.writeProblem(w, ev, p)
}

// sentence makes an error readable as the detail of a problem.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// Leave asks clients, with every answer, to use another connection for their next request.
func (g *Gateway) Leave() { g.leaving.Store(true) }

// Refuse makes the gateway start no new attempts. What is recorded is still answered.
func (g *Gateway) Refuse() {
	g.draining.Store(true)
	g.engine.Refuse() // those that were on their way here
}

// EndWaits lets everybody who waits for another request's attempt get an answer now.
func (g *Gateway) EndWaits() { g.stopWait() }

// Close ends what still runs, in doubt, and waits until that is recorded.
func (g *Gateway) Close() {
	g.stopWait()
	g.giveUp()
	g.feed.Close()
	g.prober.Stop()
	g.background.Wait()
	for _, u := range g.upstreams {
		u.Close()
	}
}
