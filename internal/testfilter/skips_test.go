package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAllowances(t *testing.T) {
	file := filepath.Join(t.TempDir(), "skips")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# why\n\nalways   it is Sunday\nelsewhere nothing to see\n")
	all, err := readAllowances(file)
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	before := holds["elsewhere"]
	holds["elsewhere"] = func() bool { return false }
	t.Cleanup(func() { holds["elsewhere"] = before })
	if !allows(all, "f.go:1: it is Sunday again") || allows(all, "f.go:1: nothing to see here") || allows(all, "NO REASON GIVEN") {
		t.Error("the conditions are not those of the file")
	}
	for _, wrong := range []string{"never it rains", "always", "always  "} {
		write(wrong)
		if _, err := readAllowances(file); err == nil || !strings.Contains(err.Error(), ":1:") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// What CI goes by can be read.
func TestTheProjectsAllowances(t *testing.T) {
	if all, err := readAllowances("../../.ci/skips"); err != nil || len(all) == 0 {
		t.Error(all, err)
	}
}
