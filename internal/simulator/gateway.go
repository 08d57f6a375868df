package simulator

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceway/onceway/idempotency"
)

const (
	lease        = 9 * time.Second
	storeTimeout = 2 * time.Second
	budget       = 20 * time.Second // of an attempt; longer than the lease, so that answers come to lapsed ones
)

// slot is a machine on which one gateway process after the other runs.
type slot struct {
	w    *world
	n    int
	disk *disk // nil without a spool
	mu   sync.Mutex
	runs *gateway // nil while it is down
	born int
}

// gateway is one process. It dies when [gateway.crash] cuts it off from everything: what its goroutines
// do afterwards reaches nobody.
type gateway struct {
	w    *world
	slot *slot
	name string

	committer *idempotency.Committer
	lease     *idempotency.Lease
	engine    *idempotency.Engine
	cache     *cache

	died chan struct{}
	dead atomic.Bool

	mu     sync.Mutex
	paused chan struct{} // closed when it runs again; nil while it runs
	inside map[*visit]window
}

// visit is a request inside a gateway.
type visit struct {
	g  *gateway
	ex *exchange
}

// boot starts a process, and tries again for as long as the store does not let it.
func (s *slot) boot() {
	for try := uint64(0); ; try++ {
		s.mu.Lock()
		s.born++
		life := s.born
		s.mu.Unlock()
		g := &gateway{w: s.w, slot: s, name: fmt.Sprintf("g%d.%d", s.n, life), died: make(chan struct{}),
			cache: &cache{m: map[idempotency.OperationID]cached{}}, inside: map[*visit]window{}}
		d := s.w.dice.of("boot " + g.name)
		i := idempotency.Instance{ID: [16]byte{byte(s.n + 1), byte(life), byte(life >> 8)}, Host: g.name, Longest: budget}
		g.committer = idempotency.NewCommitter(session{g}, idempotency.CommitterOptions{
			Flushers: 1 + d.n(3), OneLane: d.oneIn(3), MaxBatch: 1 + d.n(8), Timeout: storeTimeout, Pacer: pacer{g}})
		g.lease = idempotency.NewLease(session{g}, i, lease, steady(s.w.trace.start))
		g.engine = idempotency.NewEngine(session{g}, g.committer, g.lease, g.cache)
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		if s.disk != nil {
			g.engine.UseSpool(mount{s.disk, g}, nil)
		}
		err := g.lease.Start(ctx, g.rounds())
		cancel()
		if err == nil {
			g.engine.DrainSpool()
			s.mu.Lock()
			s.runs = g
			s.mu.Unlock()
			s.w.trace.add("%s runs", g.name)
			return
		}
		g.committer.Stop()
		_ = g.engine.CloseSpool(context.Background())
		time.Sleep(d.between(200*time.Millisecond, time.Second))
	}
}

func (s *slot) running() *gateway {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs
}

// crash kills the process, and boots another one after a while.
func (g *gateway) crash(down time.Duration) {
	g.mu.Lock()
	if g.dead.Swap(true) {
		g.mu.Unlock()
		return
	}
	for _, w := range g.inside {
		g.w.visits.add(gatewayCrashes, w, 1)
	}
	g.mu.Unlock()
	g.w.trace.add("%s crashes", g.name)
	close(g.died)
	g.slot.mu.Lock()
	g.slot.runs = nil
	g.slot.mu.Unlock()
	g.w.others.Go(g.bury)
	g.w.others.Go(func() {
		time.Sleep(down)
		g.slot.boot()
	})
}

// bury ends the goroutines of a process.
func (g *gateway) bury() {
	g.committer.Stop()
	_ = g.engine.CloseSpool(context.Background())
	_ = g.lease.Stop(context.Background())
}

// rounds are what a gateway does beside the renewals of its lease.
func (g *gateway) rounds() func(context.Context) {
	var reconciled time.Time
	return func(ctx context.Context) {
		g.engine.ReleaseAbandoned(ctx)
		if time.Since(reconciled) >= 3*lease {
			reconciled = time.Now()
			_ = g.engine.ReconcileOwn(ctx, session{g}, lease) // the next round finds what this one missed
		}
	}
}

