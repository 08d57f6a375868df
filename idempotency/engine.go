package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrNoLease says that this process cannot vouch for its lease: it must not claim. Nothing was sent.
var ErrNoLease = errors.New("this gateway could not renew its lease in the store")

// Cache keeps completed records, bounded in bytes. A record is put with the time it may live, by any clock that
// runs while the machine does. The zero ttl is never used.
type Cache interface {
	Get(id OperationID) (Record, bool)
	Put(r Record, ttl time.Duration)
	Drop(id OperationID)
	Clear()
}

// cacheTTL bounds how long an acknowledgement made elsewhere may go unnoticed here.
const cacheTTL = 60 * time.Second

// Engine decides about requests: it looks up, claims, lets one claimant execute, records the outcome
// and tells everybody who waited. The order of its steps is the guarantee; see docs/guarantee.md.
type Engine struct {
	store     Store
	ask       finder // reads for those who only ask
	asks      *reads // the same of single records
	finds     *reads // of single records for those who send requests
	committer *Committer
	lease     *Lease
	cache     Cache
	flights   *flights
	keeper    *keeper // nil without a spool
	journal   journal
	erased    erased
	awake     *awake
	watches   *watches

	mu        sync.Mutex
	abandoned map[AttemptID]*abandonedClaim
	running   int           // claims, those about to be made, and executions that are not settled
	refuses   bool          // to begin more of them
	idle      chan struct{} // closed when running falls to 0, if somebody drains
}

// finder is Store.Find, or AskStore.Ask.
type finder func(ctx context.Context, ids []OperationID) ([]Record, error)

// NewEngine returns an engine on a started committer and lease. Cache may be nil. What is asked through
// Await, AwaitAll, Cancel and Acknowledge is read by the store's Ask, if it has one.
func NewEngine(store Store, committer *Committer, lease *Lease, cache Cache) *Engine {
	if cache == nil {
		cache = noCache{}
	}
	e := &Engine{store: store, ask: store.Find, committer: committer, lease: lease, cache: cache, flights: newFlights(),
		abandoned: make(map[AttemptID]*abandonedClaim)}
	if s, ok := store.(AskStore); ok {
		e.ask = s.Ask
	}
	e.asks = newReads(e.reader(e.ask), committer.o.Timeout, committer.o.Pacer.Yield)
	e.finds = newReads(e.reader(store.Find), committer.o.Timeout, committer.o.Pacer.Yield)
	e.awake = newAwake(lease.clock, cache.Clear)
	e.watches = newWatches(e.FindAll, committer.o.Timeout, committer.o.Pacer.Spread)
	written := func(r *Record) {
		e.forget(r)
		e.watches.changed(r.ID)
	}
	committer.written.Store(&written)
	return e
}

// NewFeed returns a feed that hears at once of what this gateway writes. It is called once.
func (e *Engine) NewFeed(store FeedStore, o FeedOptions) *Feed {
	if o.Spread == nil {
		o.Spread = func(most time.Duration) time.Duration { return e.committer.o.Pacer.Spread(OperationID{}, most) }
	}
	f := NewFeed(store, o)
	f.seen = e.forget
	changed := f.Changed
	e.committer.changed.Store(&changed)
	return f
}

// Request is what the engine needs to know of a protected request.
type Request struct {
	ID          OperationID
	Operation   Operation
	Fingerprint Fingerprint
	Method      string
	Target      string        // path and query as forwarded
	Route       string        // its name
	Budget      time.Duration // how long the attempt may take
	Resend      bool          // the backend deduplicates by key: an operation in doubt may be claimed again
	KeyDate     time.Time     // the key's own date; zero if it has none
	Retention   Retention
	Trace       Trace // of the span that will execute
	// Refusal, if not nil, is why no new attempt may start now. A record is answered all the same.
	Refusal error
	// TooOld, if not nil, is why no attempt may start where there is no record: the key's own date is further back
	// than records are kept, so it may have been executed and forgotten. What has a record is claimed on the
	// condition that it still has one.
	TooOld error
	// Admit, if not nil, is asked at most once, before a claim, whether this caller may have a new attempt: its
	// error is a Refusal. It may block. What memory can answer is answered without it.
	Admit func() error
}

