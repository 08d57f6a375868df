//go:build !unix

package spool

import (
	"errors"
	"os"
)

// lock refuses: without flock(2) nothing here keeps a second process off the directory.
func lock(string) (*os.File, error) { return nil, errors.New("the spool needs a Unix system") }
