package idempotency

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrStoreChanged says that the store is another one than a moment ago, as after a failover, and that what
// it may have lost is not back yet. Nothing was sent.
var ErrStoreChanged = errors.New("the store has become another one; what it may have lost is being brought back")

// journal is what this process claimed lately, in memory: what it can bring back if the store loses it. It
// costs the hot path a copy, and no input or output. It does not survive the process.
type journal struct {
	mu     sync.Mutex
	claims []claimed // a ring once it is full
	next   int

	changes    atomic.Uint64 // how often the store became another one
	recovering atomic.Bool
	since      atomic.Int64 // by the suspend-proof clock
}

// journalSize is some seconds of claims at full load, and minutes at most others. At under half a kilobyte
// each that is a few megabytes.
const journalSize = 8192

// claimed is a claim, and when its attempt's time is over.
type claimed struct {
	Claim
	until time.Time
}

// outlived reports whether the record of the claim may have been purged: that it is not there is no loss.
func (c claimed) outlived(now time.Time) bool {
	return latest(c.until, c.KeyDate).Add(c.Retention.Key).Before(now)
}

func (j *journal) add(claim Claim) {
	c := claimed{claim, time.Now().Add(claim.Budget)}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.claims) < journalSize {
		j.claims = append(j.claims, c)
		return
	}
	j.claims[j.next] = c
	j.next = (j.next + 1) % journalSize
}

// all returns the claims whose records the store should still have.
func (j *journal) all() []Claim {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	all := make([]Claim, 0, len(j.claims))
	for i := range j.claims {
		if c := j.claims[(j.next+i)%len(j.claims)]; !c.outlived(now) {
			all = append(all, c.Claim)
		}
	}
	return all
}

// StoreChanged says that the store leads to another server from now on. It must be called before anything
// is written there. Until Recover has ended nothing is claimed, and what was claimed and not sent is not
// sent any more; and keys that have no date are not claimed for a lease, so that every gateway can bring
// back what it knows.
func (e *Engine) StoreChanged() {
	e.journal.since.Store(int64(e.lease.clock.Now()))
	e.journal.recovering.Store(true)
	e.journal.changes.Add(1)
}

// trusts returns why r may not be claimed so soon after a change of the store; nil if it may.
func (e *Engine) trusts(r Request) error {
	if e.journal.changes.Load() == 0 {
		return nil
	}
	early := e.lease.clock.Now()-time.Duration(e.journal.since.Load()) < e.lease.length
	if e.journal.recovering.Load() || r.KeyDate.IsZero() && early {
		return ErrStoreChanged
	}
	return nil
}

// Recover brings back, after a change of the store, what this gateway claimed lately and the store has no
// record of: answers that are still in memory as answers, all else as in doubt. It is called in every round
// of the lease, and does nothing unless there was a change since it last succeeded.
func (e *Engine) Recover(ctx context.Context) error {
	if !e.journal.recovering.Load() {
		return nil
	}
	const batch = 256
	changes := e.journal.changes.Load()
	for claims := e.journal.all(); len(claims) > 0; {
		n := min(batch, len(claims))
		if err := e.recover(ctx, claims[:n]); err != nil {
			return err
		}
		claims = claims[n:]
	}
	if e.journal.changes.Load() == changes {
		e.journal.recovering.Store(false)
	}
	return nil
}

func (e *Engine) recover(ctx context.Context, claims []Claim) error {
	ids := make([]OperationID, len(claims))
	for i, c := range claims {
		ids[i] = c.Attempt.Operation
	}
	records, err := e.store.Find(ctx, ids)
	if err != nil {
		return err
	}
	if len(records) != len(ids) {
		return errors.New("the store did not return a record for each operation")
	}
	failures := make(chan error, len(claims))
	var waiting sync.WaitGroup
	for i, c := range claims {
		waiting.Go(func() { failures <- e.bringBack(c, records[i]) })
	}
	waiting.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

// bringBack makes the store say what this gateway knows of a claim of its own, given the operation's record.
// That there is a record is not enough: it may lack the answer, or be of a claim that was made where the
// store had lost this one. An answer goes to the store in any case; what it disproves is contradicted.
func (e *Engine) bringBack(c Claim, seen Record) error {
	var answer *Response
	if r, ok := e.cache.Get(c.Attempt.Operation); ok && r.Attempt.ID == c.Attempt.ID {
		answer = r.Response
	}
	if seen.State == Unseen {
		res, err := e.committer.Submit(Import{
			Claim: c, Response: answer,
			Evidence: "the gateway's journal has the claim, and the store has no record of the operation since it became another one",
		}, nil)
		if err != nil {
			return err
		}
		seen = res.Record
	}
	own := seen.Attempt.ID == c.Attempt.ID
	switch {
	case own && (seen.State == Completed || seen.State == Forgotten):
	case answer != nil:
		_, err := e.committer.Submit(Complete{Attempt: c.Attempt, Response: answer, Retention: c.Retention}, nil)
		return err
	case !own && seen.State == NotExecuted && seen.Attempt.N <= c.Attempt.N:
		return e.doubtAgain(c)
	}
	return nil
}

// doubtAgain puts a lost attempt in the place of an older or foreign one that had no effect, so that nothing
// is executed on the latter's word. Nothing is sent on this claim.
func (e *Engine) doubtAgain(c Claim) error {
	res, err := e.committer.Submit(c, nil)
	if err != nil || res.Record.Attempt.ID != c.Attempt.ID {
		return err
	}
	_, err = e.committer.Submit(Doubt{Attempt: c.Attempt, Cause: CauseLost, Retention: c.Retention}, nil)
	return err
}
