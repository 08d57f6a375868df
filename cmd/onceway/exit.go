package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/config"
)

// exitCode is what the process says to its parent.
type exitCode int

const (
	exitOK      exitCode = 0 // also after a drained SIGTERM
	exitFailure exitCode = 1 // something went wrong while running
	exitUsage   exitCode = 2 // flags, arguments or verbs
	exitConfig  exitCode = 3 // the configuration is invalid, or asks for what is not available
	exitStore   exitCode = 4 // the store is unreachable, or its schema is not the expected one
)

// usageError says that the command line is wrong.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

var errVerbNeeded = errors.New("a verb is needed")

// configError says that a configuration could not be read at all. What is wrong inside of one is a
// *config.Error.
type configError struct{ err error }

func (e *configError) Error() string { return "configuration: " + e.err.Error() }
func (e *configError) Unwrap() error { return e.err }

// storeError says that the store cannot be used.
type storeError struct{ err error }

func (e *storeError) Error() string { return "store: " + e.err.Error() }
func (e *storeError) Unwrap() error { return e.err }

// silentError is a failure of which everything has been said already.
type silentError struct{}

func (silentError) Error() string { return "failed" }

// stoppedError says that a gateway was told to stop before it was ready, and where that came upon it. There was
// nothing to drain.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string { return "told to stop before it was ready: " + e.err.Error() }

// codeOf is the only mapping of errors to exit codes.
func codeOf(err error) exitCode {
	var (
		stopped *stoppedError
		usage   *usageError
		file    *configError
		inside  *config.Error
		store   *storeError
	)
	switch {
	case err == nil, errors.As(err, &stopped):
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &file), errors.As(err, &inside):
		return exitConfig
	case errors.As(err, &store):
		return exitStore
	}
	return exitFailure
}

// report says on stderr what went wrong, one line for each thing.
func report(stderr io.Writer, cmd *cobra.Command, err error) exitCode {
	code := codeOf(err)
	if err == nil || errors.Is(err, silentError{}) {
		return code
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "onceway: %s\n", strings.TrimSuffix(line, "\n"))
	}
	if code == exitUsage {
		fmt.Fprintf(stderr, "Run '%s --help' for usage.\n", cmd.CommandPath())
	}
	return code
}
