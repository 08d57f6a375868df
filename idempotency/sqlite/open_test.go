package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/sqlite"
	"github.com/onceway/onceway/idempotency/storetest"
)

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plain")
	if err := os.WriteFile(file, []byte("not a database, and long enough to show it"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, says string }{
		"no directory":    {filepath.Join(dir, "absent", "x.db"), "there is no directory"},
		"not a directory": {filepath.Join(file, "x.db"), "not a directory"},
		"not a database":  {file, "not a database"},
		"no schema":       {filepath.Join(dir, "empty.db"), "onceway migrate up"},
	} {
		t.Run(name, func(t *testing.T) {
			for range 2 { // a refusal leaves no lock
				s, err := sqlite.Open(t.Context(), c.path, sqlite.Options{})
				if err == nil {
					s.Close()
				}
				if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), c.path) {
					t.Fatalf("error is %v, want one with %q and the path", err, c.says)
				}
			}
		})
	}
	t.Run("unwritable directory", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root may write everywhere")
		}
		readOnly := filepath.Join(dir, "ro")
		if err := os.Mkdir(readOnly, 0o500); err != nil {
			t.Fatal(err)
		}
		if _, err := sqlite.Open(t.Context(), filepath.Join(readOnly, "x.db"), sqlite.Options{}); err == nil || !strings.Contains(err.Error(), "may not write") {
			t.Errorf("error is %v", err)
		}
	})
}

func TestFileIsPrivate(t *testing.T) {
	path := migrated(t)
	s := open(t, path, sqlite.Options{})
	if _, err := s.Acquire(t.Context(), idempotency.Instance{}, 0); err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Dir(path) + "/*")
	if len(found) < 4 {
		t.Fatalf("only %v", found)
	}
	for _, f := range found {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", f, info.Mode(), err)
		}
	}
}

func TestClosed(t *testing.T) {
	s := open(t, migrated(t), sqlite.Options{})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	o := idempotency.Operation{Key: "k"}
	_, err := s.Apply(t.Context(), []idempotency.Transition{idempotency.Cancel{Operation: o}})
	var rolledBack *idempotency.RolledBackError
	if !errors.As(err, &rolledBack) || !errors.Is(err, sqlite.ErrClosed) {
		t.Errorf("apply: %v", err)
	}
	if _, err := s.Find(t.Context(), []idempotency.OperationID{o.ID()}); !errors.Is(err, sqlite.ErrClosed) {
		t.Errorf("find: %v", err)
	}
}

// A lock of somebody who has opened the file by hand is waited for shortly, and then nothing was written.
func TestForeignLock(t *testing.T) {
	path := migrated(t)
	s := open(t, path, sqlite.Options{})
	conn, err := rawFile(t, path).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	batch := []idempotency.Transition{idempotency.Cancel{Operation: idempotency.Operation{Key: "k"}}}
	_, err = s.Apply(t.Context(), batch)
	var rolledBack *idempotency.RolledBackError
	if !errors.As(err, &rolledBack) || !rolledBack.Blocked {
		t.Fatalf("error is %v, want one that says blocked", err)
	}
	if _, err := conn.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	if results, err := s.Apply(t.Context(), batch); err != nil || !results[0].Applied {
		t.Errorf("after the lock is gone: %v", err)
	}
}

// A failure inside a batch leaves no trace of it, and the store goes on.
func TestRowThatTheSchemaRefuses(t *testing.T) {
	s := open(t, migrated(t), sqlite.Options{})
	good, bad := idempotency.Operation{Key: "good"}, idempotency.Operation{Key: ""}
	_, err := s.Apply(t.Context(), []idempotency.Transition{idempotency.Cancel{Operation: good}, idempotency.Cancel{Operation: bad}})
	var rolledBack *idempotency.RolledBackError
	if !errors.As(err, &rolledBack) || rolledBack.Blocked {
		t.Fatalf("error is %v, want one that says rolled back", err)
	}
	records, err := s.Find(t.Context(), []idempotency.OperationID{good.ID(), bad.ID()})
	if err != nil || records[0].State != idempotency.Unseen || records[1].State != idempotency.Unseen {
		t.Errorf("records %v, %v", records, err)
	}
	if results, err := s.Apply(t.Context(), []idempotency.Transition{idempotency.Cancel{Operation: good}}); err != nil || !results[0].Applied {
		t.Errorf("afterwards: %v", err)
	}
}