// pause stops the process for d, as SIGSTOP would: nothing enters or leaves it.
func (g *gateway) pause(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.paused != nil || g.dead.Load() {
		return
	}
	for _, w := range g.inside {
		g.w.visits.add(gatewayPauses, w, 1)
		if d > lease {
			g.w.visits.add(pausesLong, w, 1)
		}
	}
	g.w.trace.add("%s pauses for %v", g.name, d)
	over := make(chan struct{})
	g.paused = over
	g.w.others.Go(func() {
		time.Sleep(d)
		g.mu.Lock()
		g.paused = nil
		g.mu.Unlock()
		close(over)
		g.w.trace.add("%s goes on", g.name)
	})
}

// awake waits until the process runs. The error says that it is dead.
func (g *gateway) awake(s *stream) error {
	for {
		g.mu.Lock()
		paused := g.paused
		g.mu.Unlock()
		if g.dead.Load() {
			return errKilled
		}
		if paused == nil {
			return nil
		}
		select {
		case <-paused:
			// All that waited for this would go on at one instant.
			time.Sleep(s.between(time.Microsecond, 2*time.Millisecond))
		case <-g.died:
		}
	}
}

func (g *gateway) returned(s *stream, err error) error {
	if dead := g.awake(s); dead != nil {
		return dead
	}
	return err
}

// step is a moment in which a goroutine of the process does nothing. It is false if the process died.
func (g *gateway) step(s *stream) bool {
	time.Sleep(s.between(50*time.Microsecond, 4*time.Millisecond))
	return g.awake(s) == nil
}

func (g *gateway) enter(ex *exchange) *visit {
	v := &visit{g, ex}
	v.at(beforeClaim)
	return v
}

func (v *visit) at(w window) {
	v.g.mu.Lock()
	defer v.g.mu.Unlock()
	v.g.inside[v] = w
}

func (v *visit) leave() {
	v.g.mu.Lock()
	defer v.g.mu.Unlock()
	delete(v.g.inside, v)
}

// strikes lets a fault hit the request where it stands, once in a while, at once or in a moment.
func (v *visit) strikes(s *stream) {
	w := v.g.w
	if w.calm.Load() || !s.oneIn(30) {
		return
	}
	hit := pick(s, []weighted[func()]{
		{4, func() { v.g.crash(s.between(200*time.Millisecond, 20*time.Second)) }},
		{3, func() { v.g.pause(s.between(100*time.Millisecond, 8*time.Second)) }},
		{5, func() { v.g.pause(s.between(lease, 4*lease)) }},
		{2, func() { w.restartStore(s.between(100*time.Millisecond, 5*time.Second)) }},
		{6, v.clientLeaves},
	})
	// The stream goes on with the request: what is still to be drawn belongs to another one.
	s = w.dice.of("strike", s.next())
	if s.oneIn(2) {
		hit()
		return
	}
	w.others.Go(func() {
		time.Sleep(s.between(time.Microsecond, 5*time.Millisecond))
		if !w.calm.Load() {
			hit()
		}
	})
}

func (v *visit) clientLeaves() {
	v.g.mu.Lock()
	at, inside := v.g.inside[v]
	v.g.mu.Unlock()
	if inside && v.ex.leave() {
		v.g.w.visits.add(clientLeaves, at, 1)
	}
}

// pacer makes what the core leaves open repeatable.
type pacer struct{ g *gateway }

// Yield lets all that happens at this instant happen first.
func (pacer) Yield() { time.Sleep(1 * time.Nanosecond) }

func (p pacer) Spread(id idempotency.OperationID, most time.Duration) time.Duration {
	return p.g.w.dice.of("spread "+p.g.name, now(p.g.w), uint64First(id), uint64(most)).between(0, most)
}

// steady is a clock that also runs while a process is paused.
type steady time.Time

func (s steady) Now() time.Duration { return time.Since(time.Time(s)) }

// cache is an [idempotency.Cache] without bounds but time.
type cache struct {
	mu sync.Mutex
	m  map[idempotency.OperationID]cached
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

type askerKey struct{}

func asker(ctx context.Context) string {
	name, _ := ctx.Value(askerKey{}).(string)
	return name
}
