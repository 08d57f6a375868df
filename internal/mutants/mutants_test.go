package main

import (
	"strings"
	"testing"
)

// A mutant whose text is no longer in its file breaks nothing, and would prove nothing.
func TestEveryMutantApplies(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("two mutants are called %q", m.name)
		}
		names[m.name] = true
		if _, err := m.apply(root); err != nil {
			t.Error(err)
		}
		if m.pkg == "" || m.test == "" || strings.Contains(m.test, " ") {
			t.Errorf("%s: %q of %q is no test", m.name, m.test, m.pkg)
		}
	}
}

// A few are tried in every run; all of them by make mutants.
func TestQuickMutantsAreCaught(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the core anew for each mutant")
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutants {
		if !m.quick {
			continue
		}
		caught, err := m.try(t.Context(), root)
		if err != nil {
			t.Error(err)
		}
		t.Logf("%s: caught by %s %s", m.name, m.pkg, shorten(caught))
	}
}

func TestJudge(t *testing.T) {
	m := mutant{name: "broken", pkg: "idempotency", test: "TestIt", says: "I1 "}
	for name, test := range map[string]struct {
		out    string
		failed bool
		want   string // caught, or what the error has to contain
	}{
		"caught":           {`{"Action":"output","Output":"I1 at most once"}` + "\n" + `{"Action":"fail","Test":"TestIt"}`, true, "TestIt"},
		"caught below":     {`{"Action":"output","Output":"I1 at most once"}` + "\n" + `{"Action":"fail","Test":"TestIt/a"}` + "\n" + `{"Action":"fail","Test":"TestIt"}`, true, "TestIt/a"},
		"survives":         {`{"Action":"pass","Test":"TestIt"}`, false, "survives"},
		"another reason":   {`{"Action":"output","Output":"I2"}` + "\n" + `{"Action":"fail","Test":"TestIt"}`, true, "does not say"},
		"does not compile": {`{"Action":"build-fail"}`, true, "does not compile"},
		"no binary":        {`{"Action":"output","Output":"I1 go build: exit status 1"}` + "\n" + `{"Action":"fail","Test":"TestIt"}`, true, "does not compile"},
		"no such test":     {`{"Action":"output","Output":"testing: warning: no tests to run"}`, false, "there is no test"},
		"hangs":            {`{"Action":"output","Output":"I1 \npanic: test timed out after 5m0s\n"}`, true, "TestIt (panic: test timed out after 5m0s)"},
		"fails in silence": {`{"Action":"output","Output":"I1 "}`, true, "without a test"},
	} {
		t.Run(name, func(t *testing.T) {
			caught, err := m.judge([]byte(test.out), test.failed)
			got := strings.Join(caught, ", ")
			if err != nil {
				got = err.Error()
			}
			if err == nil && got != test.want || !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
