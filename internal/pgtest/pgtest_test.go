package pgtest

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func query[T any](t *testing.T, dsn, sql string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var v T
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNewGivesFreshDatabases(t *testing.T) {
	a, b := New(t), New(t)
	if x, y := query[string](t, a, "SELECT current_database()"), query[string](t, b, "SELECT current_database()"); x == y {
		t.Fatalf("both are %s", x)
	}
}

func TestClusterKeepsItsDataOverACrash(t *testing.T) {
	c := NewCluster(t, Config{TCP: true})
	if got := query[string](t, c.DSN("postgres"), "SHOW fsync"); got != "on" {
		t.Fatalf("fsync is %s", got)
	}
	execute(t, c.DSN("postgres"), "CREATE TABLE kept AS SELECT 42 AS v")
	c.Restart(t, Immediate)
	if got := query[int](t, c.TCPDSN("postgres"), "SELECT v FROM kept"); got != 42 {
		t.Fatalf("read %d", got)
	}
}

// The helper process below is killed; nothing may be left of its cluster.
func TestClusterEndsWithItsProcess(t *testing.T) {
	if os.Getenv("PGTEST_VICTIM") != "" {
		c, err := shared()
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString(c.Dir + "\n")
		select {}
	}
	victim := exec.Command(os.Args[0], "-test.run=^TestClusterEndsWithItsProcess$")
	victim.Env = append(os.Environ(), "PGTEST_VICTIM=1")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the helper process printed no directory")
	}
	dir := lines.Text()
	victim.Process.Kill()
	victim.Wait()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("%s is still there", dir)
		}
	}
}

func TestWithDatabase(t *testing.T) {
	for _, c := range []struct{ dsn, want string }{
		{"postgres://u:p@h:1/a?sslmode=disable", "postgres://u:p@h:1/b?sslmode=disable"},
		{"postgresql:///a?host=%2Ftmp&dbname=a", "postgresql:///b?host=%2Ftmp"},
		{"host=h user=u dbname=a", "host=h user=u dbname=a dbname=b"},
	} {
		if got := withDatabase(c.dsn, "b"); got != c.want {
			t.Errorf("withDatabase(%q) = %q, want %q", c.dsn, got, c.want)
		}
	}
}

func TestStandbyIsPromoted(t *testing.T) {
	primary := NewCluster(t, Config{TCP: true, Settings: map[string]string{"fsync": "off"}})
	standby := NewStandby(t, primary)
	if !query[bool](t, standby.DSN("postgres"), "SELECT pg_is_in_recovery()") {
		t.Error("the standby is none")
	}
	execute(t, primary.DSN("postgres"), "CREATE TABLE kept AS SELECT 42 AS v")
	dsn := HostListDSN("postgres", standby, primary)
	if got := query[int](t, dsn, "SELECT current_setting('port')::integer"); got != primary.Port {
		t.Errorf("connected to port %d, the primary's is %d", got, primary.Port)
	}
	primary.Stop(Fast)
	standby.Promote(t)
	if got := query[int](t, dsn, "SELECT v FROM kept"); got != 42 {
		t.Errorf("read %d", got)
	}
}

func TestPoolerIsInTransactionMode(t *testing.T) {
	c := NewCluster(t, Config{Settings: map[string]string{"fsync": "off"}})
	p := NewPooler(t, c)
	if got := query[string](t, p.DSN("postgres"), "SELECT current_user"); got != User {
		t.Errorf("user %s", got)
	}
}
