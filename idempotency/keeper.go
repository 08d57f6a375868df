package idempotency

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// keeper is an engine's hold on its spool: it answers from it, and sees to it that the store gets what is
// in it, a few at a time, through the committer.
type keeper struct {
	spool     LocalSpool
	committer *Committer
	observer  SpoolObserver
	work      sync.WaitGroup

	some atomic.Int64 // answers; so that nobody takes the lock in the usual case of none
	mu   sync.Mutex
	of   map[OperationID]AttemptID // answers
	shut bool                      // nothing is offered any more
}

// drainWidth is how many entries of a former process are with the store at once, so that its recovery is
// no stampede. Those of this process are bounded by the slow slots of the committer.
const drainWidth = 16

// Pauses before an entry that the store refused is offered again.
const (
	firstRefusedPause = time.Second
	lastRefusedPause  = time.Minute
)

// UseSpool makes the engine keep outcomes in s that the store does not take in time. It is called before
// any request. Observer may be nil.
func (e *Engine) UseSpool(s LocalSpool, observer SpoolObserver) {
	if observer == nil {
		observer = noSpoolObserver{}
	}
	e.keeper = &keeper{spool: s, committer: e.committer, observer: observer, of: make(map[OperationID]AttemptID)}
	for _, entry := range s.List() {
		e.keeper.index(entry)
	}
}

// DrainSpool offers the store what a former process left in the spool. The channel is closed once each
// entry has been offered and has had a result; what is not taken then is offered again for as long as the
// committer runs. It is called once.
func (e *Engine) DrainSpool() <-chan struct{} {
	done := make(chan struct{})
	k := e.keeper
	if k == nil {
		close(done)
		return done
	}
	entries := k.spool.List()
	if !k.use(func() { defer close(done); k.drain(entries) }) {
		close(done)
	}
	return done
}

// CloseSpool returns nil when nothing of the engine uses the spool any more, or the error of ctx: a disk
// that hangs must not keep a process. It is called after the committer's Stop.
func (e *Engine) CloseSpool(ctx context.Context) error {
	if e.keeper == nil {
		return nil
	}
	e.keeper.mu.Lock()
	e.keeper.shut = true
	e.keeper.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.keeper.work.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the spool's disk does not answer: %w", ctx.Err())
	}
}

// spooled returns the record of an operation whose answer is in the spool.
func (e *Engine) spooled(id OperationID) (Record, bool) {
	if e.keeper == nil || e.keeper.some.Load() == 0 {
		return Record{}, false
	}
	return e.keeper.record(id)
}

// holds reports whether an answer of the operation is in the spool. A nil keeper holds nothing.
func (k *keeper) holds(id OperationID) bool {
	if k == nil || k.some.Load() == 0 {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.of[id]
	return ok
}

func (k *keeper) record(id OperationID) (Record, bool) {
	k.mu.Lock()
	attempt, ok := k.of[id]
	k.mu.Unlock()
	if !ok {
		return Record{}, false
	}
	s, err := k.get(SpooledEntry{Attempt: attempt, Operation: id})
	if err != nil {
		return Record{}, false // the store knows what there is to know
	}
	return s.Answered(time.Now())
}

// get reads an entry, and alarms when it is damaged.
func (k *keeper) get(e SpooledEntry) (Spooled, error) {
	s, err := k.spool.Get(e.Attempt)
	if errors.Is(err, ErrDamaged) {
		k.unindex(e)
		k.observer.Spooled(e.Operation, SpoolDamaged, err)
	}
	return s, err
}

func (k *keeper) put(s Spooled) error {
	err := k.spool.Put(s)
	if err != nil {
		k.observer.Spooled(s.Record.ID, SpoolRefused, err)
		return err
	}
	k.index(s.Entry())
	k.observer.Spooled(s.Record.ID, SpoolKept, nil)
	return nil
}

func (k *keeper) index(e SpooledEntry) {
	if !e.Answer {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.of[e.Operation] = e.Attempt
	k.some.Store(int64(len(k.of)))
}

func (k *keeper) unindex(e SpooledEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of[e.Operation] == e.Attempt {
		delete(k.of, e.Operation)
	}
	k.some.Store(int64(len(k.of)))
}

func (k *keeper) drain(entries []SpooledEntry) {
	slots := make(chan struct{}, drainWidth)
	for _, e := range entries {
		slots <- struct{}{}
		k.offer(e, 0, func() { <-slots })
	}
	for range drainWidth { // until the last of them has its result
		slots <- struct{}{}
	}
}

// offer gives an entry to the store. Tried is called once, as soon as there is a result of whatever kind.
func (k *keeper) offer(e SpooledEntry, refused int, tried func()) {
	s, err := k.get(e)
	if errors.Is(err, ErrNotSpooled) || errors.Is(err, ErrDamaged) {
		tried()
		return
	}
	if err == nil {
		err = k.committer.post(s.Outcome, func(res Result, err error) {
			k.heard(s, refused, res, err)
			tried()
		})
		if err == nil {
			return
		}
	}
	k.again(e, refused, err)
	tried()
}

// heard takes the store's result for an entry of the spool. It may be called on a flusher and does not block.
func (k *keeper) heard(s Spooled, refused int, res Result, err error) {
	if err != nil {
		k.again(s.Entry(), refused, err)
		return
	}
	if lost, ok := s.lost(); ok && res.Record.State == Unseen {
		k.restore(s, lost, refused)
		return
	}
	k.conclude(s, s.newsOf(res))
}

// restore brings an answer back whose claim the store has lost.
func (k *keeper) restore(s Spooled, lost Import, refused int) {
	err := k.committer.post(lost, func(res Result, err error) {
		switch {
		case err != nil:
			k.again(s.Entry(), refused, err)
		case res.Applied:
			k.conclude(s, SpoolImported)
		default:
			k.again(s.Entry(), refused, nil) // it has a record by now
		}
	})
	if err != nil {
		k.again(s.Entry(), refused, err)
	}
}

// again offers an entry once more after a while, unless the process ends meanwhile: then the next one does.
func (k *keeper) again(e SpooledEntry, refused int, err error) {
	if errors.Is(err, ErrStopped) {
		return
	}
	pause := min(firstRefusedPause<<min(refused, 6), lastRefusedPause)
	time.AfterFunc(pause/2+k.committer.o.Pacer.Spread(e.Operation, pause/2), func() {
		if k.enter() {
			defer k.work.Done()
			k.offer(e, refused+1, func() {})
		}
	})
}

// enter reports whether the spool may be used, and if so keeps CloseSpool waiting until work is done.
func (k *keeper) enter() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.shut {
		k.work.Add(1)
	}
	return !k.shut
}

// use runs work beside its caller, unless the spool may not be used any more.
func (k *keeper) use(work func()) bool {
	if !k.enter() {
		return false
	}
	go func() {
		defer k.work.Done()
		work()
	}()
	return true
}

// conclude forgets an entry about which the store has had its say. What the store has is told from now on.
func (k *keeper) conclude(s Spooled, news SpoolNews) {
	k.unindex(s.Entry())
	k.observer.Spooled(s.Record.ID, news, nil)
	k.use(func() { _ = k.spool.Remove(s.Record.Attempt.ID) }) // one that stays is offered again, without harm
}

type noSpoolObserver struct{}

func (noSpoolObserver) Spooled(OperationID, SpoolNews, error) {}
