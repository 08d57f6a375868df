package idempotency

import (
	"context"
	"time"
)

// SpoolNote is what a gateway process has said last of the answers that it keeps on its own disk because
// the store did not take them.
type SpoolNote struct {
	Depth  int64     // how many; 0 = none now
	Oldest time.Time // when the oldest of them came; zero if there is none
}

// InstanceRecord is what a store knows of a gateway process under one lease.
type InstanceRecord struct {
	Owner      Owner
	Host       string
	Version    string
	Started    time.Time  // when this lease began
	LeaseUntil time.Time  // zero where leases do not end by time
	Alive      bool       // has the lease
	Spool      *SpoolNote // nil: it has no spool, or has said that nothing is left in it
}

// SpoolStore is told by gateways what they keep in their spools. It is for operators and costs the
// records nothing.
type SpoolStore interface {
	// NoteSpool writes what the process has in its spool, for all leases that it has had; nil takes back
	// that it has one. Nothing happens if the store knows no such process.
	//
	// A process with an [Instance.Spool] counts as one that may hold answers until it, or whoever has
	// its spool file now, notes nil: at the end of a drain with an empty spool, or once everything that a
	// former process left in the file is in the store.
	NoteSpool(ctx context.Context, instance [16]byte, s *SpoolNote) error
}

// InstanceStore tells operators of gateway processes.
type InstanceStore interface {
	// Instances returns at most limit leases: those that are alive first, then those whose processes may
	// hold answers, then the others, the latest first each. Leases that ended, of processes that hold
	// nothing, may be missing; what may hold answers is kept for 90 days.
	Instances(ctx context.Context, limit int) ([]InstanceRecord, error)
	// InstanceLeases returns all that is known of one process, the latest lease first.
	InstanceLeases(ctx context.Context, instance [16]byte) ([]InstanceRecord, error)
}

// MayHoldAnswers says of one process, given all of its leases, whether an answer may still be in its
// spool: it says so itself, or it had a spool when it was last heard of and nobody has emptied that
// since. What a living process says is as old as its last renewal.
func MayHoldAnswers(leases []InstanceRecord) bool {
	alive, spooling := false, false
	for _, l := range leases {
		alive = alive || l.Alive
		if l.Spool != nil {
			spooling = true
			if l.Spool.Depth > 0 {
				return true
			}
		}
	}
	return spooling && !alive
}