// Decision is the answer to a Request.
type Decision struct {
	Ruling Ruling
	Record Record
	// Execution is set when, and only when, Ruling is Granted. It must be settled.
	Execution *Execution
	flight    *flight
}

// claimTries is how often a request claims anew when what refused its claim had gone by the time the
// record was read.
const claimTries = 3

// Begin rules on a request. If nothing stands against it, it commits a claim and returns Granted: the
// caller, and nobody else, sends the request once. An error is r.Refusal, r.TooOld, Admit's, ErrNoLease, ErrStoreChanged,
// ErrOverloaded, ErrStoreTimeout, ErrStopped or the store's; with any of them nothing is or will be sent. Claimable
// comes with an error only.
func (e *Engine) Begin(ctx context.Context, r Request) (Decision, error) {
	if rec, ok := e.spooled(r.ID); ok {
		return Decision{Ruling: Judge(rec, r.Fingerprint), Record: rec}, nil
	}
	if rec, ok := e.cached(r.ID); ok {
		return Decision{Ruling: Judge(rec, r.Fingerprint), Record: rec}, nil
	}
	for claims := 0; ; {
		owner, leased := e.lease.Owner()
		if !leased && r.Refusal == nil {
			r.Refusal = ErrNoLease // what is settled is answered all the same
		}
		if r.Refusal == nil {
			r.Refusal = e.trusts(r)
		}
		if r.Refusal == nil && r.Admit != nil {
			r.Refusal, r.Admit = r.Admit(), nil
			continue // it may have taken a while
		}
		if r.Refusal == nil && !e.begun() {
			r.Refusal = ErrStopped
		}
		var f *flight
		opened := false
		if r.Refusal == nil {
			if f, opened = e.flights.join(r.ID); !opened {
				e.ended()
			}
		} else if f = e.flights.find(r.ID); f == nil {
			return e.lookUp(ctx, r)
		}
		if opened {
			d, err := e.claim(r, owner, f, claims > 0)
			if err != nil || d.Ruling != Claimable {
				return d, err
			}
			if claims++; claims == claimTries {
				return d, errUnexplained
			}
			continue
		}
		<-f.claimed.wait() // bounded by the claim's own timeout
		if f.err != nil {
			return Decision{}, f.err
		}
		d, err := r.decide(f.record)
		if err == nil && d.Ruling == Claimable {
			continue // the claimant had another fingerprint, or another route; ours may be the record's
		}
		d.flight = f
		return d, err
	}
}

var errUnexplained = errors.New("the store refused a claim again and again without a reason")

// lookUp answers a request that may not start an attempt.
func (e *Engine) lookUp(ctx context.Context, r Request) (Decision, error) {
	rec, err := e.Find(ctx, r.ID)
	if err != nil {
		return Decision{}, err
	}
	d, err := r.decide(rec)
	if err == nil && d.Ruling == Claimable {
		err = r.Refusal
	}
	return d, err
}

// decide rules by a record. Where there is none it refuses what is too old for that.
func (r Request) decide(rec Record) (Decision, error) {
	d := Decision{Ruling: r.rule(rec), Record: rec}
	if rec.State == Unseen {
		return d, r.TooOld
	}
	return d, nil
}

// rule is Judge, and lets a request of a resend route claim what is in doubt.
func (r Request) rule(rec Record) Ruling {
	ruling := Judge(rec, r.Fingerprint)
	if ruling == InDoubt && r.Resend && !rec.Contradicted {
		return Claimable
	}
	return ruling
}

