package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// The commands that docs/operations.md prints for settling a record by hand do what it says.
func TestTheDocumentedWayToSettle(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "### Settling one by hand")
	_, commands, found := strings.Cut(section, "```sh\n")
	commands, _, ended := strings.Cut(commands, "```")
	if !found || !ended {
		t.Fatal("docs/operations.md has no commands for settling a record")
	}
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Admin: rig.Tokens("alice")})
	dir := t.TempDir()
	if err := os.Symlink(rig.Binary(t), filepath.Join(dir, "onceway")); err != nil {
		t.Fatal(err)
	}
	sh := exec.CommandContext(t.Context(), "sh", "-e", "-c", commands)
	sh.Dir = dir
	sh.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "ONCEWAY_ADMIN_LISTEN="+g.Admin, "ONCEWAY_ADMIN_TOKEN="+rig.Token("alice"))
	var requests []rig.Request
	for _, name := range []string{"OPERATION", "SECOND", "THIRD"} {
		r := lostAnswer(t, g)
		requests = append(requests, r)
		sh.Env = append(sh.Env, name+"="+operationOf(t, g, r.Key))
	}
	out, err := sh.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	a := g.Do(t, requests[0])
	a.Is(t, with(replayed, 201))
	if a.Body != "{\"order\":4711}\n" || a.Header.Get("Idempotency-Resolved") != "operator" {
		t.Errorf("%v %q", a.Header, a.Body)
	}
	g.Do(t, requests[1]).Is(t, isForgotten)
	requests[2].Script = ledger.Script{Status: 201}
	g.Do(t, requests[2]).Is(t, with(executed, 201))
	if !strings.Contains(string(out), `"by": "alice"`) {
		t.Errorf("the last command does not show who, when and why:\n%s", out)
	}
}
