package e2e

import (
	"bufio"
	"context"
	"database/sql"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

func TestDemoPlaysItsStory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	code, out, errs := rig.Run(t, dir, "demo", "--once")
	if code != 0 {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Nothing is left behind either where the story's reader leaves, as with demo | head.
func TestTheDemosReaderLeaves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), rig.Binary(t), "demo")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Error(err)
	}
	out.Close()
	_ = cmd.Wait() // the story was not told to its end
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const valid = "version: 1\nlisten: 127.0.0.1:0\nadmin: {listen: 127.0.0.1:0}\ncaller: {none: {}}\nupstreams: {a: {targets: [http://127.0.0.1:9]}}\nroutes: [{name: a, match: {path: /**}, upstream: a}]\n"
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"version":              {[]string{"version"}, 0, ""},
		"unknown flag":         {[]string{"serve", "--nope"}, 2, "nope"},
		"unknown verb":         {[]string{"nope"}, 2, "nope"},
		"no verb":              {[]string{}, 2, ""},
		"argument":             {[]string{"serve", "x"}, 2, ""},
		"no configuration":     {[]string{"serve"}, 3, "--upstream"},
		"no file":              {[]string{"serve", "--config", filepath.Join(dir, "nothing.yaml")}, 3, "nothing.yaml"},
		"not available":        {[]string{"serve", "--config", write("new.yaml", valid+"tls: {cert: a, key: b, client_ca: c}\n")}, 3, "not available"},
		"no certificate":       {[]string{"serve", "--config", write("cert.yaml", valid+"tls: {cert: nothing.pem, key: b}\n")}, 3, "cert.yaml:7: tls.cert: cannot be read: no such file or directory; name a PEM file"},
		"key not readable":     {[]string{"config", "check", "--config", write("key.yaml", valid+"tls: {cert: valid.yaml, key: .}\n")}, 3, "key.yaml:7: tls.key: cannot be read: is a directory"},
		"valid":                {[]string{"config", "check", "--config", write("valid.yaml", valid)}, 0, ""},
		"store unreachable":    {[]string{"serve", "--config", write("pg.yaml", valid+"store: postgres://127.0.0.1:1/x?connect_timeout=2\n")}, 4, "store"},
		"no DSN":               {[]string{"serve", "--config", write("dsn.yaml", valid+"store: postgres://u:CANARY@127.0.0.1:1/x?pool_max_conns=CANARY\n")}, 3, "dsn.yaml:7: store: is refused by the Postgres driver for its parameter pool_max_conns; it is postgres://"},
		"no DSN, by itself":    {[]string{"config", "check", "--config", write("port.yaml", valid+"store: postgres://u:CANARY@127.0.0.1:99999/x\n")}, 3, "port.yaml:7: store: is refused by the Postgres driver; it is postgres://"},
		"no DSN to migrate":    {[]string{"migrate", "up", "--store", "postgres://127.0.0.1:1/x?sslmode=CANARY"}, 3, "--store: store: is refused by the Postgres driver for its parameter sslmode"},
		"store in no place":    {[]string{"serve", "--config", write("lite.yaml", valid+"store: sqlite:nothing/here/onceway.db\n")}, 4, "store"},
		"port in use":          {[]string{"serve", "--config", write("busy.yaml", strings.Replace(valid, "listen: 127.0.0.1:0", "listen: "+nobody.Addr().String(), 1))}, 1, "listen"},
		"status without store": {[]string{"migrate", "status", "--store", "postgres://127.0.0.1:1/x?connect_timeout=2"}, 4, "store"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errs := rig.Run(t, dir, c.args...)
			if code != c.code || !strings.Contains(errs, c.says) {
				t.Errorf("exit code %d, want %d saying %q\n%s\n%s", code, c.code, c.says, out, errs)
			}
			if strings.Contains(errs, "goroutine") || strings.Contains(errs, "CANARY") {
				t.Errorf("%s", errs)
			}
		})
	}
}

// All that is wrong is said at once, each with its place.
func TestConfigurationErrorsComeAllAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "bad.yaml")
	text := `version: 1
listen: nowhere
leese: 10s
store_timeout: soon
caller: {none: {}}
upstreams:
  a: {targets: [ftp://x]}
routes:
  - {name: a, match: {path: orders}, upstream: b}
  - {name: a, match: {path: /**}, upstream: a, idempotency: {not_executed_statuses: [503]}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range [][]string{{"serve"}, {"config", "check"}} {
		code, _, errs := rig.Run(t, dir, append(verb, "--config", path)...)
		if code != 3 {
			t.Errorf("exit code %d", code)
		}
		for _, line := range []string{"2", "3", "4", "7", "9", "10"} {
			if !regexp.MustCompile(`bad\.yaml:` + line + `\b`).MatchString(errs) {
				t.Errorf("nothing is said about line %s:\n%s", line, errs)
			}
		}
		if !strings.Contains(errs, "lease") {
			t.Errorf("no hint for leese:\n%s", errs)
		}
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		verb := func(want int, args ...string) {
			t.Helper()
			code, out, errs := rig.Run(t, t.TempDir(), append(args, "--store", dsn)...)
			if code != want {
				t.Errorf("%v: exit code %d, want %d\n%s\n%s", args, code, want, out, errs)
			}
		}
		serve := []string{"serve", "--upstream", b.URL(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}
		postgres := strings.HasPrefix(dsn, "postgres")
		if postgres {
			verb(4, "migrate", "status")
			verb(4, serve...) // unmigrated, and nobody said --migrate
		}
		verb(0, "migrate", "up")
		verb(0, "migrate", "up")
		verb(0, "migrate", "status")
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		r := rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, r).Is(t, executed)
		g.Kill(t)
		verb(0, "migrate", "up")
		g.Start(t)
		g.Do(t, r).Is(t, replayed)
		g.Kill(t)

		schema(t, dsn, "UPDATE schema_migrations SET dirty = true")
		verb(4, "migrate", "status")
		verb(4, serve...)
		schema(t, dsn, "UPDATE schema_migrations SET dirty = false, version = version + 90")
		verb(4, "migrate", "status")
		verb(4, serve...)
		if postgres {
			verb(4, append(serve, "--migrate")...)
		}
		schema(t, dsn, "UPDATE schema_migrations SET version = version - 90")
		verb(0, "migrate", "status")
		g.Start(t)
		g.Do(t, r).Is(t, replayed)
		g.Kill(t)
		wantEffects(t, b, r.Key, 1)
		verb(0, "migrate", "down")
		if postgres {
			verb(4, "migrate", "status")
			verb(4, serve...) // older
		}
	})
}

func schema(t *testing.T, dsn, statement string) {
	t.Helper()
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
		return
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// Two gateways on one SQLite file would each believe to be alone.
func TestOneGatewayPerFile(t *testing.T) {
	t.Parallel()
	dsn := rig.Stores[0].New(t)
	rig.Serve(t, rig.Config{Store: dsn, Targets: []string{"http://127.0.0.1:9"}})
	code, _, errs := rig.Run(t, t.TempDir(), "serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--store", dsn)
	if code != 4 {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}

// The password of a store is in no message.
func TestPasswordsAreNotPrinted(t *testing.T) {
	t.Parallel()
	code, out, errs := rig.Run(t, t.TempDir(), "serve", "--upstream", "http://127.0.0.1:9", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0",
		"--store", "postgres://u:hunter2@127.0.0.1:1/x?connect_timeout=2")
	if code != 4 || strings.Contains(out+errs, "hunter2") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}
