package idempotency

import (
	"context"
	"time"
)

// ProbeStore says which records in doubt a backend should be asked about, so that any gateway that has
// their route can ask, also after a restart, and about records that a sweep doubted. What is due lives
// in the store: of several gateways one asks at a time. Settled records cost it nothing.
type ProbeStore interface {
	// TakeProbes returns at most limit records of each of the routes: those that are stored as unknown
	// and due for a probe, the longest due first. Each is then not due again before hold has passed,
	// for whichever gateway. A record is due from its doubt on, until it is taken or put off.
	TakeProbes(ctx context.Context, routes []string, limit int, hold time.Duration) ([]OperationID, error)
	// PutOffProbe makes the record due after d instead, if it is still stored as unknown with that
	// attempt. An attempt that follows is due from its own doubt on.
	PutOffProbe(ctx context.Context, a Attempt, d time.Duration) error
}

// Note keeps something beside a record in doubt; see [Note].
func (e *Engine) Note(t Note) (Result, error) {
	return e.committer.Submit(t, nil)
}
