//go:build unix

package filelock

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Take takes the exclusive lock on the file at path, which is made if there is none, readable by its owner only. It
// does not wait. Closing the returned file releases the lock. The file stays: deleting it would let two processes lock
// two files of one name.
//
// The error is a *HeldError, [ErrNoLocks], or the file system's.
func Take(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &HeldError{holder(f)}
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	// The number is for humans only; the lock is what counts.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

func holder(f *os.File) string {
	b := make([]byte, 20)
	n, _ := f.ReadAt(b, 0)
	return strings.TrimSpace(string(b[:n]))
}
