//go:build unix

package migrations

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the lock that a gateway holds on its file, so that nobody changes the schema under a
// running one, and two migrations do not meet. It is not waited for: a gateway keeps it for days.
func (f sqliteFile) lock(context.Context) (unlock func(), err error) {
	file, err := os.OpenFile(string(f)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", f, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("store %s is used by another onceway process; stop it before migrating", f)
		}
		return nil, fmt.Errorf("store %s: lock: %w", f, err)
	}
	return func() { _ = file.Close() }, nil
}
