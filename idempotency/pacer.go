package idempotency

import (
	"math/rand/v2"
	"runtime"
	"time"
)

// Pacer decides what no rule decides: who goes first at one instant, and how far retries are spread so
// that many do not come back in step. Nothing of the guarantee may depend on it. A simulator has one
// that makes its runs repeatable.
type Pacer interface {
	// Yield lets those run who are about to submit.
	Yield()
	// Spread returns a part of most, from 0 to below most, for a retry or a poll about id.
	Spread(id OperationID, most time.Duration) time.Duration
}

// chance is the Pacer of production.
type chance struct{}

func (chance) Yield()                                                 { runtime.Gosched() }
func (chance) Spread(_ OperationID, most time.Duration) time.Duration { return rand.N(most) }
