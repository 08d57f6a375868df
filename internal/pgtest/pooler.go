package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/freeport"
)

// Pooler is a pgbouncer in transaction mode in front of a cluster.
type Pooler struct{ port int }

// NewPooler starts a pgbouncer that ends with the test. Without the program the test is skipped, unless
// .ci/prepare would have installed it: then it fails.
func NewPooler(t testing.TB, c *Cluster) *Pooler {
	t.Helper()
	program := findPooler()
	if program == "" {
		const what = "pgbouncer is not installed (Debian: apt-get install pgbouncer)"
		if _, err := exec.LookPath("apt-get"); err == nil && os.Getuid() == 0 {
			t.Fatal(what + "; .ci/prepare installs it")
		}
		t.Skip(what)
	}
	port, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	dir, err := os.MkdirTemp(socketRoot(), "onceway-pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := c.programs.own(dir); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`[databases]
* = host=%s port=%d user=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 20
server_login_retry = 0.05
logfile = %s
`, c.Dir, c.Port, User, port, filepath.Join(dir, "log"))
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	command := exec.Command(program, file)
	command.Dir, command.SysProcAttr = dir, c.programs.attributes()
	exited, err := runKeeping(command)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Kill()
		<-exited
	})
	p := &Pooler{port: port}
	p.await(t, exited, filepath.Join(dir, "log"))
	return p
}

// DSN names a database behind the pooler, in the one exec mode that pgbouncer before 1.21 supports.
func (p *Pooler) DSN(database string) string {
	q := url.Values{"sslmode": {"disable"}, "default_query_exec_mode": {"exec"}}
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?%s", User, p.port, url.PathEscape(database), q.Encode())
}

func (p *Pooler) await(t testing.TB, exited <-chan struct{}, log string) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := pgx.Connect(ctx, p.DSN("postgres"))
		if err == nil {
			conn.Close(ctx)
			return
		}
		select {
		case <-retry.C:
		case <-exited:
			text, _ := os.ReadFile(log)
			t.Fatalf("pgbouncer ended at its start:\n%s", text)
		case <-ctx.Done():
			t.Fatalf("pgbouncer on port %s does not accept connections: %v", strconv.Itoa(p.port), err)
		}
	}
}

func findPooler() string {
	if path, err := exec.LookPath("pgbouncer"); err == nil {
		return path
	}
	for _, path := range []string{"/usr/sbin/pgbouncer", "/usr/local/sbin/pgbouncer"} {
		if executable(path) {
			return path
		}
	}
	return ""
}
