package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// allowance says where a test may be skipped for a reason: a line of a file, a condition and a part of the
// reason. Conditions are those of holds.
type allowance struct{ condition, reason string }

// readAllowances reads a file of them. Empty lines and lines that begin with # do not count.
func readAllowances(path string) ([]allowance, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var all []allowance
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		condition, reason, _ := strings.Cut(line, " ")
		if _, known := holds[condition]; !known || strings.TrimSpace(reason) == "" {
			return nil, fmt.Errorf("%s:%d: want a condition and a part of the reason", path, n)
		}
		all = append(all, allowance{condition, strings.TrimSpace(reason)})
	}
	return all, lines.Err()
}

// allows reports whether a test may be skipped for a reason here.
func allows(all []allowance, reason string) bool {
	for _, a := range all {
		if strings.Contains(reason, a.reason) && holds[a.condition]() {
			return true
		}
	}
	return false
}

// holds are the conditions: facts about the machine that are not the tests' own word.
var holds = map[string]func() bool{
	"always":       func() bool { return true },
	"root":         func() bool { return os.Getuid() == 0 },
	"unprivileged": func() bool { return !mayAdminister() },
	"elsewhere":    func() bool { return runtime.GOOS != "linux" },
}

// mayAdminister reports whether this process has CAP_SYS_ADMIN (capabilities(7)), without which nothing can
// be mounted.
func mayAdminister() bool {
	const sysAdmin = 21
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && n&(1<<sysAdmin) != 0
		}
	}
	return false
}
