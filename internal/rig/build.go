package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
)

const program = "github.com/onceway/onceway/cmd/onceway"

// Main runs the tests of a process, or is the ledger, and removes what was built.
func Main(m *testing.M) int {
	ledger.Main()
	defer func() {
		if dir := builtIn; dir != "" {
			os.RemoveAll(dir)
		}
	}()
	return m.Run()
}

// builtIn is the directory of the binary; Main removes it when nothing uses it any more.
var builtIn string

// build makes the binary, with the race detector if the tests have it.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "onceway-rig-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	path := filepath.Join(dir, "onceway")
	args := []string{"build", "-o", path}
	if raceEnabled {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, program)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// Binary returns the path of the built program.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
