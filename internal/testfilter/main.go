// Command testfilter makes the output of go test -json short: a line for each package, the output of
// what failed, and at the end each skipped test with its reason, so that no test goes missing unseen.
// It exits 1 if anything failed, if it was given nothing to read, or, with -skips, if a test was skipped
// that the file named there does not allow to be.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	skips := flag.String("skips", "", "file that says which tests may be skipped; without it all may")
	flag.Parse()
	mayBe := func(string) bool { return true }
	if *skips != "" {
		all, err := readAllowances(*skips)
		if err != nil {
			fmt.Fprintln(os.Stderr, "testfilter:", err)
			os.Exit(1)
		}
		mayBe = func(reason string) bool { return allows(all, reason) }
	}
	ok, err := filter(os.Stdin, os.Stdout, mayBe)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testfilter:", err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}

// event is one line of go test -json (go doc test2json, and go help buildjson for builds).
type event struct {
	Action     string
	Package    string
	ImportPath string // of a build
	Test       string
	Output     string
	Elapsed    float64
}

type test struct{ pkg, name string }

// filter reports whether everything passed, and nothing was skipped that may not be. A line that is not JSON is passed on.
func filter(in io.Reader, out io.Writer, mayBeSkipped func(reason string) bool) (ok bool, err error) {
	output := map[test]string{}
	var skipped []string
	passed, failed, unexpected := 0, 0, 0
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Fprintln(out, lines.Text())
			continue
		}
		at := test{e.Package, e.Test}
		switch e.Action {
		case "output":
			output[at] += e.Output
			continue
		case "build-output":
			fmt.Fprint(out, e.Output)
		case "build-fail":
			failed++
		case "fail":
			failed++
			if e.Test == "" {
				// What a crashed process left unfinished has no verdict of its own.
				for left, text := range output {
					if left.pkg == e.Package && left.name != "" {
						fmt.Fprint(out, text)
						delete(output, left)
					}
				}
			}
			fmt.Fprint(out, output[at])
		case "skip":
			if e.Test != "" {
				why := reason(output[at])
				line := fmt.Sprintf("%s %s: %s", e.Package, e.Test, why)
				if !mayBeSkipped(why) {
					unexpected++
					line += " (NOT ALLOWED HERE)"
				}
				skipped = append(skipped, line)
			}
		case "pass":
			if e.Test == "" {
				fmt.Fprintf(out, "ok    %-60s %6.1fs\n", e.Package, e.Elapsed)
				continue
			}
			passed++
		}
		if e.Action == "pass" || e.Action == "fail" || e.Action == "skip" {
			delete(output, at)
		}
	}
	if err := lines.Err(); err != nil {
		return false, err
	}
	slices.Sort(skipped)
	for _, s := range skipped {
		fmt.Fprintln(out, "SKIP ", s)
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", passed, failed, len(skipped))
	return failed == 0 && unexpected == 0 && passed+len(skipped) > 0, nil
}

// reason is what a skipped test said, without go test's own lines.
func reason(output string) string {
	var said []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "=== ") && !strings.HasPrefix(line, "--- ") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return "NO REASON GIVEN"
	}
	return strings.Join(said, " ")
}
