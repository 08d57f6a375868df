//go:build unix

package filelock_test

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/onceway/onceway/idempotency/filelock"
)

func TestOneHolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	var held *filelock.HeldError
	if _, err := filelock.Take(path); !errors.As(err, &held) || held.PID != strconv.Itoa(os.Getpid()) {
		t.Errorf("a second one gets %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := filelock.Take(path)
	if err != nil {
		t.Fatal(err)
	}
	next.Close()
}
