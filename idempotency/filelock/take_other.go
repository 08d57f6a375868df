//go:build !unix

package filelock

import "os"

// Take returns [ErrNoLocks]: without flock(2) nothing here keeps a second process off.
func Take(string) (*os.File, error) { return nil, ErrNoLocks }
