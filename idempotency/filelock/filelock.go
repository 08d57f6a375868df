// Package filelock keeps a file, or a directory, to one process at a time: the embedded store's, the spool's, and
// whoever migrates the former.
//
// The lock is the kernel's (flock(2)), which releases it with the process, however that ends. On network file systems
// it cannot be relied on; to refuse those is up to whoever locks.
package filelock

import "errors"

// HeldError says that another process has the lock.
type HeldError struct {
	PID string // of that process, as it wrote it down; empty if it has not
}

// Error goes behind the name of what is locked, and an "is".
func (e *HeldError) Error() string {
	if e.PID == "" {
		return "used by another onceway process"
	}
	return "used by another onceway process (pid " + e.PID + ")"
}

// ErrNoLocks says that this kind of system has no such locks. (That a file system has none is another error, on any.)
var ErrNoLocks = errors.New("there are no file locks on this system")
