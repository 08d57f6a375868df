package openapi_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// generated are the packages that are made from the documents.
var generated = []string{"reconciliation", "admin"}

// A document and its code are changed together. (One after the other: the first that runs compiles the generator.)
func TestGeneratedCodeIsThatOfTheDocuments(t *testing.T) {
	for _, name := range generated {
		made := generate(t, name, name+".yaml")
		committed, err := os.ReadFile(filepath.Join(name, name+".gen.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, committed) {
			t.Errorf("openapi/%s/%[1]s.gen.go is not what %[1]s.yaml says; run: go generate ./openapi/...", name)
		}
	}
}

// The comparison can fail: another document is other code.
func TestDriftIsNoticed(t *testing.T) {
	for _, name := range generated {
		text, err := os.ReadFile(name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), "attempts: {type: integer, minimum: 0}", "attempts: {type: string}", 1)
		path := filepath.Join(t.TempDir(), name+".yaml")
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile(filepath.Join(name, name+".gen.go"))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(generate(t, name, path), committed) {
			t.Errorf("%s: the code of another document is the same", name)
		}
	}
}

// generate runs the command of a package's go:generate line on a document, and returns what it makes.
func generate(t *testing.T, name, document string) []byte {
	t.Helper()
	source, err := os.ReadFile(filepath.Join(name, "generate.go"))
	if err != nil {
		t.Fatal(err)
	}
	_, line, ok := strings.Cut(string(source), "//go:generate ")
	line, _, _ = strings.Cut(line, "\n")
	command := strings.Fields(line)
	if !ok || !slices.Contains(command, "-o") {
		t.Fatalf("%s/generate.go has no go:generate line that says where its output goes", name)
	}
	if document, err = filepath.Abs(document); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), name+".gen.go")
	at := slices.Index(command, "-o")
	command[at+1], command[len(command)-1] = out, document
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = name
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, said)
	}
	made, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return made
}
