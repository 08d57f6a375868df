// Package pgtest starts throw-away PostgreSQL clusters for tests, on a unix socket in a temporary
// directory, never the user's own. A cluster ends with the test process, however that ends.
//
// It needs PostgreSQL's server programs, and says what to install when there are none: a test that
// needs Postgres fails without it, because a skipped test proves nothing. ONCEWAY_TEST_POSTGRES (a
// DSN with the right to create databases) makes [New] use another server.
package pgtest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/freeport"
)

// User is the superuser of every cluster; it needs no password.
const User = "onceway"

// Config of a cluster. The zero value is PostgreSQL's own default, fsync included.
type Config struct {
	TCP      bool              // listen on 127.0.0.1 too, on Cluster.Port; default false
	Settings map[string]string // of postgresql.conf; default none
}

// Cluster is one PostgreSQL server. Its methods are not for concurrent use.
type Cluster struct {
	Dir  string // socket, data directory and log
	Port int    // names the socket; of the TCP listener too, if there is one

	config   Config
	programs programs
	process  *os.Process
	exited   <-chan struct{} // closed when process is gone
	watchdog io.WriteCloser  // its end tells the watchdog to remove everything

	releasePort func() // of TCP
}

// Mode says how a server is stopped.
type Mode syscall.Signal

const (
	Fast      = Mode(syscall.SIGINT)  // roll back, checkpoint, exit
	Immediate = Mode(syscall.SIGQUIT) // exit at once, recover from the log at the next start
)

// startTimeout bounds initdb, start and stop each: far above what a loaded machine needs.
const startTimeout = 60 * time.Second

// NewCluster creates and starts a cluster that is removed at the end of the test.
func NewCluster(t testing.TB, config Config) *Cluster {
	t.Helper()
	c, err := create(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	c.Start(t)
	return c
}

// Start starts a stopped server, and returns when it accepts connections.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
}

// Stop stops the server, and returns when it is gone. It is safe to call twice.
func (c *Cluster) Stop(mode Mode) {
	if c.process == nil {
		return
	}
	c.process.Signal(syscall.Signal(mode))
	<-c.exited
	c.process = nil
}

// Restart stops the server and starts it again.
func (c *Cluster) Restart(t testing.TB, mode Mode) {
	t.Helper()
	c.Stop(mode)
	c.Start(t)
}

// DSN names a database of the cluster, by its unix socket.
func (c *Cluster) DSN(database string) string {
	q := url.Values{"host": {c.Dir}, "port": {strconv.Itoa(c.Port)}, "user": {User}}
	return "postgres:///" + url.PathEscape(database) + "?" + q.Encode()
}

// TCPDSN names a database of the cluster by its TCP address. The cluster must have Config.TCP.
func (c *Cluster) TCPDSN(database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", User, c.Port, url.PathEscape(database))
}

// NewDatabase creates an empty database, drops it at the end of the test, and returns its DSN.
func (c *Cluster) NewDatabase(t testing.TB) string {
	t.Helper()
	name := newDatabase(t, c.DSN("postgres"))
	return c.DSN(name)
}

// create makes the directory and the data of a cluster, and its watchdog.
func create(config Config) (*Cluster, error) {
	c, err := newCluster(config)
	if err != nil {
		return nil, err
	}
	if err := c.init(); err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

// newCluster makes the directory of a cluster and its watchdog.
func newCluster(config Config) (*Cluster, error) {
	programs, err := findPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(socketRoot(), "onceway-pg-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir, Port: 5432, config: config, programs: programs}
	if err := c.watch(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return c, nil
}

// settle gives the directory to whom the server runs as, and finds a port.
func (c *Cluster) settle() error {
	if err := c.programs.own(c.Dir); err != nil {
		return err
	}
	if c.config.TCP {
		var err error
		if c.Port, c.releasePort, err = freeport.Take(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) init() error {
	if err := c.settle(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	initdb := exec.CommandContext(ctx, c.programs.initdb, "--pgdata", c.data(), "--username", User,
		"--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = c.Dir, c.programs.attributes()
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(c.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(c.config.Settings)) {
		fmt.Fprintf(conf, "%s = '%s'\n", name, strings.ReplaceAll(c.config.Settings[name], "'", "''"))
	}
	return conf.Close()
}

func (c *Cluster) start() error {
	if c.process != nil {
		return nil
	}
	log, err := os.OpenFile(c.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	listen := ""
	if c.config.TCP {
		listen = "127.0.0.1"
	}
	postgres := exec.Command(c.programs.postgres, "-D", c.data(), "-k", c.Dir, "-h", listen, "-p", strconv.Itoa(c.Port))
	postgres.Dir, postgres.Stdout, postgres.Stderr, postgres.SysProcAttr = c.Dir, log, log, c.programs.attributes()
	exited, err := runKeeping(postgres)
	if err != nil {
		return err
	}
	c.process, c.exited = postgres.Process, exited
	return c.awaitReady()
}

// runKeeping starts a command and closes exited when it has ended. The kernel sends the parent-death
// signal when the thread that forked ends, so that thread is kept until the command is gone.
func runKeeping(command *exec.Cmd) (exited <-chan struct{}, err error) {
	started, ended := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			command.Wait()
		}
		close(ended)
	}()
	return ended, <-started
}

func (c *Cluster) awaitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		conn, err := pgx.Connect(ctx, c.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-retry.C:
		case <-c.exited:
			c.process = nil
			return fmt.Errorf("postgres ended at its start:\n%s", c.logTail())
		case <-ctx.Done():
			return fmt.Errorf("postgres does not accept connections: %w\n%s", err, c.logTail())
		}
	}
}

func (c *Cluster) data() string { return filepath.Join(c.Dir, "data") }
func (c *Cluster) log() string  { return filepath.Join(c.Dir, "log") }

func (c *Cluster) logTail() string {
	b, _ := os.ReadFile(c.log())
	return string(b[max(0, len(b)-4096):])
}

// remove stops the server and deletes its files.
func (c *Cluster) remove() {
	c.Stop(Immediate)
	if c.releasePort != nil {
		c.releasePort()
	}
	c.watchdog.Close()
	os.RemoveAll(c.Dir)
}

// watch starts a shell that waits for the end of this process, in whatever way, and then stops the
// server and removes its directory.
func (c *Cluster) watch() error {
	const script = `read -r _; pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid" 2>/dev/null; for _ in 1 2 3 4 5 6 7 8 9; do rm -rf "$0" 2>/dev/null && exit; sleep 1; done`
	sh := exec.Command("sh", "-c", script, c.Dir)
	sh.Dir = "/"
	sh.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is not for it
	pipe, err := sh.StdinPipe()
	if err != nil {
		return err
	}
	if err := sh.Start(); err != nil {
		return err
	}
	c.watchdog = pipe
	go sh.Wait()
	return nil
}

// socketRoot is the temporary directory, or /tmp where that is too long a path for a socket (107
// bytes with the names below it).
func socketRoot() string {
	if dir := os.TempDir(); len(dir) < 60 {
		return dir
	}
	return "/tmp"
}

// Owned makes a directory that the server may write, and returns its path.
func (c *Cluster) Owned(t testing.TB, dir string) string {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := c.programs.own(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}
