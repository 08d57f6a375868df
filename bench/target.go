package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target names one of the proxies that are compared.
type target string

// running is a target that takes requests.
type running struct {
	processes []*process
	addresses []string
	admin     []string // base URLs of admin listeners, of Onceway only
}

func (r *running) stop() {
	for _, p := range r.processes {
		p.stop()
	}
}

// tail returns the end of what its processes have written.
func (r *running) tail() string {
	var b strings.Builder
	for _, p := range r.processes {
		b.WriteString(p.tail())
	}
	return b.String()
}

// ready waits until its last process passes probe; if that fails it stops them all.
func (r *running) ready(ctx context.Context, probe func(context.Context) error) error {
	err := r.processes[len(r.processes)-1].ready(ctx, probe)
	if err != nil {
		r.stop()
	}
	return err
}

func (r *running) cpu() time.Duration {
	var sum time.Duration
	for _, p := range r.processes {
		sum += treeCPU(p.cmd.Process.Pid)
	}
	return sum
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
	case nginxProxy, haproxyProxy, caddyProxy:
		return s.startPackaged(ctx, t)
	case usualMiddleware:
		return s.role(ctx, "middleware", "-pool", strconv.Itoa(pool), "-dsn", s.postgres.dsn("middleware"))
	case oncewaySQLite:
		return s.onceway(ctx, settings{name: "sqlite", store: "sqlite:" + filepath.Join(s.dir, "onceway.db")})
	case oncewayPostgres:
		return s.oncewayOnPostgres(ctx, settings{name: "postgres"})
	case oncewayPair:
		one, err := s.oncewayOnPostgres(ctx, settings{name: "pair"})
		if err != nil {
			return nil, err
		}
		two, err := s.onceway(ctx, settings{name: "pair2", store: s.postgres.dsn("onceway_pair")})
		if err != nil {
			one.stop()
			return nil, err
		}
		return &running{append(one.processes, two.processes...), append(one.addresses, two.addresses...), append(one.admin, two.admin...)}, nil
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
	r := &running{processes: []*process{p}, addresses: []string{addr}}
	return r, r.ready(ctx, dialable(addr))
}

// settings is all in which one gateway's configuration differs from another's. Zero values are Onceway's
// defaults.
type settings struct {
	name        string // of its files, and with onceway_ of its database on Postgres
	store       string
	maxInFlight int
	logged      bool // Postgres logs its statements
}

// gatewayConfig is Onceway as delivered, but for the access log, as the peers do not write one, and for the
// limit on status queries of one caller, which all of the load would be measured by.
const gatewayConfig = `version: 1
listen: %s
store: %q
admin: {listen: %s}
caller:
  none: {shared: false}
reconcile: {requests_per_second: 0}
log: {access: %t}
upstreams:
  orders:
    targets: [http://%s]
    max_in_flight: %d
routes:
  - name: orders
    match: {path: /**}
    upstream: orders
`

// oncewayOnPostgres starts a gateway on a new database that has its name.
func (s *starter) oncewayOnPostgres(ctx context.Context, o settings) (*running, error) {
	var err error
	if o.store, err = s.postgres.create(ctx, "onceway_"+o.name); err != nil {
		return nil, err
	}
	if o.logged {
		if err := s.postgres.exec(ctx, "postgres", "alter database onceway_"+o.name+" set log_statement = 'all'"); err != nil {
			return nil, err
		}
	}
	return s.onceway(ctx, o)
}

func (s *starter) onceway(ctx context.Context, o settings) (*running, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(s.dir, o.name+".yaml")
	text := fmt.Sprintf(gatewayConfig, addr, o.store, admin, s.access, s.upstream, cmp.Or(o.maxInFlight, 512))
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
	p, err := startProcess(s.dir, "onceway-"+o.name, serve)
	if err != nil {
		return nil, err
	}
	r := &running{[]*process{p}, []string{addr}, []string{"http://" + admin}}
	return r, r.ready(ctx, answers200("http://"+admin+"/readyz"))
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
