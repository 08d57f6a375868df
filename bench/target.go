package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// target names one of the proxies that are compared.
type target string

const (
	plainProxy      target = "proxy"      // peer (a): httputil.ReverseProxy, no store
	tunedProxy      target = "tuned"      // the same with pooled buffers
	usualMiddleware target = "middleware" // peer (b): the same, with one INSERT and one UPDATE
	oncewayPostgres target = "postgres"   // Onceway on Postgres
	oncewaySQLite   target = "sqlite"     // Onceway on SQLite
)

// expects returns what every answer of t to w must look like.
func (t target) expects(w workload) expectation {
	if w == get {
		return expectation{Status: 200}
	}
	e := expectation{Status: 201}
	switch t {
	case plainProxy, tunedProxy:
	case usualMiddleware:
		if w.replays() {
			e.Replayed = "true"
		}
	case oncewayPostgres, oncewaySQLite:
		e.State = "executed"
		if w.replays() {
			e.State, e.Replayed = "replayed", "true"
		}
	}
	return e
}

// stores reports whether t can replay.
func (t target) stores() bool { return t != plainProxy && t != tunedProxy }

// executions returns how many of n answered requests the backend must have executed.
func (t target) executions(w workload, n int) int {
	switch {
	case w == get, w.replays() && t.stores():
		return 0
	}
	return n
}

// running is a target that takes requests.
type running struct {
	*process
	addr  string
	pprof string // base URL of its profiles; empty if it writes its own
}

// starter starts targets: what they have in common.
type starter struct {
	self     string // this program
	gateway  string // the gateway's binary; empty until it is built
	dir      string
	upstream string // address of the backend
	postgres *cluster
	profiles string // directory, or empty
	access   bool   // let the gateway log each request
}

// start starts a target and waits until it takes requests. pool is the middleware's number of
// connections to the database.
func (s *starter) start(ctx context.Context, t target, pool int) (*running, error) {
	switch t {
	case plainProxy, tunedProxy:
		return s.role(ctx, string(t))
	case usualMiddleware:
		return s.role(ctx, "middleware", "-pool", strconv.Itoa(pool), "-dsn", s.postgres.dsn("middleware"))
	case oncewayPostgres:
		dsn, err := s.postgres.create(ctx, "onceway")
		if err != nil {
			return nil, err
		}
		return s.onceway(ctx, t, dsn)
	case oncewaySQLite:
		return s.onceway(ctx, t, "sqlite:"+filepath.Join(s.dir, "onceway.db"))
	}
	return nil, fmt.Errorf("no such target: %s", t)
}

// role starts this program once more, as a server.
func (s *starter) role(ctx context.Context, role string, args ...string) (*running, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	args = append([]string{"role", role, "-listen", addr, "-backend", s.upstream}, args...)
	if s.profiles != "" {
		args = append(args, "-profile", filepath.Join(s.profiles, role+".pprof"))
	}
	p, err := startProcess(s.dir, role, exec.Command(s.self, args...))
	if err != nil {
		return nil, err
	}
	r := &running{process: p, addr: addr}
	if err := p.ready(ctx, dialable(addr)); err != nil {
		p.stop()
		return nil, err
	}
	return r, nil
}

// gatewayConfig is Onceway as delivered, but for the access log: the peers do not write one.
const gatewayConfig = `version: 1
listen: %s
store: %q
admin: {listen: %s}
caller:
  none: {shared: false}
log: {access: %t}
upstreams:
  orders:
    targets: [http://%s]
routes:
  - name: orders
    match: {path: /**}
    upstream: orders
`

func (s *starter) onceway(ctx context.Context, t target, store string) (*running, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(s.dir, string(t)+".yaml")
	text := fmt.Sprintf(gatewayConfig, addr, store, admin, s.access, s.upstream)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	migrate := exec.CommandContext(ctx, s.gateway, "migrate", "up", "--config", config)
	serve := exec.Command(s.gateway, "serve", "--config", config)
	migrate.Env = ownEnvironment(os.Environ())
	serve.Env = migrate.Env
	if out, err := migrate.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("onceway migrate up: %w\n%s", err, out)
	}
	p, err := startProcess(s.dir, "onceway-"+string(t), serve)
	if err != nil {
		return nil, err
	}
	r := &running{process: p, addr: addr, pprof: "http://" + admin + "/debug/pprof/"}
	if err := p.ready(ctx, answers200("http://"+admin+"/readyz")); err != nil {
		p.stop()
		return nil, err
	}
	return r, nil
}

// ownEnvironment returns environ without the variables that would configure a gateway behind our back.
func ownEnvironment(environ []string) []string {
	return slices.DeleteFunc(environ, func(s string) bool {
		return strings.HasPrefix(s, "ONCEWAY_") || strings.HasPrefix(s, "OTEL_")
	})
}

// buildGateway compiles the gateway that stands in this module.
func buildGateway(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "onceway")
	out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "github.com/onceway/onceway/cmd/onceway").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
	}
	return binary, nil
}
