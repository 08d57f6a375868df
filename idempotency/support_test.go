package idempotency_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The tests of the engine run in bubbles of testing/synctest: time is virtual, and a bubble does not
// end before all its goroutines have.
const (
	leaseLength  = 9 * time.Second
	storeTimeout = 2300 * time.Millisecond // no multiple of the pause between two rounds of the lease
)

var retain = idempotency.Retention{Response: time.Hour, Key: 24 * time.Hour}

var errBroken = errors.New("connection reset by peer")

// hook stands between a committer and its store: next applies.
type hook func(ctx context.Context, ts []idempotency.Transition, next func() ([]idempotency.Result, error)) ([]idempotency.Result, error)

// faulty is the model with faults, and a memory of what it was asked.
type faulty struct {
	*storetest.Model
	t *testing.T

	mu      sync.Mutex
	hook    hook
	find    func(ctx context.Context) error
	found   func() // called after a look, before its result is returned
	renew   func() error
	acquire func() error
	batches [][]idempotency.Transition
	finds   int
}

func (s *faulty) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	s.mu.Lock()
	s.batches = append(s.batches, slices.Clone(ts))
	h := s.hook
	s.mu.Unlock()
	seen := map[idempotency.OperationID]bool{}
	for _, t := range ts {
		if seen[t.Target()] {
			s.t.Error("two transitions of one operation in one batch")
		}
		seen[t.Target()] = true
	}
	next := func() ([]idempotency.Result, error) { return s.Model.Apply(context.WithoutCancel(ctx), ts) }
	if h == nil {
		return next()
	}
	return h(ctx, ts, next)
}

func (s *faulty) Find(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	s.mu.Lock()
	s.finds++
	find, found := s.find, s.found
	s.mu.Unlock()
	if find != nil {
		if err := find(ctx); err != nil {
			return nil, err
		}
	}
	records, err := s.Model.Find(ctx, ids)
	if found != nil {
		found()
	}
	return records, err
}

func (s *faulty) Renew(ctx context.Context, o idempotency.Owner, d time.Duration) error {
	s.mu.Lock()
	renew := s.renew
	s.mu.Unlock()
	if renew != nil {
		if err := renew(); err != nil {
			return err
		}
	}
	return s.Model.Renew(ctx, o, d)
}

func (s *faulty) Acquire(ctx context.Context, i idempotency.Instance, d time.Duration) (idempotency.Owner, error) {
	s.mu.Lock()
	acquire := s.acquire
	s.mu.Unlock()
	if acquire != nil {
		if err := acquire(); err != nil {
			return idempotency.Owner{}, err
		}
	}
	return s.Model.Acquire(ctx, i, d)
}

func (s *faulty) set(f func(s *faulty)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

func (s *faulty) hooked() hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hook
}

func (s *faulty) breakBy(h hook) { s.set(func(s *faulty) { s.hook = h }) }
func (s *faulty) heal()          { s.breakBy(nil) }

// applied counts the transitions that satisfy want, over all batches.
func (s *faulty) applied(want func(idempotency.Transition) bool) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		for _, t := range b {
			if want(t) {
				n++
			}
		}
	}
	return n
}

func (s *faulty) recorded() [][]idempotency.Transition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

func (s *faulty) looks() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.finds
}

func (s *faulty) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.batches) + s.finds
}

func (s *faulty) state(id idempotency.OperationID) idempotency.Record {
	s.t.Helper()
	rs, err := s.Model.Find(context.Background(), []idempotency.OperationID{id})
	if err != nil {
		s.t.Fatal(err)
	}
	return rs[0]
}

func (s *faulty) wants(id idempotency.OperationID, want idempotency.State) idempotency.Record {
	s.t.Helper()
	r := s.state(id)
	if r.State != want {
		s.t.Fatalf("the store says %v, want %v", r.State, want)
	}
	return r
}

// about restricts a hook to batches with a transition of one operation.
func about(id idempotency.OperationID, h hook) hook {
	return func(ctx context.Context, ts []idempotency.Transition, next func() ([]idempotency.Result, error)) ([]idempotency.Result, error) {
		if slices.ContainsFunc(ts, func(t idempotency.Transition) bool { return t.Target() == id }) {
			return h(ctx, ts, next)
		}
		return next()
	}
}

// only restricts a hook to batches with a transition of type T.
func only[T idempotency.Transition](h hook) hook {
	return func(ctx context.Context, ts []idempotency.Transition, next func() ([]idempotency.Result, error)) ([]idempotency.Result, error) {
		if slices.ContainsFunc(ts, is[T]) {
			return h(ctx, ts, next)
		}
		return next()
	}
}

func is[T idempotency.Transition](t idempotency.Transition) bool { _, ok := t.(T); return ok }

// once applies h to the first batch that reaches it.
func once(h hook) hook {
	var first sync.Once
	return func(ctx context.Context, ts []idempotency.Transition, next func() ([]idempotency.Result, error)) (r []idempotency.Result, err error) {
		mine := false
		first.Do(func() { mine = true })
		if mine {
			return h(ctx, ts, next)
		}
		return next()
	}
}

type next = func() ([]idempotency.Result, error)

// Faults.

func failBefore(_ context.Context, _ []idempotency.Transition, _ next) ([]idempotency.Result, error) {
	return nil, errBroken
}

func failAfter(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
	_, _ = apply()
	return nil, errBroken
}

