package decorate

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/route"
)

// place is where an operation is on the gateway: a server's host, and its path with *, for each part that a client
// fills in.
type place struct {
	host    string
	pattern string
}

// hold stands for a client's value while a path is normalised.
const hold = "onceway-any-value"

// placesOf returns where a path of the document is, under each of its servers.
func placesOf(servers *yaml.Node, path string) (all []place, err error) {
	bases := []string{"/"}
	if servers != nil && len(servers.Content) > 0 {
		bases = nil
		for _, s := range servers.Content {
			bases = append(bases, addressOf(s))
		}
	}
	for _, base := range bases {
		u, err := url.Parse(base)
		if err != nil {
			return nil, fmt.Errorf("the server %q is no URL", base)
		}
		target, err := route.ParseTarget("GET", below(u.EscapedPath(), filled(path)), true)
		if err != nil {
			return nil, err
		}
		segments := strings.Split(target.Path, "/")
		for i, s := range segments {
			if strings.Contains(s, hold) {
				segments[i] = "*"
			}
		}
		p := place{host: strings.ToLower(u.Hostname()), pattern: strings.Join(segments, "/")}
		if !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all, nil
}

// below puts a path behind the path of a server.
func below(base, path string) string {
	if base = strings.Trim(base, "/"); base != "" {
		base = "/" + base
	}
	return base + path
}

// addressOf returns a server's URL with the defaults of its variables.
func addressOf(server *yaml.Node) string {
	address := get(server, "url")
	if address == nil {
		return "/"
	}
	text := address.Value
	variables := get(server, "variables")
	for _, name := range names(variables) {
		if standard := get(get(variables, name), "default"); standard != nil {
			text = strings.ReplaceAll(text, "{"+name+"}", standard.Value)
		}
	}
	return text
}

// filled puts a value in place of each parameter.
func filled(path string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(path, "{")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(hold)
		_, path, _ = strings.Cut(rest, "}")
	}
}

// routeOf returns the first route that has all paths of a place, and those before it that have some of them. Where
// no route has all of them, it is the first that has some. nil is none.
func routeOf(routes []config.Route, p place, method string) (found *config.Route, some []*config.Route, err error) {
	wanted, err := config.ParsePattern(p.pattern)
	if err != nil {
		return nil, nil, err
	}
	for i := range routes {
		r := &routes[i]
		if len(r.Match.Methods) > 0 && !slices.Contains(r.Match.Methods, method) || !config.MatchHost(r.Match.Host, p.host) {
			continue
		}
		has, err := config.ParsePattern(r.Match.Path)
		if err != nil {
			return nil, nil, err
		}
		if has.Covers(wanted) {
			return r, some, nil
		}
		if overlap(r.Match.Path, p.pattern) {
			some = append(some, r)
		}
	}
	if len(some) > 0 {
		return some[0], some[1:], nil
	}
	return nil, nil, nil
}

// overlap reports whether two patterns have a path in common.
func overlap(a, b string) bool {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	for i := 0; ; i++ {
		switch {
		case i < len(as) && as[i] == "**" || i < len(bs) && bs[i] == "**":
			return true
		case i == len(as) || i == len(bs):
			return len(as) == len(bs)
		case as[i] != bs[i] && (as[i] != "*" || bs[i] == "") && (bs[i] != "*" || as[i] == ""):
			return false
		}
	}
}
