//go:build !unix

package client

import (
	"errors"
	"os"
)

// lockDir refuses: without flock(2) nothing here keeps a second process off the directory. Bring an Outbox of
// your own.
func lockDir(string) (*os.File, error) {
	return nil, errors.New("an outbox of files needs a Unix system")
}

func syncDir(string) error { return nil }