// claim opens f: it is counted as running already, and is no longer when it returns, unless it was granted.
func (e *Engine) claim(r Request, owner Owner, f *flight, again bool) (Decision, error) {
	asOf, changes := time.Now(), e.journal.changes.Load()
	if err := e.trusts(r); err != nil { // it was asked before, and the store may have changed since
		e.ended()
		return Decision{}, e.grounded(r.ID, f, err)
	}
	attempt := Attempt{Operation: r.ID, ID: NewAttemptID(), Owner: owner}
	claim := Claim{
		Attempt: attempt, Operation: r.Operation, Fingerprint: r.Fingerprint, Method: r.Method, TargetURI: r.Target, Route: r.Route,
		Budget: r.Budget, Resend: r.Resend, Further: r.TooOld != nil, KeyDate: r.KeyDate, Retention: r.Retention, Trace: r.Trace,
	}
	given := &abandonedClaim{attempt: attempt, retention: r.Retention, dated: !r.KeyDate.IsZero(), changes: changes} // up, maybe
	res, err := e.committer.Submit(claim, func(late Result, err error) { e.lateClaim(given, late, err) })
	switch {
	case err == nil && !res.Applied && res.Record.Attempt.ID == attempt.ID:
		// Committed, but under a lease that has lapsed since. Nothing was sent: say so.
		e.abandon(given)
		e.lateClaim(given, res, nil)
		err = ErrNoLease
	case err == nil && res.Applied && changes != e.journal.changes.Load():
		// Committed, but to a store whose word that there was no record counts for nothing yet.
		e.abandon(given)
		e.lateClaim(given, res, nil)
		err = ErrStoreChanged
	case errors.Is(err, ErrStoreTimeout) && !isRolledBack(err):
		e.abandon(given)
	}
	if err != nil {
		e.ended()
		return Decision{}, e.grounded(r.ID, f, err)
	}
	granted := res.Applied
	if !granted && res.Record.State == Unseen && again && !r.KeyDate.IsZero() && r.TooOld == nil {
		// Refused again although there is no record: the store may have lost it.
		if res, err = e.importLost(claim); err != nil {
			e.ended()
			return Decision{}, e.grounded(r.ID, f, err)
		}
	}
	f.record, f.granted = res.Record, granted
	if !granted {
		e.ended()
		e.remember(res.Record, asOf)
		e.flights.leave(r.ID, f)
		f.claimed.open()
		return r.decide(res.Record)
	}
	f.claimed.open()
	claim.Attempt = res.Record.Attempt
	e.journal.add(claim)
	x := &Execution{engine: e, flight: f, attempt: res.Record.Attempt, retention: r.Retention, changes: changes}
	return Decision{Ruling: Granted, Record: res.Record, Execution: x}, nil
}

func (e *Engine) grounded(id OperationID, f *flight, err error) error {
	f.err = err
	e.flights.leave(id, f)
	f.claimed.open()
	return err
}

// Find reads one record, without its place in this process's memory. An answer in the spool counts.
func (e *Engine) Find(ctx context.Context, id OperationID) (Record, error) {
	return e.one(ctx, e.finds, id)
}

// FindAll is Find for several operations, in their order. Apart from answers in the spool all are read at
// one instant.
func (e *Engine) FindAll(ctx context.Context, ids []OperationID) ([]Record, error) {
	return e.findBy(ctx, e.store.Find, ids)
}

// asked is Find for those who only ask.
func (e *Engine) asked(ctx context.Context, id OperationID) (Record, error) {
	return e.one(ctx, e.asks, id)
}

func (e *Engine) one(ctx context.Context, by *reads, id OperationID) (Record, error) {
	if rec, ok := e.spooled(id); ok {
		return rec, nil
	}
	return by.one(ctx, id)
}

