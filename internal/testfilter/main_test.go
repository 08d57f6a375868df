package main

import (
	"strings"
	"testing"
)

func TestFilter(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   string
		ok   bool
		out  []string
		not  string
	}{
		{"pass", `{"Action":"output","Package":"p","Test":"T","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"T"}
{"Action":"pass","Package":"p","Elapsed":1.5}`, true, []string{"ok    p", "1 passed, 0 failed, 0 skipped"}, "noise"},
		{"fail", `{"Action":"output","Package":"p","Test":"T","Output":"f.go:1: why\n"}
{"Action":"fail","Package":"p","Test":"T"}
{"Action":"pass","Package":"q"}`, false, []string{"f.go:1: why", "1 failed"}, "NO REASON"},
		{"skip", `{"Action":"output","Package":"p","Test":"T","Output":"=== RUN   T\n"}
{"Action":"output","Package":"p","Test":"T","Output":"    f.go:1: needs root\n"}
{"Action":"output","Package":"p","Test":"T","Output":"--- SKIP: T (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"T"}
{"Action":"skip","Package":"none"}
{"Action":"pass","Package":"p"}`, true, []string{"SKIP  p T: f.go:1: needs root\n", "1 skipped"}, "none"},
		{"skip that may not be", `{"Action":"output","Package":"p","Test":"T","Output":"    f.go:1: unwell\n"}
{"Action":"skip","Package":"p","Test":"T"}
{"Action":"pass","Package":"p"}`, false, []string{"SKIP  p T: f.go:1: unwell (NOT ALLOWED HERE)", "0 failed, 1 skipped"}, ""},
		{"skip without a reason", `{"Action":"skip","Package":"p","Test":"T"}
{"Action":"pass","Package":"p"}`, true, []string{"SKIP  p T: NO REASON GIVEN"}, ""},
		{"build", `{"ImportPath":"p","Action":"build-output","Output":"f.go:1: syntax\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"pass","Package":"q"}`, false, []string{"f.go:1: syntax"}, ""},
		{"crash", `{"Action":"output","Package":"p","Test":"T","Output":"panic: why\n"}
{"Action":"fail","Package":"p"}`, false, []string{"panic: why", "1 failed"}, ""},
		{"nothing", "", false, []string{"0 passed"}, ""},
		{"not JSON", "go: updates to go.mod needed", false, []string{"updates to go.mod needed"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			ok, err := filter(strings.NewReader(tt.in), &out, func(reason string) bool { return !strings.Contains(reason, "unwell") })
			if ok != tt.ok || err != nil {
				t.Errorf("ok %v, want %v; %v", ok, tt.ok, err)
			}
			for _, want := range tt.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("%q is missing in %q", want, out.String())
				}
			}
			if tt.not != "" && strings.Contains(out.String(), tt.not) {
				t.Errorf("%q is in %q", tt.not, out.String())
			}
		})
	}
}
