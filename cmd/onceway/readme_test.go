package main_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadmeTour plays the curl lines of the README, as printed, against `onceway demo`, and looks for
// what the comments below each of them promise.
func TestReadmeTour(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	gateway := startDemo(t)
	steps := tour(t, string(readme))
	if len(steps) < 6 {
		t.Fatalf("the README has only %d calls", len(steps))
	}
	for _, step := range steps {
		command := strings.ReplaceAll(step.command, "http://127.0.0.1:8080", gateway)
		out, err := exec.Command("sh", "-c", command+" -sS").CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		answer := strings.ReplaceAll(string(out), "\r", "")
		for _, line := range step.promised {
			if !strings.Contains("\n"+answer, "\n"+line+"\n") {
				t.Errorf("%s\ndoes not print %q but\n%s", command, line, answer)
			}
		}
	}
}

type step struct {
	command  string
	promised []string
}

// tour cuts the calls out of the README's section with curl: a command may go on over lines, and what
// must appear in the answer stands below it, as comments that look like HTTP.
func tour(t *testing.T, readme string) (steps []step) {
	t.Helper()
	_, section, _ := strings.Cut(readme, "## Five minutes with curl")
	_, section, _ = strings.Cut(section, "```sh\n")
	block, _, ok := strings.Cut(section, "```")
	if !ok {
		t.Fatal("the README has no tour")
	}
	promise := regexp.MustCompile(`^# (HTTP/1\.1 .*|[A-Z][A-Za-z-]+: .*)$`)
	for line := range strings.Lines(block) {
		line = strings.TrimSuffix(line, "\n")
		switch last := len(steps) - 1; {
		case strings.HasPrefix(line, "curl "):
			steps = append(steps, step{command: line})
		case strings.HasPrefix(line, "  ") && last >= 0:
			steps[last].command = strings.TrimSuffix(steps[last].command, `\`) + line
		case promise.MatchString(line) && last >= 0:
			steps[last].promised = append(steps[last].promised, strings.TrimPrefix(line, "# "))
		}
	}
	return steps
}

// startDemo runs the demo until the test ends, and returns the gateway's address once the story is over.
func startDemo(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "onceway")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	demo := exec.Command(binary, "demo")
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	demo.Stderr = os.Stderr
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = demo.Process.Signal(os.Interrupt)
		if err := demo.Wait(); err != nil {
			t.Errorf("demo: %v", err)
		}
	})
	var gateway string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "Gateway  "); ok {
			gateway, _, _ = strings.Cut(rest, " ")
		}
		if strings.HasPrefix(lines.Text(), "Now you.") {
			go func() {
				for lines.Scan() { // the demo must not block on what it prints later
				}
			}()
			return gateway
		}
	}
	t.Fatal("the demo ended before its story was over")
	return ""
}
