package e2e

import (
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

const typescript = "../../../client/typescript"

// The TypeScript client's own tests, and those that it has for a gateway, in Node.
func TestTypeScriptClient(t *testing.T) {
	t.Parallel()
	npm := lookTool(t, "npm")
	buildTypeScript(t, npm)
	runTypeScript(t, "node")
}

// The same client in a browser: tabs that are reloaded, closed, and off the network. The ledger counts.
func TestTypeScriptClientInChromium(t *testing.T) {
	t.Parallel()
	npm := lookTool(t, "npm")
	lookTool(t, "chromium", "chromium-browser", "google-chrome")
	buildTypeScript(t, npm)
	runTypeScript(t, "chromium")
}

// lookTool finds a program that .ci/prepare installs when it is root.
func lookTool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("there is no %s: .ci/prepare installs it when it is root", names[0])
	return ""
}

var typescriptBuild = sync.OnceValues(func() (string, error) {
	// Read by this process, so that go test runs the test again after a change.
	for _, dir := range []string{"src", "test", "../vectors"} {
		err := filepath.WalkDir(filepath.Join(typescript, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				_, err = os.ReadFile(path)
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	build := exec.Command("npm", "run", "build")
	build.Dir = typescript
	out, err := build.CombinedOutput()
	return string(out), err
})

// node is the one that .ci/prepare installs where the system's is too old, or the system's.
func node() string {
	own, err := filepath.Abs(filepath.Join(typescript, "node_modules", ".bin", "node"))
	if _, missing := os.Stat(own); err != nil || missing != nil {
		return "node"
	}
	return own
}

func buildTypeScript(t *testing.T, npm string) {
	t.Helper()
	version, err := exec.Command(node(), "-p", "process.versions.node.split('.')[0]").Output()
	if major, _ := strconv.Atoi(strings.TrimSpace(string(version))); err != nil || major < 20 {
		t.Skipf("the TypeScript client is tested with Node 20 or later; here it is %q (%v)", version, err)
	}
	if _, err := os.Stat(filepath.Join(typescript, "node_modules", "typescript")); err != nil {
		t.Skip("the TypeScript client's compiler is not installed: run npm ci in client/typescript, as .ci/prepare does")
	}
	if out, err := typescriptBuild(); err != nil {
		t.Fatalf("%s run build: %v\n%s", npm, err, out)
	}
}

// runTypeScript runs the client's tests of one group against a gateway and a ledger of their own. Nothing may
// have been executed twice at the end, whatever the tests themselves looked at.
func runTypeScript(t *testing.T, group string) {
	t.Helper()
	pages := httptest.NewServer(http.FileServer(http.Dir(typescript)))
	defer pages.Close()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "cors: {origins: [" + pages.URL + "]}"})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	relay := between(t, g.Addr, nemesis.First(cuts(seed, 100)...))
	tests, err := filepath.Glob(filepath.Join(typescript, "build", group, "*.test.js"))
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests: %v", err)
	}
	for i, path := range tests {
		tests[i], _ = filepath.Rel(typescript, path)
	}
	run := exec.CommandContext(t.Context(), node(), append([]string{"--test", "--test-reporter=spec", "--test-timeout=300000"}, tests...)...)
	run.Dir = typescript
	run.Env = append(os.Environ(), "TEST_GATEWAY=http://"+g.Addr, "TEST_TUNNEL=http://"+relay.Addr(), "TEST_PAGES="+pages.URL, "TEST_GATES="+b.Control(), "TEST_LEDGER="+b.Book())
	out, err := run.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nℹ skipped 0\n") {
		t.Fatalf("%v: %v\n%s", run.Args, err, out)
	}
	t.Logf("%s", out)
	counts := map[string]int{}
	for _, e := range b.Of(t, ledger.Effect, "") {
		counts[e.Key]++
	}
	for key, n := range counts {
		if n != 1 {
			t.Errorf("%s was executed %d times", key, n)
		}
	}
	if len(counts) < 5 {
		t.Errorf("only %d keys were executed: these tests did not use the gateway", len(counts))
	}
}

// cuts are plans that end connections after a random number of bytes, in either direction.
func cuts(seed uint64, n int) []nemesis.Plan {
	dice := rand.New(rand.NewPCG(seed, 0))
	plans := make([]nemesis.Plan, n)
	for i := range plans {
		f := nemesis.Flow{After: dice.Int64N(500), Fault: []nemesis.Fault{nemesis.CutFIN, nemesis.CutRST}[dice.IntN(2)]}
		if dice.IntN(2) == 0 {
			plans[i].Up = f
		} else {
			plans[i].Down = f
		}
	}
	return plans
}