// blackHole swallows a batch: it answers when ctx ends, and not before.
func blackHole(ctx context.Context, _ []idempotency.Transition, _ next) ([]idempotency.Result, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// takeBack is blackHole of a store that knows that it wrote nothing.
func takeBack(ctx context.Context, _ []idempotency.Transition, _ next) ([]idempotency.Result, error) {
	<-ctx.Done()
	return nil, &idempotency.RolledBackError{Err: ctx.Err()}
}

func refuse(_ context.Context, _ []idempotency.Transition, _ next) ([]idempotency.Result, error) {
	return nil, &idempotency.RolledBackError{Err: errors.New("value too long")}
}

func block(ctx context.Context, _ []idempotency.Transition, _ next) ([]idempotency.Result, error) {
	select {
	case <-time.After(250 * time.Millisecond):
	case <-ctx.Done():
	}
	return nil, &idempotency.RolledBackError{Err: errors.New("lock timeout"), Blocked: true}
}

func tooFew(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
	rs, err := apply()
	return rs[:len(rs)-1], err
}

func hold(release <-chan struct{}) hook {
	return func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
		<-release
		return apply()
	}
}

// clock is a suspend-proof clock on the bubble's time; jump is what it slept in addition.
type clock struct {
	start time.Time
	mu    sync.Mutex
	jump  time.Duration
}

func (c *clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.start) + c.jump
}

func (c *clock) suspend(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jump += d
}

// gateway is what one process has.
type gateway struct {
	store     *faulty
	committer *idempotency.Committer
	lease     *idempotency.Lease
	engine    *idempotency.Engine
	cache     *cache
	clock     *clock
}

func newModel() *storetest.Model { return storetest.NewModel(time.Now, leaseLength, false) }

// start runs a gateway on a model until the bubble ends.
func start(t *testing.T, m *storetest.Model, o idempotency.CommitterOptions) *gateway {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = storeTimeout
	}
	if o.Flushers == 0 {
		o.Flushers = 2
	}
	g := &gateway{store: &faulty{Model: m, t: t}, clock: &clock{start: time.Now()}, cache: &cache{m: map[idempotency.OperationID]cached{}}}
	i := idempotency.Instance{ID: idempotency.NewAttemptID(), Longest: time.Minute}
	g.committer = idempotency.NewCommitter(g.store, o)
	g.lease = idempotency.NewLease(g.store, i, leaseLength, g.clock)
	g.engine = idempotency.NewEngine(g.store, g.committer, g.lease, g.cache)
	if err := g.lease.Start(t.Context(), g.engine.ReleaseAbandoned); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.store.set(func(s *faulty) { s.hook, s.find, s.renew, s.acquire = nil, nil, nil, nil })
		g.committer.Stop()
		if err := g.lease.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// bubble runs a test on one gateway.
func bubble(t *testing.T, test func(t *testing.T, g *gateway)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, start(t, newModel(), idempotency.CommitterOptions{})) })
}

// request returns a request for the operation of a name.
func request(name string) idempotency.Request {
	op := idempotency.Operation{Caller: "alice", Key: idempotency.Key(name)}
	return idempotency.Request{
		ID: op.ID(), Operation: op, Fingerprint: printOf(1), Method: "POST", Target: "/orders",
		Budget: 30 * time.Second, Retention: retain,
	}
}

func printOf(b byte) idempotency.Fingerprint {
	return idempotency.Fingerprint{Version: 1, Sum: [32]byte{b}}
}

func (g *gateway) begin(t *testing.T, r idempotency.Request, want idempotency.Ruling) idempotency.Decision {
	t.Helper()
	d, err := g.engine.Begin(t.Context(), r)
	if err != nil {
		t.Fatalf("Begin: %v, want %v", err, want)
	}
	if d.Ruling != want || (d.Execution != nil) != (want == idempotency.Granted) {
		t.Fatalf("Begin ruled %v (execution: %v), want %v", d.Ruling, d.Execution != nil, want)
	}
	return d
}

// begins is begin in a goroutine of its own.
func (g *gateway) begins(t *testing.T, r idempotency.Request) <-chan idempotency.Decision {
	c := make(chan idempotency.Decision, 1)
	go func() {
		d, err := g.engine.Begin(t.Context(), r)
		if err != nil {
			t.Errorf("Begin: %v", err)
		}
		c <- d
	}()
	return c
}

func (g *gateway) fails(t *testing.T, r idempotency.Request, want error) {
	t.Helper()
	d, err := g.engine.Begin(t.Context(), r)
	if !errors.Is(err, want) || d.Execution != nil {
		t.Fatalf("Begin: %v, %v; want error %v", d.Ruling, err, want)
	}
}

func (g *gateway) wait(t *testing.T, d idempotency.Decision, wait time.Duration) (idempotency.Outcome, bool) {
	t.Helper()
	o, settled, err := g.engine.Wait(t.Context(), d, wait)
	if err != nil {
		t.Fatal(err)
	}
	return o, settled
}

func answer(body string) *idempotency.Response {
	return idempotency.NewResponse(201, map[string][]string{"Content-Type": {"text/plain"}}, []byte(body))
}

// cache is a Cache whose entries end by the bubble's clock.
type cache struct {
	mu   sync.Mutex
	m    map[idempotency.OperationID]cached
	ttls []time.Duration
}

type cached struct {
	record idempotency.Record
	until  time.Time
}

func (c *cache) Get(id idempotency.OperationID) (idempotency.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.m[id]
	return e.record, ok && time.Now().Before(e.until)
}

func (c *cache) Put(r idempotency.Record, ttl time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m[r.ID] = cached{r, time.Now().Add(ttl)}
	c.ttls = append(c.ttls, ttl)
}

func (c *cache) Drop(id idempotency.OperationID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.m, id)
}

func (c *cache) Clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.m)
}

func name(i int) string { return fmt.Sprintf("key-%04d", i) }
