package idempotency

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Clock is a clock that also runs while the machine is suspended. It starts anywhere and never jumps.
type Clock interface{ Now() time.Duration }

// Lease keeps this process's lease. It stops vouching for it after two thirds of its length without
// renewal, on the local clock, so that nothing is claimed or dispatched under a lease that the store
// may already see as lapsed. A lease that lapsed is replaced by one with a new epoch.
type Lease struct {
	store    LeaseStore
	instance Instance
	spool    func() SpoolNote // nil without one
	swept    func(error)      // nil if nobody wants to know
	length   time.Duration
	clock    Clock

	mu      sync.Mutex
	owner   Owner
	renewed time.Duration // the local clock when the last successful renewal was begun
	held    bool

	stop    context.CancelFunc
	running sync.WaitGroup
}

// sweepEvery bounds how long what a lapsed lease left executing is not yet written down as in doubt.
// Readers do not wait for it: they derive it.
const sweepEvery = time.Second

// NewLease returns a lease that is not yet held.
func NewLease(store LeaseStore, instance Instance, length time.Duration, clock Clock) *Lease {
	return &Lease{store: store, instance: instance, length: length, clock: clock}
}

// UseSpool makes each acquisition tell the store what status says of the process's spool at that moment.
// It is called before Start. Status must not block.
func (l *Lease) UseSpool(status func() SpoolNote) { l.spool = status }

// ReportSweeps makes each sweep tell what came of it: nil if nothing is left that should be in doubt, else the store's
// error. It is called before Start. Told must not block.
func (l *Lease) ReportSweeps(told func(error)) { l.swept = told }

// Start acquires the lease and keeps it until Stop. The error is the store's; then nothing runs. Every
// second it sweeps, while the lease is vouched for, and in any case calls round, which may be nil and
// has to end with its context. Start is called once.
func (l *Lease) Start(ctx context.Context, round func(context.Context)) error {
	if err := l.acquire(ctx); err != nil {
		return err
	}
	run, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.running.Go(func() { l.keep(run) })
	l.running.Go(func() { l.rounds(run, round) })
	return nil
}

// Stop ends the renewals and gives the lease back, so that what this process left executing is in
// doubt at once. It is safe to call twice.
func (l *Lease) Stop(ctx context.Context) error {
	if l.stop == nil {
		return nil
	}
	l.stop()
	l.running.Wait()
	l.mu.Lock()
	owner, held := l.owner, l.held
	l.held = false
	l.mu.Unlock()
	if !held {
		return nil
	}
	return l.store.GiveBack(ctx, owner)
}

// Owner returns who to claim as; false if the lease can no longer be vouched for.
func (l *Lease) Owner() (Owner, bool) {
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owner, l.held && now-l.renewed < l.length*2/3
}

// Holds reports whether o is still this process's owner, and vouched for.
func (l *Lease) Holds(o Owner) bool {
	now, ok := l.Owner()
	return ok && now == o
}

// keep renews every third of the lease, sooner after a failure, and gives each try at most a third.
func (l *Lease) keep(ctx context.Context) {
	timer := time.NewTimer(l.length / 3)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(l.length / 3)
		if l.bounded(ctx, l.renew) != nil {
			timer.Reset(l.length / 12)
		}
	}
}

// rounds run beside the renewals: a slow sweep, or a slow round, must not cost the lease.
func (l *Lease) rounds(ctx context.Context, round func(context.Context)) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if _, ok := l.Owner(); ok {
			// Best effort: what a sweep misses, readers derive, and the next sweep finds.
			err := l.bounded(ctx, func(ctx context.Context) error { _, err := l.store.Sweep(ctx); return err })
			if l.swept != nil && ctx.Err() == nil {
				l.swept(err)
			}
		}
		if round != nil {
			_ = l.bounded(ctx, func(ctx context.Context) error { round(ctx); return nil })
		}
		timer.Reset(min(sweepEvery, l.length/3))
	}
}

func (l *Lease) bounded(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.length/3)
	defer cancel()
	return f(ctx)
}

func (l *Lease) renew(ctx context.Context) error {
	l.mu.Lock()
	owner := l.owner
	l.mu.Unlock()
	begun := l.clock.Now()
	err := l.store.Renew(ctx, owner, l.length)
	if errors.Is(err, ErrLeaseLost) {
		l.mu.Lock()
		l.held = false
		l.mu.Unlock()
		return l.acquire(ctx)
	}
	if err == nil {
		l.set(owner, begun)
	}
	return err
}

func (l *Lease) acquire(ctx context.Context) error {
	begun := l.clock.Now()
	instance := l.instance
	if l.spool != nil {
		spool := l.spool()
		instance.Spool = &spool
	}
	owner, err := l.store.Acquire(ctx, instance, l.length)
	if err == nil {
		l.set(owner, begun)
	}
	return err
}

func (l *Lease) set(o Owner, begun time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owner, l.renewed, l.held = o, begun, true
}
