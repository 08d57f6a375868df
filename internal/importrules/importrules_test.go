package importrules

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// list asks the go command for everything that the module links in.
func list(t *testing.T) []Package {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", Module+"/...")
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var packages []Package
	for d := json.NewDecoder(out); ; {
		var p Package
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	return packages
}

func TestRules(t *testing.T) {
	packages := list(t)
	for _, room := range []string{"idempotency", "gateway", "cmd/onceway"} {
		if !slices.ContainsFunc(packages, func(p Package) bool { return p.ImportPath == Module+"/"+room && len(p.Deps) > 0 }) {
			t.Fatalf("go list does not show %s: nothing is checked", room)
		}
	}
	for _, line := range Check(packages) {
		t.Error(line)
	}
}

// TestEnvironment: only the command reads the environment. What tells its machine apart (internal,
// bench, tests) may, too.
func TestEnvironment(t *testing.T) {
	root := filepath.Join("..", "..")
	for _, room := range []string{"gateway", "idempotency", "migrations"} {
		err := filepath.WalkDir(filepath.Join(root, room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "storetest") {
				return err
			}
			for _, name := range environment(t, path, nil) {
				t.Errorf("%s calls os.%s", path, name)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// environment returns which functions that read the environment a file calls. src may be nil.
func environment(t *testing.T, path string, src any) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, src, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range selectors(file, "os") {
		switch name {
		case "Getenv", "LookupEnv", "Environ", "ExpandEnv":
			names = append(names, name)
		}
	}
	return names
}

func TestEnvironmentIsFound(t *testing.T) {
	got := environment(t, "f.go", "package f\nimport \"os\"\nvar a, b = os.Getenv(\"A\"), os.Args\nfunc f() { os.LookupEnv(\"B\") }\n")
	if !slices.Equal(got, []string{"Getenv", "LookupEnv"}) {
		t.Errorf("found %q", got)
	}
}

// TestViolationsAreFound proves that the checker can fail: each module here breaks one rule.
func TestViolationsAreFound(t *testing.T) {
	std := []Package{{ImportPath: "fmt", Standard: true}, {ImportPath: "net/http", Standard: true}, {ImportPath: "database/sql", Standard: true}}
	for _, tt := range []struct {
		path    string
		deps    []string
		imports []string
		want    string
	}{
		{"idempotency", []string{"fmt"}, nil, ""},
		{"idempotency", []string{"net/http"}, nil, "idempotency knows net/http"},
		{"idempotency", []string{"database/sql"}, nil, "idempotency knows database/sql"},
		{"idempotency", []string{"github.com/google/uuid"}, nil, "idempotency knows github.com/google/uuid, which is not the standard library"},
		{"idempotency", []string{Module + "/gateway/problem"}, nil, "idempotency knows the room of gateway/problem"},
		{"idempotency", []string{Module + "/idempotency/postgres"}, nil, "idempotency knows the room of idempotency/postgres"},
		{"idempotency/postgres", []string{Module + "/idempotency", "github.com/jackc/pgx/v5"}, nil, ""},
		{"idempotency/postgres", []string{Module + "/gateway"}, nil, "idempotency/postgres knows the room of gateway"},
		{"idempotency/postgres", []string{Module + "/idempotency/sqlite"}, nil, "idempotency/postgres knows the room of idempotency/sqlite"},
		{"idempotency/sqlite", []string{"github.com/labstack/echo/v4"}, nil, "idempotency/sqlite knows github.com/labstack/echo/v4"},
		{"idempotency/sqlite", []string{"net/http"}, nil, ""},
		{"idempotency/sqlite", []string{"net/http"}, []string{"net/http"}, "idempotency/sqlite knows net/http"},
		{"idempotency/participant", []string{Module + "/idempotency", "net/http", "database/sql", "github.com/jackc/pgx/v5"}, nil, ""},
		{"idempotency/participant", []string{"modernc.org/sqlite"}, nil, "idempotency/participant knows modernc.org/sqlite"},
		{"gateway/admin", []string{Module + "/idempotency", Module + "/gateway/problem", "net/http", "github.com/labstack/echo/v4"}, nil, ""},
		{"gateway/admin", []string{Module + "/idempotency/postgres"}, nil, "gateway/admin knows the room of idempotency/postgres"},
		{"gateway/admin", []string{Module + "/migrations"}, nil, "gateway/admin knows the room of migrations"},
		{"gateway/admin", []string{"go.opentelemetry.io/otel/sdk/trace"}, nil, "gateway/admin knows go.opentelemetry.io/otel/sdk/trace"},
		{"gateway/admin", []string{"go.opentelemetry.io/otel/trace"}, nil, ""},
		{"gateway", []string{Module + "/cmd/onceway"}, nil, "gateway knows cmd/onceway, which nobody may"},
		{"migrations", []string{Module + "/gateway/config"}, nil, "migrations knows the room of gateway/config"},
		{"internal/ledger", []string{Module + "/idempotency/postgres"}, nil, "internal/ledger knows the room of idempotency/postgres"},
		{"cmd/onceway", []string{Module + "/gateway", Module + "/idempotency/postgres", "go.opentelemetry.io/otel/sdk/trace"}, nil, ""},
		{"kitchen", nil, nil, "kitchen is in a room that has no rule"},
	} {
		got := strings.Join(Check(append(std, Package{ImportPath: Module + "/" + tt.path, Deps: tt.deps, Imports: tt.imports})), "; ")
		if got != tt.want {
			t.Errorf("%s with %q: %q, want %q", tt.path, tt.deps, got, tt.want)
		}
	}
}
