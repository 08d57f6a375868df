package rig

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// builtIn is the directory of the binaries; Main removes it when nothing uses it any more.
var builtIn string

var builds struct {
	sync.Mutex
	done map[string]func() (string, error)
}

// raceFlags are those of the Makefile's RACE, so that nothing is compiled twice.
var raceFlags = []string{"-race", "-gcflags=modernc.org/sqlite/lib=-race=false"}

// build makes a binary with build tags, and with the race detector if the tests have it.
func build(tags string) (string, error) {
	if builtIn == "" {
		dir, err := os.MkdirTemp("", "onceway-rig-")
		if err != nil {
			return "", err
		}
		builtIn = dir
	}
	path := filepath.Join(builtIn, strings.Trim("onceway-"+strings.ReplaceAll(tags, ",", "-"), "-"))
	args := []string{"build", "-o", path, "-tags", tags}
	if raceEnabled {
		args = append(args, raceFlags...)
	}
	if out, err := exec.Command("go", append(args, program)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
}

// Binary returns the path of the built program.
func Binary(t testing.TB) string { return BinaryWith(t, "") }

// BinaryWith returns the path of the program built with tags, a comma-separated list.
func BinaryWith(t testing.TB, tags string) string {
	t.Helper()
	path, err := builtWith(tags)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func builtWith(tags string) (string, error) {
	builds.Lock()
	defer builds.Unlock()
	if builds.done == nil {
		builds.done = map[string]func() (string, error){}
	}
	if builds.done[tags] == nil {
		builds.done[tags] = sync.OnceValues(func() (string, error) { return build(tags) })
	}
	return builds.done[tags]()
}