// Epochs outlive the process, so that an owner of an earlier run is never taken for a present one.
func TestEpochsOutliveTheProcess(t *testing.T) {
	path := migrated(t)
	last := int64(0)
	for i := range 3 {
		s := open(t, path, sqlite.Options{})
		owner, err := s.Acquire(t.Context(), idempotency.Instance{ID: [16]byte{byte(i % 2)}}, 0)
		if err != nil || owner.Epoch <= last {
			t.Fatalf("epoch %d after %d, %v", owner.Epoch, last, err)
		}
		last = owner.Epoch
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

const helper = "ONCEWAY_SQLITE_TEST_HELPER"

func TestMain(m *testing.M) {
	switch verb, path, _ := strings.Cut(os.Getenv(helper), " "); verb {
	case "hold":
		hold(path)
	case "write":
		write(path)
	default:
		os.Exit(m.Run())
	}
}

// spawn runs this test binary as another process that does verb to the store at path.
func spawn(t *testing.T, verb, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), helper+"="+verb+" "+path)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c, bufio.NewScanner(out)
}

func hold(path string) {
	if _, err := sqlite.Open(context.Background(), path, sqlite.Options{}); err != nil {
		panic(err)
	}
	_, _ = os.Stdout.WriteString("held\n")
	select {}
}

