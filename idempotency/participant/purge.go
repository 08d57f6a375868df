package participant

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Retention is how long a backend keeps what it recorded, with the names that the gateway's configuration
// has for the same.
//
// An answer may go as soon as nobody needs its bytes: the operation is then still known as executed. An
// operation that is gone may be executed again, and a probe would report it absent. So Key must exceed
// the retention.key of every gateway in front, plus the longest time for which a record may stay unknown
// (a gateway never purges those): twice the gateway's retention.key is a good choice. What is fenced for
// ever is never purged.
type Retention struct {
	Response time.Duration // of the recorded answer; at most Key
	Key      time.Duration // of the operation
}

// Purged says what a purge has deleted.
type Purged struct{ Responses, Operations int64 }

// purgeBatch is how many rows one transaction deletes: few enough for nobody to wait long.
const purgeBatch = 1000

// Purge deletes what is older than its retention, in many short transactions, skips what is in use, and
// returns how much it was. Call it now and then, on one instance or on all.
func (t *Table[Tx]) Purge(ctx context.Context, r Retention) (Purged, error) {
	if r.Response <= 0 || r.Key < r.Response {
		return Purged{}, errors.New("purge: response must be above zero, and key not below response")
	}
	var p Purged
	var err error
	if p.Responses, err = t.purge(ctx, t.sql.purgeResponses, r.Response); err != nil {
		return p, fmt.Errorf("purge of responses: %w", err)
	}
	if p.Operations, err = t.purge(ctx, t.sql.purgeOperations, r.Key); err != nil {
		return p, fmt.Errorf("purge of operations: %w", err)
	}
	return p, nil
}

func (t *Table[Tx]) purge(ctx context.Context, statement string, age time.Duration) (deleted int64, err error) {
	for {
		n, err := t.purgeSome(ctx, statement, age)
		if deleted += n; err != nil || n < purgeBatch {
			return deleted, err
		}
	}
}

func (t *Table[Tx]) purgeSome(ctx context.Context, statement string, age time.Duration) (int64, error) {
	tx, err := t.driver.beginFence(ctx)
	if err != nil {
		return 0, err
	}
	defer t.rollback(ctx, tx)
	n, err := t.driver.exec(ctx, tx, statement, age.Seconds(), purgeBatch)
	if err != nil {
		return 0, err
	}
	return n, t.driver.commit(ctx, tx)
}
