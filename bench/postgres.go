package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// postgresSettings is all that differs from a new cluster's defaults. Durability is stated although it
// is the default: a benchmark without it would be worthless.
var postgresSettings = [][2]string{
	{"fsync", "on"},
	{"synchronous_commit", "on"},
	{"full_page_writes", "on"},
	{"shared_buffers", "512MB"},
	{"min_wal_size", walInUse}, // the default of max_wal_size: see season
	{"max_connections", "200"}, // room for the largest pool that is tried, beside ours
}

// walInUse is how much log a server that has run for a while keeps to write over.
const walInUse = "1GB"

// cluster is a throw-away Postgres on a unix socket, with its files below the benchmark's directory.
type cluster struct {
	*process
	socket   string      // directory
	settings [][2]string // postgresSettings, and those of the command line
}

// startPostgres initialises and starts a cluster. As root, which Postgres refuses, it runs as the user
// postgres, or nobody.
func startPostgres(ctx context.Context, dir string, more [][2]string) (*cluster, error) {
	initdb, err := postgresProgram("initdb")
	if err != nil {
		return nil, err
	}
	server, err := postgresProgram("postgres")
	if err != nil {
		return nil, err
	}
	attr, err := postgresUser()
	if err != nil {
		return nil, err
	}
	home := filepath.Join(dir, "postgres")
	if len(home) > 80 {
		return nil, fmt.Errorf("%s is too long for the path of a unix socket: choose a shorter -dir", home)
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	if attr.Credential != nil {
		if err := os.Chown(home, int(attr.Credential.Uid), int(attr.Credential.Gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(home, "data")
	create := exec.CommandContext(ctx, initdb, "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C")
	create.Dir, create.SysProcAttr = home, attr
	if out, err := create.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	args := []string{"-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories=" + home}
	settings := append(slices.Clone(postgresSettings), more...) // of two the last counts
	for _, s := range settings {
		args = append(args, "-c", s[0]+"="+s[1])
	}
	serve := exec.Command(server, args...)
	serve.Dir, serve.SysProcAttr = home, attr
	p, err := startProcess(dir, "postgres", serve)
	if err != nil {
		return nil, err
	}
	c := &cluster{p, home, settings}
	if err := p.ready(ctx, func(ctx context.Context) error { return c.exec(ctx, "postgres", "select 1") }); err != nil {
		p.stop()
		return nil, err
	}
	return c, nil
}

func (c *cluster) dsn(database string) string {
	return "postgres://bench@/" + database + "?host=" + url.QueryEscape(c.socket)
}

// season makes the server like one that has run for a while: its log is files that it writes over, and its buffers
// are memory that it has used before. A new server makes each file of its log first, 16 MB of zeros while every
// commit waits, and a virtual machine may have to ask its host for each page of memory.
func (c *cluster) season(ctx context.Context) error {
	for _, sql := range []string{
		"create table season (filling text)",
		"insert into season select repeat('x', 1000) from generate_series(1, 900000)", // about walInUse of log
		"drop table season",
		"checkpoint",
	} {
		if err := c.exec(ctx, "postgres", sql); err != nil {
			return err
		}
	}
	return nil
}

// create makes an empty database and returns its DSN.
func (c *cluster) create(ctx context.Context, database string) (string, error) {
	return c.dsn(database), c.exec(ctx, "postgres", "create database "+database)
}

func (c *cluster) exec(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, c.dsn(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql)
	return err
}

// count returns the one number that a query gives.
func (c *cluster) count(ctx context.Context, database, query string) (int, error) {
	conn, err := pgx.Connect(ctx, c.dsn(database))
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	var n int
	err = conn.QueryRow(ctx, query).Scan(&n)
	return n, err
}

// describe returns version and settings as the server itself reports them, and refuses a server that
// is not durable.
func (c *cluster) describe(ctx context.Context) (string, error) {
	conn, err := pgx.Connect(ctx, c.dsn("postgres"))
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	show := func(name string) string {
		var value string
		err = errors.Join(err, conn.QueryRow(ctx, "show "+name).Scan(&value))
		return value
	}
	words := []string{"PostgreSQL " + show("server_version")}
	for i, s := range c.settings {
		if !slices.ContainsFunc(c.settings[i+1:], func(later [2]string) bool { return later[0] == s[0] }) {
			words = append(words, s[0]+"="+show(s[0]))
		}
	}
	if err == nil && (show("fsync") != "on" || show("synchronous_commit") != "on") {
		err = errors.New("postgres runs without fsync or synchronous_commit: its figures would mean nothing")
	}
	return strings.Join(words, " "), err
}

// postgresProgram finds a server program in the path, or where Debian, Red Hat and Homebrew put it.
func postgresProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return filepath.EvalSymlinks(path)
	}
	for _, pattern := range []string{"/usr/lib/postgresql/*/bin/", "/usr/pgsql-*/bin/", "/opt/homebrew/opt/postgresql@*/bin/"} {
		if found, _ := filepath.Glob(pattern + name); len(found) > 0 {
			return found[len(found)-1], nil
		}
	}
	return "", fmt.Errorf("%s was not found: install the PostgreSQL server (Debian: apt-get install postgresql), or run with -targets proxy,sqlite", name)
}

// postgresUser returns how to start the server's programs: as another user if we are root.
func postgresUser() (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}
