package rig

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceway/onceway/internal/pgtest"
)

// Config of a gateway. Its strings are pieces of the YAML file.
type Config struct {
	Store     string   // DSN; default: a SQLite file of the test's own
	Targets   []string // of the upstream "backend"
	Upstream  string   // more of that upstream, in flow style: "timeout: 1s, max_in_flight: 1"
	Policy    string   // of the route "all" (/**), in flow style: "mode: optional"
	Routes    string   // before that route: list items, indented by two
	Only      bool     // no route "all"
	Upstreams string   // further ones, indented by two
	Admin     string   // more of the admin listener, in flow style: "tokens: [{name: alice, hash: …}]"
	Extra     string   // further top-level lines
	Caller    string   // default "{none: {}}"
	Args      []string // of serve, instead of the file
	Env       []string // NAME=value, beside the test's own environment
	Migrated  bool     // the store's schema is there: start without --migrate
	Tags      string   // build tags of the binary, separated by commas
}

func (c Config) yaml() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("version: 1")
	line("listen: 127.0.0.1:0")
	line("admin: {listen: 127.0.0.1:0%s}", after(c.Admin))
	line("store: %q", c.Store)
	caller := c.Caller
	if caller == "" {
		caller = "{none: {}}"
	}
	line("caller: %s", caller)
	if !strings.Contains(c.Extra, "drain_delay") {
		line("drain_delay: 0s")
	}
	if c.Extra != "" {
		line("%s", c.Extra)
	}
	line("upstreams:")
	line("  backend: {targets: [%s]%s}", strings.Join(c.Targets, ", "), after(c.Upstream))
	if c.Upstreams != "" {
		line("%s", strings.TrimRight(c.Upstreams, "\n"))
	}
	line("routes:")
	if c.Routes != "" {
		line("%s", strings.TrimRight(c.Routes, "\n"))
	}
	if !c.Only {
		line("  - {name: all, match: {path: /**}, upstream: backend, idempotency: {%s}}", c.Policy)
	}
	return b.String()
}

func after(s string) string {
	if s == "" {
		return ""
	}
	return ", " + s
}

// Store is one kind of store.
type Store struct {
	Name string
	New  func(t testing.TB) (dsn string)
}

// Stores are all kinds, each of which gives every test a fresh store.
var Stores = []Store{
	{"sqlite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "onceway.db") }},
	{"postgres", func(t testing.TB) string { return pgtest.New(t) }},
}

// EachStore runs a test on every kind of store, side by side.
func EachStore(t *testing.T, test func(t *testing.T, dsn string)) {
	for _, s := range Stores {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			test(t, s.New(t))
		})
	}
}