func TestOneProcess(t *testing.T) {
	path := migrated(t)
	child, out := spawn(t, "hold", path)
	if !out.Scan() {
		t.Fatal("the other process did not open the store")
	}
	_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err == nil || !strings.Contains(err.Error(), "is used by another onceway process (pid ") {
		t.Fatalf("error is %v", err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	open(t, path, sqlite.Options{})
}

// A file has one lock, whatever name it is opened by.
func TestOneProcessByAnotherName(t *testing.T) {
	path := migrated(t)
	dir := t.TempDir()
	link, linkedDir := filepath.Join(dir, "link.db"), filepath.Join(dir, "linked")
	for from, to := range map[string]string{link: path, linkedDir: filepath.Dir(path)} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	child, out := spawn(t, "hold", path)
	if !out.Scan() {
		t.Fatal("the other process did not open the store")
	}
	for _, name := range []string{link, filepath.Join(linkedDir, filepath.Base(path))} {
		if _, err := sqlite.Open(t.Context(), name, sqlite.Options{}); err == nil || !strings.Contains(err.Error(), "is used by another onceway process (pid ") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	open(t, link, sqlite.Options{})
}

func TestNamesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	file, hard, dangling := filepath.Join(dir, "a.db"), filepath.Join(dir, "b.db"), filepath.Join(dir, "c.db")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Link(file, hard), os.Symlink(filepath.Join(dir, "none"), dangling)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:     "has 2 names (hard links)",
		hard:     "has 2 names (hard links)",
		dangling: "a symbolic link to a file that is not there",
		dir:      "it is a directory; name a file in it",
	} {
		if _, err := sqlite.Resolve(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v", path, err)
		}
	}
	if there, err := sqlite.Resolve(filepath.Join(dir, "new.db")); err != nil || filepath.Base(there) != "new.db" {
		t.Errorf("%s, %v", there, err)
	}
}

// Whoever lost his file must not go on: the next process would know of nothing that he writes.
func TestALeaseNeedsTheFile(t *testing.T) {
	path := migrated(t)
	s := open(t, path, sqlite.Options{})
	owner, err := s.Acquire(t.Context(), idempotency.Instance{ID: idempotency.NewAttemptID(), Longest: time.Minute}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, log := path+".elsewhere", path+"-wal"
	for _, step := range []struct {
		does func() error
		want string
	}{
		{func() error { return nil }, ""},
		{func() error { return os.Rename(path, elsewhere) }, "has been moved or deleted"},
		{func() error { return os.WriteFile(path, nil, 0o600) }, "another file has taken its place"},
		{func() error { return os.Rename(elsewhere, path) }, ""},
		{func() error { return os.Rename(log, elsewhere) }, "-wal, has been moved or deleted"},
		{func() error { return os.WriteFile(log, nil, 0o600) }, "-wal, has been moved or deleted: another file has taken its place"},
		{func() error { return os.Rename(elsewhere, log) }, ""},
		{func() error { return os.Remove(log) }, "-wal, has been moved or deleted"},
	} {
		if err := step.does(); err != nil {
			t.Fatal(err)
		}
		err := s.Renew(t.Context(), owner, time.Minute)
		if err == nil && step.want != "" || err != nil && (step.want == "" || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("error is %v, want %q", err, step.want)
		}
	}
}

// A log that was deleted is lost with the process, and not if that ends in good order: so says the error.
func TestADeletedLogIsCopiedAtTheEnd(t *testing.T) {
	path := migrated(t)
	s := open(t, path, sqlite.Options{})
	if err := os.Remove(path + "-wal"); err != nil {
		t.Fatal(err)
	}
	o := idempotency.Operation{Caller: "caller", Key: "key"}
	if _, err := s.Apply(t.Context(), []idempotency.Transition{idempotency.Cancel{Operation: o, Retention: storetest.Keep}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := open(t, path, sqlite.Options{}).Find(t.Context(), []idempotency.OperationID{o.ID()})
	if err != nil || found[0].State != idempotency.Cancelled {
		t.Errorf("%+v, error %v", found, err)
	}
}

// After a commit that failed, the file is opened anew. Another one that was put in its place meanwhile is not written:
// there, what was executed could be claimed again.
func TestOnlyItsOwnFileIsOpenedAnew(t *testing.T) {
	path := migrated(t)
	s := open(t, path, sqlite.Options{})
	owner, err := s.Acquire(t.Context(), idempotency.Instance{ID: idempotency.NewAttemptID(), Longest: time.Minute}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	o := idempotency.Operation{Caller: "caller", Key: "key"}
	claim := func() (idempotency.Result, error) {
		results, err := s.Apply(t.Context(), []idempotency.Transition{idempotency.Claim{
			Attempt:   idempotency.Attempt{Operation: o.ID(), ID: idempotency.NewAttemptID(), Owner: owner},
			Operation: o, Fingerprint: idempotency.Fingerprint{Version: 1}, Method: "POST", TargetURI: "/", Budget: time.Minute, Retention: storetest.Keep,
		}})
		if err != nil {
			return idempotency.Result{}, err
		}
		return results[0], nil
	}
	if r, err := claim(); err != nil || !r.Applied {
		t.Fatalf("%+v, error %v", r, err)
	}
	elsewhere := path + ".elsewhere"
	for _, step := range []struct {
		does func() error
		want string
	}{
		{func() error { return nil }, ""},
		{func() error { return os.Rename(path, elsewhere) }, "has been moved or deleted"},
		{func() error { return os.Rename(migrated(t), path) }, "another file has taken its place"},
		{func() error { return os.Rename(elsewhere, path) }, ""},
	} {
		if err := errors.Join(s.LoseWriter(), step.does()); err != nil {
			t.Fatal(err)
		}
		r, err := claim()
		if err == nil && step.want != "" || err != nil && (step.want == "" || !strings.Contains(err.Error(), step.want)) {
			t.Errorf("error is %v, want %q", err, step.want)
		}
		if r.Applied {
			t.Error("it was claimed again")
		}
	}
}
