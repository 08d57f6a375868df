package idempotency

import (
	"context"
	"errors"
	"time"
)

// Store keeps records. Apply is its only write of them.
//
// Every Record that a Store returns has been derived (see [Record.Derive]) with the store's own
// clock, one instant for the whole call, and its response, if any, has been checked against its seal:
// a mismatch sets Damaged and leaves Response nil.
type Store interface {
	// Apply executes a batch of transitions, each on its own condition. No two may be about one operation.
	// What it reports is durable; usually in one commit, and in a second one for moves that are seldom.
	// Results are in the order of ts, one for each. Applying the same transition again gives the same
	// result and no second effect.
	//
	// An error means that nobody knows whether the batch was written, unless it is, or wraps, a
	// *RolledBackError: then none of it was. Apply returns within a bounded time of ctx's end.
	Apply(ctx context.Context, ts []Transition) ([]Result, error)

	// Find reads records, with the bodies of completed ones, in the order of ids; what has no record
	// comes back with State Unseen and its ID.
	Find(ctx context.Context, ids []OperationID) ([]Record, error)
}

// AskStore is what a Store may have, too: a way to read for those who only ask, on connections that no claim and
// no outcome needs. However many ask, they take nothing from those who execute, nor the other way round.
type AskStore interface {
	// Ask is Find, on connections of its own.
	Ask(ctx context.Context, ids []OperationID) ([]Record, error)
}

// RolledBackError says that a batch definitely left no trace.
type RolledBackError struct {
	Err error
	// Blocked says that a row was locked by somebody else: the same batch may pass later.
	Blocked bool
}

func (e *RolledBackError) Error() string { return "rolled back: " + e.Err.Error() }
func (e *RolledBackError) Unwrap() error { return e.Err }

// ErrLeaseLost says that a lease lapsed, or is too close to lapsing to be renewed: the owner needs a
// new epoch, and its executing records are orphaned.
var ErrLeaseLost = errors.New("lease lost")

// Instance describes a gateway process to a store.
type Instance struct {
	ID      [16]byte
	Host    string
	Version string
	Longest time.Duration // the longest budget of an attempt: bounds where a sweep looks
	Spool   *SpoolNote    // what is in its spool as it acquires; nil: it has none. See [SpoolStore]
}

// LeaseStore keeps one lease per gateway process, on the store's clock.
type LeaseStore interface {
	// Acquire gives the instance a new epoch, greater than any it had, leased from now. What the instance has
	// in its spool is seen no later than that it lives: a process that ended with a spool may hold answers, and
	// its return alone must not take that back.
	Acquire(ctx context.Context, i Instance, lease time.Duration) (Owner, error)
	// Renew extends the lease of o from now. The error is ErrLeaseLost if it has lapsed or is about
	// to: a lapsed lease is never revived, so that what was seen as orphaned stays orphaned.
	Renew(ctx context.Context, o Owner, lease time.Duration) error
	// GiveBack ends the lease of o at once.
	GiveBack(ctx context.Context, o Owner) error
	// Sweep writes the doubt that Derive already shows: executing records of owners without a lease
	// become unknown. It returns how many. It is safe to run on every gateway at once. A record that
	// somebody has locked keeps no other from it: an error tells of what is left, and the next sweep looks there again.
	Sweep(ctx context.Context) (int, error)
}

// RetentionStore removes what has expired: bodies and records, never executing or unknown records
// nor contradicted ones.
type RetentionStore interface {
	// Purge removes at most limit expired records, and expired bodies. It returns how many records, and whether
	// there is more to do at once. It also prepares whatever storage the coming days need.
	Purge(ctx context.Context, limit int) (removed int, more bool, err error)
	// Purged returns the latest instant at which an operation was seen first, or claimed, whose record Purge has
	// removed, whoever called it and with whatever retention; zero if none was. Of no key that is older anybody can
	// say that it has never been executed: see [PurgedKeys].
	Purged(ctx context.Context) (time.Time, error)
}

// CensusStore counts records for metrics.
type CensusStore interface {
	// InDoubt returns the number of records that are stored as unknown.
	InDoubt(ctx context.Context) (int64, error)
	// InDoubtOf returns the number of a caller's records that are stored as unknown, at most most.
	InDoubtOf(ctx context.Context, caller Caller, most int) (int, error)
	// Contradicted returns the number of records that an answer has proved wrong.
	Contradicted(ctx context.Context) (int64, error)
}
