package participant

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/onceway/onceway/idempotency"
)

// Decision is what a backend must do with an attempt.
type Decision uint8

const (
	// Execute: nobody has executed the operation, and nobody else can while this transaction lasts.
	Execute Decision = iota + 1
	// Replay: it is executed. Have no effect, and answer the recorded response.
	Replay
	// Refuse: the attempt was declared dead. Have no effect, and answer 421.
	Refuse
)

func (d Decision) String() string {
	switch d {
	case Execute:
		return "execute"
	case Replay:
		return "replay"
	case Refuse:
		return "refuse"
	}
	return fmt.Sprintf("decision(%d)", uint8(d))
}

// Claim is the answer to a claim.
type Claim struct {
	Decision Decision
	By       int                   // Replay: the attempt that was executed
	Response *idempotency.Response // Replay: its answer; nil if none was recorded, or if it was purged
}

// Claim asks, inside the transaction tx that is to have the effect, whether attempt a may have it. Call
// it first, and once in a transaction: whatever is read or locked before is done in vain by the copies
// that wait here for each other, and may deadlock with them.
//
// After [Execute] the operation counts as executed as soon as tx is committed, whether or not an answer
// is recorded with it; if tx is rolled back, it never happened. After anything else, roll back.
func (t *Table[Tx]) Claim(ctx context.Context, tx Tx, a Attempt) (Claim, error) {
	if err := a.check(); err != nil {
		return Claim{}, err
	}
	changed, err := t.driver.exec(ctx, tx, t.sql.claim, a.Operation.String(), a.N)
	if err != nil {
		return Claim{}, fmt.Errorf("claim: %w", err)
	}
	if changed == 1 {
		return Claim{Decision: Execute}, nil
	}
	found, err := t.find(ctx, tx, a.Operation)
	if err != nil {
		return Claim{}, fmt.Errorf("claim: %w", err)
	}
	if found.executed == 0 {
		return Claim{Decision: Refuse}, nil
	}
	return Claim{Decision: Replay, By: found.executed, Response: found.response}, nil
}

// finding is what the table has of one operation.
type finding struct {
	executed int // 0: not
	response *idempotency.Response
}

// find reads a row that tx has locked.
func (t *Table[Tx]) find(ctx context.Context, tx Tx, operation idempotency.OperationID) (finding, error) {
	var executed, status sql.NullInt32
	var headers sql.NullString
	var body []byte
	if err := t.driver.row(ctx, tx, t.sql.find, operation.String()).Scan(&executed, &status, &headers, &body); err != nil {
		// Also where there is no row: a locked one cannot vanish.
		return finding{}, fmt.Errorf("find: %w", err)
	}
	f := finding{executed: int(executed.Int32)}
	if !status.Valid {
		return f, nil
	}
	if f.executed == 0 {
		return finding{}, errors.New("find: there is an answer of an operation that was not executed")
	}
	header := map[string][]string{}
	if err := json.Unmarshal([]byte(headers.String), &header); err != nil {
		return finding{}, errors.New("find: the recorded headers are not an object of lists of strings")
	}
	f.response = idempotency.NewResponse(int(status.Int32), header, body)
	return f, nil
}