func (e *Engine) findBy(ctx context.Context, find finder, ids []OperationID) ([]Record, error) {
	records := make([]Record, len(ids))
	stored := make([]OperationID, 0, len(ids))
	for i, id := range ids {
		if rec, ok := e.spooled(id); ok {
			records[i] = rec
		} else {
			stored = append(stored, id)
		}
	}
	if len(stored) == 0 {
		return records, nil
	}
	ctx, cancel := context.WithTimeout(ctx, e.committer.o.Timeout)
	defer cancel()
	found, err := e.reader(find)(ctx, stored)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if records[i].ID == id && records[i].State != Unseen {
			continue // of the spool
		}
		records[i], found = found[0], found[1:]
	}
	return records, nil
}

// reader returns a finder that trusts no store to answer what it was asked, and remembers what it has read.
func (e *Engine) reader(find finder) finder {
	return func(ctx context.Context, ids []OperationID) ([]Record, error) {
		asOf := time.Now()
		found, err := find(ctx, ids)
		if err != nil {
			return nil, err
		}
		if len(found) != len(ids) {
			return nil, fmt.Errorf("the store returned %d records for %d operations", len(found), len(ids))
		}
		for i, id := range ids {
			if found[i].ID != id {
				return nil, errors.New("the store returned another record than asked for")
			}
			e.remember(found[i], asOf)
		}
		return found, nil
	}
}

// remember caches what cannot change any more, except by being forgotten or contradicted. The record was asked for at
// asOf: what has passed since counts.
func (e *Engine) remember(r Record, asOf time.Time) {
	e.forget(&r)
	if r.State != Completed || r.Contradicted || r.Damaged || r.Response == nil || !r.Response.Replayable {
		return
	}
	if ttl := min(cacheTTL, r.BodyExpires.Sub(r.Observed)) - time.Since(asOf); ttl > 0 {
		e.awake.check()
		e.erased.unless(r.ID, asOf, func() { e.cache.Put(r, ttl) })
		if !e.awake.since(asOf) {
			e.cache.Drop(r.ID)
		}
	}
}

// cached returns a record from the cache, if it has not been there for longer than it may, asleep or awake.
func (e *Engine) cached(id OperationID) (Record, bool) {
	e.awake.check()
	return e.cache.Get(id)
}

// forget hears of every record that this process reads or writes. Whoever was told that an answer is forgotten
// must not be shown it afterwards; nor a revision that is older than one that was shown.
func (e *Engine) forget(r *Record) {
	if r.State == Forgotten || r.State == Completed && r.Contradicted {
		e.erased.note(r.ID, e.cache.Drop)
	}
}

// Recall returns the record of an operation that has been completed, as this process knows it: for at most as
// long as it may not know of an acknowledgement made elsewhere.
func (e *Engine) Recall(id OperationID) (Record, bool) {
	if rec, ok := e.spooled(id); ok {
		return rec, true
	}
	return e.cached(id)
}

// Refuse makes the engine start no new attempts, of no request that has come this far either: from now on Begin
// answers what is recorded, and otherwise returns ErrStopped. What has begun by then is waited for by Drain.
func (e *Engine) Refuse() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuses = true
}

// Drain waits until every execution is settled, or ctx ends. After Refuse none is begun behind its back.
func (e *Engine) Drain(ctx context.Context) error {
	e.mu.Lock()
	if e.running == 0 {
		e.mu.Unlock()
		return nil
	}
	if e.idle == nil {
		e.idle = make(chan struct{})
	}
	idle := e.idle
	e.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Running returns how many executions are not settled.
func (e *Engine) Running() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.running
}

// begun counts a claim that is about to be made, unless none may be any more.
func (e *Engine) begun() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refuses {
		return false
	}
	e.running++
	return true
}

func (e *Engine) ended() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running--
	if e.running == 0 && e.idle != nil {
		close(e.idle)
		e.idle = nil
	}
}

type noCache struct{}

func (noCache) Get(OperationID) (Record, bool) { return Record{}, false }
func (noCache) Put(Record, time.Duration)      {}
func (noCache) Drop(OperationID)               {}
func (noCache) Clear()                         {}
