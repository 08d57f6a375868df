package participant

import (
	"errors"
	"math"
	"net/http"
	"strconv"

	"github.com/onceway/onceway/idempotency"
)

// Fields that the gateway sets in every request to a backend. No client can.
const (
	HeaderOperation = "Onceway-Operation" // UUID of the operation
	HeaderAttempt   = "Onceway-Attempt"   // 1, 2, …
)

// every is the attempt number that fences all.
const every = math.MaxInt32

// Attempt is one execution of an operation, as the gateway numbers them.
type Attempt struct {
	Operation idempotency.OperationID
	N         int // 1, 2, …
}

// ErrNoOperation says that a request does not carry one well-formed field each of Onceway-Operation and
// Onceway-Attempt: it did not come through the gateway, or not as a protected request.
var ErrNoOperation = errors.New("the request has no " + HeaderOperation + " and " + HeaderAttempt +
	": it must come through the gateway, as a protected request")

// FromRequest reads the attempt that a request is. The error is [ErrNoOperation].
func FromRequest(r *http.Request) (Attempt, error) {
	operation, ok := one(r.Header, HeaderOperation)
	if !ok {
		return Attempt{}, ErrNoOperation
	}
	number, ok := one(r.Header, HeaderAttempt)
	if !ok {
		return Attempt{}, ErrNoOperation
	}
	a := Attempt{}
	var err error
	if a.Operation, err = idempotency.ParseOperationID(operation); err != nil {
		return Attempt{}, ErrNoOperation
	}
	if a.N, ok = attemptNumber(number); !ok {
		return Attempt{}, ErrNoOperation
	}
	return a, nil
}

// attemptNumber reads 1 to every-1, in digits and without leading zeros.
func attemptNumber(s string) (n int, ok bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 1 && n < every && strconv.Itoa(n) == s
}

// one returns the value of a field that is there once.
func one(h http.Header, name string) (value string, ok bool) {
	if values := h[http.CanonicalHeaderKey(name)]; len(values) == 1 {
		return values[0], true
	}
	return "", false
}

func (a Attempt) check() error {
	if a.Operation == (idempotency.OperationID{}) || a.N < 1 || a.N >= every {
		return errors.New("participant: an attempt has an operation and a number from 1 on")
	}
	return nil
}
