package main_test

import (
	"bufio"
	"net/http"
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
	gateway, printed := startDemo(t)
	steps := tour(t, string(readme))
	if len(steps) < 6 {
		t.Fatalf("the README has only %d calls", len(steps))
	}
	for _, step := range steps {
		command := strings.ReplaceAll(step.command, "http://127.0.0.1:8080", gateway)
		answer := curl(t, command)
		for _, line := range step.promised {
			if !strings.Contains("\n"+answer, "\n"+line+"\n") {
				t.Errorf("%s\ndoes not print %q but\n%s", command, line, answer)
			}
		}
	}
	playPrinted(t, printed)
	askAfterACrash(t, gateway)
}

// playPrinted plays what the demo itself prints, one call right after the other, as whoever pastes them all does.
func playPrinted(t *testing.T, printed []string) {
	t.Helper()
	statuses := []string{"201", "201", "200", "502", "200"}
	if len(printed) != len(statuses) {
		t.Fatalf("the demo prints %d calls, want %d: %q", len(printed), len(statuses), printed)
	}
	for i, command := range printed {
		if answer := curl(t, command); !strings.HasPrefix(answer, "HTTP/1.1 "+statuses[i]+" ") {
			t.Errorf("%s\nprints, instead of status %s,\n%s", command, statuses[i], answer)
		}
	}
}

// askAfterACrash asks for the orders sooner than curl can, while the backend is being started again.
func askAfterACrash(t *testing.T, gateway string) {
	t.Helper()
	crash, err := http.NewRequest(http.MethodPost, gateway+"/orders", strings.NewReader(`{"item":"tea","quantity":1}`))
	if err != nil {
		t.Fatal(err)
	}
	crash.Header.Set("Idempotency-Key", "crash")
	crash.Header.Set("Demo-Crash", "after-commit")
	resp, err := http.DefaultClient.Do(crash)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	orders, err := http.Get(gateway + "/orders")
	if err != nil {
		t.Fatal(err)
	}
	orders.Body.Close()
	if resp.StatusCode != http.StatusBadGateway || orders.StatusCode != http.StatusOK {
		t.Errorf("the crash is answered %d, and who asks then %d", resp.StatusCode, orders.StatusCode)
	}
}

func curl(t *testing.T, command string) (answer string) {
	t.Helper()
	out, err := exec.Command("sh", "-c", command+" -sS").CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.ReplaceAll(string(out), "\r", "")
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

// startDemo runs the demo until the test ends, and returns, once the story is over, the gateway's address and the
// calls that it prints.
func startDemo(t *testing.T) (gateway string, calls []string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "onceway")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped, and as other tests build it
	if out, err := build.CombinedOutput(); err != nil {
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
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "Gateway  "); ok {
			gateway, _, _ = strings.Cut(rest, " ")
		}
		if call := strings.TrimSpace(lines.Text()); strings.HasPrefix(call, "curl ") {
			calls = append(calls, call)
		} else if len(calls) > 0 {
			go func() {
				for lines.Scan() { // the demo must not block on what it prints later
				}
			}()
			return gateway, calls
		}
	}
	t.Fatal("the demo ended before its story was over")
	return "", nil
}
