package postgres

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceway/onceway/idempotency"
)

// Error is what the server said, without what it may have quoted of keys, callers or bodies.
type Error struct {
	Code       string // SQLSTATE
	Message    string // empty for class 22, whose messages quote values
	Constraint string
}

func (e *Error) Error() string {
	s := "postgres: SQLSTATE " + e.Code
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Constraint != "" {
		s += " (constraint " + e.Constraint + ")"
	}
	return s
}

// clean replaces a server's error, wherever it is wrapped, by an *Error.
func clean(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	e := &Error{Code: pg.Code, Message: pg.Message, Constraint: pg.ConstraintName}
	if strings.HasPrefix(pg.Code, "22") {
		e.Message = ""
	}
	return e
}

// classify tells the few errors after which a batch has definitely left no trace from all the others,
// after which nobody knows. It never asks pgconn.SafeToRetry, which says yes to commits that happened.
func classify(err error) error {
	err = clean(err)
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case "55P03", "40P01", "40001": // lock_not_available, deadlock_detected, serialization_failure
		return &idempotency.RolledBackError{Err: e, Blocked: true}
	}
	switch e.Code[:min(2, len(e.Code))] {
	case "22", "23": // data exception, integrity constraint violation
		return &idempotency.RolledBackError{Err: e}
	}
	return e
}

// brokenError says that a connection came to its end with the error, and not for lack of time. What was sent
// over it may have been done.
type brokenError struct{ error }

func (e *brokenError) Unwrap() error { return e.error }

// errUnreplicated says that the server committed, but gave up waiting for its synchronous standby.
var errUnreplicated = errors.New("the commit was not confirmed by the synchronous standby")

const unreplicated = "onceway.unreplicated"

// noteUnreplicated marks a connection whose server warned during a commit (SQLSTATE 01000).
func noteUnreplicated(c *pgconn.PgConn, n *pgconn.Notice) {
	if n.Code == "01000" {
		c.CustomData()[unreplicated] = true
	}
}

// keepConnection says after which errors a connection is still good: not after fatal ones, nor when
// its server turns out to be a replica by now.
func keepConnection(_ *pgconn.PgConn, e *pgconn.PgError) bool {
	return !strings.EqualFold(e.Severity, "FATAL") && !strings.EqualFold(e.SeverityUnlocalized, "FATAL") && e.Code != "25006"
}
