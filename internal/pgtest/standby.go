package pgtest

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"
)

// NewStandby starts a streaming standby of a running cluster, which is removed at the end of the test.
// It replicates asynchronously, unless the primary's synchronous_standby_names says otherwise.
func NewStandby(t testing.TB, primary *Cluster) *Cluster {
	t.Helper()
	s, err := createStandby(primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	s.Start(t)
	return s
}

func createStandby(primary *Cluster) (*Cluster, error) {
	s, err := newCluster(primary.config)
	if err != nil {
		return nil, err
	}
	if err := s.copy(primary); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (c *Cluster) copy(primary *Cluster) error {
	if err := c.settle(); err != nil {
		return err
	}
	program, err := findProgram("pg_basebackup")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	backup := exec.CommandContext(ctx, program, "--pgdata", c.data(),
		"--host", primary.Dir, "--port", fmt.Sprint(primary.Port), "--username", User, "--write-recovery-conf", "--checkpoint", "fast", "--no-sync")
	backup.Dir, backup.SysProcAttr = c.Dir, c.programs.attributes()
	if out, err := backup.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	return nil
}

// Promote makes a standby a primary, on a new timeline, and returns when it takes writes.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	execute(t, c.DSN("postgres"), "SELECT pg_promote(true, 60)")
}

// HostListDSN names a database of whichever of several clusters takes writes. They must have Config.TCP.
func HostListDSN(database string, clusters ...*Cluster) string {
	hosts := make([]string, len(clusters))
	for i, c := range clusters {
		hosts[i] = fmt.Sprintf("127.0.0.1:%d", c.Port)
	}
	return fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable&target_session_attrs=read-write", User, strings.Join(hosts, ","), url.PathEscape(database))
}
