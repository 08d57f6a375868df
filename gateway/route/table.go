package route

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/onceway/onceway/gateway/config"
)

// Table finds routes. It does not change after New, and is safe for concurrent use.
type Table struct{ entries []entry }

type entry struct {
	route   *config.Route
	pattern config.Pattern
}

// New returns the table of routes that config.Load has checked; it panics at a pattern that is none.
// It keeps pointers to the elements of routes.
func New(routes []config.Route) *Table {
	t := &Table{entries: make([]entry, len(routes))}
	for i := range routes {
		pattern, err := config.ParsePattern(routes[i].Match.Path)
		if err != nil {
			panic(fmt.Sprintf("route: %s: %v", routes[i].Name, err))
		}
		t.entries[i] = entry{&routes[i], pattern}
	}
	return t
}

// Match returns the first route that matches. The host is the request's Host field, with or without
// port, in any case; the path is a Target's. It does not allocate for a host in lower case.
func (t *Table) Match(method, host, path string) (*config.Route, bool) {
	host = hostName(host)
	for i := range t.entries {
		if t.entries[i].mismatch(method, host, path) == 0 {
			return t.entries[i].route, true
		}
	}
	return nil, false
}

// mismatch is the first part of a route's match that does not hold; 0 if all of it holds.
type mismatch uint8

const (
	byPath mismatch = iota + 1
	byHost
	byMethod
)

func (e *entry) mismatch(method, host, path string) mismatch {
	m := &e.route.Match
	switch {
	case !e.pattern.Match(path):
		return byPath
	case !config.MatchHost(m.Host, host):
		return byHost
	case len(m.Methods) > 0 && !slices.Contains(m.Methods, method):
		return byMethod
	}
	return 0
}

// hostName takes the port, the brackets of an IPv6 address and the root's dot off a Host field.
func hostName(host string) string {
	if strings.IndexByte(host, ':') >= 0 {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
