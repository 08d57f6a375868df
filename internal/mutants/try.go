package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// try runs the test that has to notice m and returns the tests that did. An error says that none did, or
// that it is no gateway at all.
func (m mutant) try(ctx context.Context, root string) (caught []string, err error) {
	dir, err := os.MkdirTemp("", "onceway-mutant-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	overlay, err := m.overlay(root, dir)
	if err != nil {
		return nil, err
	}
	within := cmp.Or(m.within, 5*time.Minute)
	args := []string{"test", "-json", "-count=1", "-vet=off", "-timeout", within.String(), "-run", "^(" + m.test + ")$", "./" + m.pkg}
	args = append(args, m.args...)
	cgo := "0" // as what is shipped; only the race detector needs it
	if slices.Contains(m.args, "-race") {
		cgo = "1"
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = root
	// By the environment, so that it also holds for what the tests build.
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo, strings.TrimSpace("GOFLAGS="+os.Getenv("GOFLAGS")+" -overlay="+overlay))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	return m.judge(out, err != nil)
}

// judge reads what go test -json said.
func (m mutant) judge(out []byte, failed bool) (caught []string, err error) {
	var said strings.Builder
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		said.WriteString(e.Output)
		switch e.Action {
		case "build-fail":
			return nil, fmt.Errorf("%s does not compile:\n%s", m.name, start(said.String()))
		case "fail":
			if e.Test != "" && !slices.Contains(caught, e.Test) {
				caught = append(caught, e.Test)
			}
		}
	}
	switch {
	case strings.Contains(said.String(), "go build: exit status"): // by a test that builds the gateway itself
		return nil, fmt.Errorf("%s does not compile:\n%s", m.name, start(said.String()))
	case strings.Contains(said.String(), "no tests to run"):
		return nil, fmt.Errorf("%s: there is no test %s in %s", m.name, m.test, m.pkg)
	case !failed:
		return nil, fmt.Errorf("%s survives %s of %s", m.name, m.test, m.pkg)
	case !strings.Contains(said.String(), m.says):
		return nil, fmt.Errorf("%s makes %s fail, but it does not say %q:\n%s", m.name, m.test, m.says, start(said.String()))
	case len(caught) == 0:
		// A process that is ended by a panic or its time leaves its tests without a verdict.
		if ended := regexp.MustCompile(`(?m)^(panic: .*|.*DATA RACE.*|fatal error: .*)$`).FindString(said.String()); ended != "" {
			return []string{m.test + " (" + ended + ")"}, nil
		}
		return nil, fmt.Errorf("%s makes %s fail without a test that does:\n%s", m.name, m.pkg, start(said.String()))
	}
	return leaves(caught), nil
}

// start is enough of an output to see what it is about.
func start(output string) string {
	lines := strings.SplitN(output, "\n", 31)
	return strings.Join(lines[:min(len(lines), 30)], "\n")
}

// leaves drops the tests of which a subtest is named.
func leaves(tests []string) []string {
	return slices.DeleteFunc(tests, func(t string) bool {
		return slices.ContainsFunc(tests, func(o string) bool { return strings.HasPrefix(o, t+"/") })
	})
}

// moduleRoot is the directory of go.mod, from the working directory upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			return "", errors.New("not inside the module")
		}
		dir = filepath.Dir(dir)
	}
}
