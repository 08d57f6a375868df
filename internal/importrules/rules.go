package importrules

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the prefix of our own packages.
const Module = "github.com/onceway/onceway"

// Package is what go list says of one package.
type Package struct {
	ImportPath string
	Standard   bool
	Imports    []string // direct
	Deps       []string // all, direct and indirect
}

// rule is about the packages whose path, relative to the module, is room or lies below it, and not below
// except.
type rule struct {
	room   string
	except []string
	// never lists import paths; one that ends with /... covers what lies below, too.
	never []string
	// rooms lists the rooms of ours that it may know besides itself; nil means any.
	rooms []string
	// standard says that outside of the module only the standard library may be known.
	standard bool
}

const (
	sdk  = "go.opentelemetry.io/otel/sdk/..."
	otel = "go.opentelemetry.io/..."
	echo = "github.com/labstack/echo/..."
	pgx  = "github.com/jackc/pgx/..."
)

// rules are the table of the architecture. Which room may know which is a closed list: a new room is
// refused until it has a line here.
var rules = []rule{
	{room: "idempotency", except: []string{"idempotency/postgres", "idempotency/sqlite", "idempotency/spool", "idempotency/filelock", "idempotency/storetest", "idempotency/participant"},
		standard: true, rooms: []string{}, never: []string{"net/http", "database/sql"}},
	{room: "idempotency/postgres", rooms: []string{"idempotency"}, never: []string{echo}},
	{room: "idempotency/sqlite", rooms: []string{"idempotency", "idempotency/filelock"}, never: []string{echo, pgx}},
	{room: "idempotency/filelock", rooms: []string{}, never: []string{echo, pgx, "net/http", "database/sql"}},
	{room: "idempotency/spool", rooms: []string{"idempotency", "idempotency/filelock"}, never: []string{echo, pgx, "net/http", "database/sql"}},
	{room: "idempotency/storetest", rooms: []string{"idempotency"}, never: []string{echo}},
	{room: "idempotency/participant", rooms: []string{"idempotency"}, never: []string{echo, otel, "modernc.org/..."}},
	{room: "gateway", rooms: []string{"gateway", "idempotency", "openapi"}, never: []string{sdk, pgx, "modernc.org/sqlite/...", "database/sql"}},
	{room: "migrations", rooms: []string{"idempotency", "idempotency/filelock"}, never: []string{echo}},
	{room: "openapi", rooms: []string{"idempotency"}},
	{room: "client", rooms: []string{"idempotency"}},
	{room: "internal", except: []string{"internal/simulator"}, rooms: []string{"idempotency", "internal"}},
	{room: "internal/simulator", rooms: []string{"idempotency", "idempotency/storetest"}, never: []string{"net/http"}},
	{room: "bench", rooms: nil},
	{room: "deploy", rooms: nil},
	{room: "cmd", rooms: nil},
}

// direct are imports that a room must not write down itself, although a library that it needs may
// link them in.
var direct = []rule{
	{room: "idempotency/postgres", never: []string{"net/http", otel}},
	{room: "idempotency/sqlite", never: []string{"net/http", otel}},
}

// Check returns everything in packages that breaks a rule, one line each, in order.
func Check(packages []Package) []string {
	standard := map[string]bool{"C": true, "unsafe": true}
	for _, p := range packages {
		if p.Standard {
			standard[p.ImportPath] = true
		}
	}
	var broken []string
	for _, p := range packages {
		path, ours := strings.CutPrefix(p.ImportPath, Module)
		if p.Standard || !ours || path == "" {
			continue
		}
		path = strings.TrimPrefix(path, "/")
		found := false
		for _, r := range rules {
			if r.covers(path) {
				found = true
				broken = append(broken, r.check(path, p.Deps, standard)...)
			}
		}
		for _, r := range direct {
			if r.covers(path) {
				broken = append(broken, r.check(path, p.Imports, standard)...)
			}
		}
		if !found {
			broken = append(broken, fmt.Sprintf("%s is in a room that has no rule", path))
		}
	}
	slices.Sort(broken)
	return slices.Compact(broken)
}

func (r rule) covers(path string) bool {
	return below(path, r.room) && !slices.ContainsFunc(r.except, func(room string) bool { return below(path, room) })
}

func (r rule) check(path string, deps []string, standard map[string]bool) (broken []string) {
	for _, dep := range deps {
		own, ours := strings.CutPrefix(dep, Module+"/")
		switch {
		case ours && below(own, "cmd"):
			broken = append(broken, fmt.Sprintf("%s knows %s, which nobody may", path, own))
		case ours && !r.knows(path, own):
			broken = append(broken, fmt.Sprintf("%s knows the room of %s", path, own))
		case !ours && r.standard && !standard[dep]:
			broken = append(broken, fmt.Sprintf("%s knows %s, which is not the standard library", path, dep))
		}
		for _, n := range r.never {
			if prefix, all := strings.CutSuffix(n, "/..."); dep == n || all && below(dep, prefix) {
				broken = append(broken, fmt.Sprintf("%s knows %s", path, dep))
			}
		}
	}
	return broken
}

// knows reports whether the rule lets path know our package own. "idempotency" as a room to know is the
// core alone: stores are concrete.
func (r rule) knows(path, own string) bool {
	if r.rooms == nil || r.covers(own) {
		return true
	}
	return slices.ContainsFunc(r.rooms, func(room string) bool {
		if room == "idempotency" {
			return own == room
		}
		return below(own, room)
	})
}

func below(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }
