package e2e

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go/ast"
)

// Every row of docs/scenarios.md names a test, and every test that the page names exists.
func TestScenariosAreTests(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..")
	exist := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil {
				exist[f.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "scenarios.md"))
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	rows, heading := 0, true
	for line := range strings.Lines(string(page)) {
		for _, found := range name.FindAllStringSubmatch(line, -1) {
			if !exist[found[1]] {
				t.Errorf("there is no %s", found[1])
			}
		}
		row := strings.HasPrefix(line, "|")
		if row && !heading && !strings.HasPrefix(line, "| ---") {
			rows++
			if !name.MatchString(line) {
				t.Errorf("no test: %s", line)
			}
		}
		heading = !row
	}
	if rows < 40 {
		t.Errorf("only %d rows", rows)
	}
}
