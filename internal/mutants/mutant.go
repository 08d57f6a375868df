package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// mutant is one broken gateway.
type mutant struct {
	name  string
	file  string // relative to the module's root
	edits []edit
	pkg   string   // whose tests notice
	test  string   // the test that has to fail, as for go test -run
	args  []string // of its test binary
	says  string   // what it has to say; empty means anything
	quick bool     // is tried in every test run

	within time.Duration // how long the test may take; one that hangs has noticed, too. 0 means 5 minutes
}

// edit replaces the only occurrence of old.
type edit struct{ old, new string }

func change(old, new string) []edit { return []edit{{old, new}} }

// apply returns the changed text of the mutant's file.
func (m mutant) apply(root string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", err
	}
	text := string(content)
	for _, e := range m.edits {
		if n := strings.Count(text, e.old); n != 1 {
			return "", fmt.Errorf("%s: %q is %d times in %s, not once: adapt the mutant to the code that it breaks",
				m.name, e.old, n, m.file)
		}
		text = strings.Replace(text, e.old, e.new, 1)
	}
	return text, nil
}

// overlay writes what go's -overlay flag wants into dir and returns the name of that file.
func (m mutant) overlay(root, dir string) (string, error) {
	text, err := m.apply(root)
	if err != nil {
		return "", err
	}
	changed := filepath.Join(dir, filepath.Base(m.file))
	if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
		return "", err
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.file): changed}})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, replace, 0o600)
}
