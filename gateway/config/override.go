package config

import (
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Overrides are the values of flags; empty means not given.
type Overrides struct {
	Listen      string
	Store       string
	Upstream    string // a URL
	AdminListen string
	LogLevel    string
	LogFormat   string
}

// setting is a key that a flag or the environment can set.
type setting struct {
	path     []string
	variable string
	flag     string                 // name for messages
	given    func(Overrides) string // nil if there is no flag
}

const upstreamVariable, upstreamFlag = "ONCEWAY_UPSTREAM", "--upstream"

var settings = []setting{
	{[]string{"listen"}, "ONCEWAY_LISTEN", "--listen", func(o Overrides) string { return o.Listen }},
	{[]string{"store"}, "ONCEWAY_STORE", "--store", func(o Overrides) string { return o.Store }},
	{[]string{"admin", "listen"}, "ONCEWAY_ADMIN_LISTEN", "--admin-listen", func(o Overrides) string { return o.AdminListen }},
	{[]string{"log", "level"}, "ONCEWAY_LOG_LEVEL", "--log-level", func(o Overrides) string { return o.LogLevel }},
	{[]string{"log", "format"}, "ONCEWAY_LOG_FORMAT", "--log-format", func(o Overrides) string { return o.LogFormat }},
	{[]string{"store_timeout"}, "ONCEWAY_STORE_TIMEOUT", "", nil},
	{[]string{"lease"}, "ONCEWAY_LEASE", "", nil},
	{[]string{"drain_delay"}, "ONCEWAY_DRAIN_DELAY", "", nil},
	{[]string{"drain_timeout"}, "ONCEWAY_DRAIN_TIMEOUT", "", nil},
	{[]string{"max_wait"}, "ONCEWAY_MAX_WAIT", "", nil},
	{[]string{"body_budget"}, "ONCEWAY_BODY_BUDGET", "", nil},
}

// override writes flags and environment into the tree of the file, so that every value is checked in
// one way, whatever it comes from.
func (d *decoder) override(root *yaml.Node, src Source) {
	if root.Kind != yaml.MappingNode {
		return // the decoder will say so
	}
	for _, s := range settings {
		flag := ""
		if s.given != nil {
			flag = s.given(src.Overrides)
		}
		if value, origin := d.choose(flag, s.flag, s.variable); value != "" {
			d.set(root, s.path, d.scalar(value, origin))
		}
	}
	url, origin := d.choose(src.Overrides.Upstream, upstreamFlag, upstreamVariable)
	switch {
	case url != "":
		d.setUpstream(root, url, origin)
		if src.File == "" {
			d.set(root, []string{"caller", "none"}, d.mark(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, origin))
		}
	case src.File == "":
		d.problems = append(d.problems, Problem{Message: "there is no configuration", Hint: "give --config FILE or --upstream URL"})
	}
}

func (d *decoder) choose(flag, flagName, variable string) (value, origin string) {
	if flag != "" {
		return flag, flagName
	}
	value, _ = d.lookup(variable)
	return value, variable
}

// setUpstream replaces the targets of the only upstream. A file without upstreams and routes gets one
// of each.
func (d *decoder) setUpstream(root *yaml.Node, url, origin string) {
	const name = "default"
	targets := d.mark(&yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{d.scalar(url, origin)}}, origin)
	upstreams, routes := child(root, "upstreams"), child(root, "routes")
	switch {
	case upstreams == nil && routes == nil:
		d.set(root, []string{"upstreams", name, "targets"}, targets)
		route := d.mark(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, origin)
		d.set(route, []string{"name"}, d.scalar(name, origin))
		d.set(route, []string{"match", "path"}, d.scalar("/**", origin))
		d.set(route, []string{"upstream"}, d.scalar(name, origin))
		d.set(root, []string{"routes"}, d.mark(&yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Content: []*yaml.Node{route}}, origin))
	case upstreams != nil && upstreams.Kind == yaml.MappingNode && len(upstreams.Content) == 2:
		d.set(upstreams, []string{upstreams.Content[0].Value, "targets"}, targets)
	default:
		count := 0
		if upstreams != nil && upstreams.Kind == yaml.MappingNode {
			count = len(upstreams.Content) / 2
		}
		d.problems = append(d.problems, Problem{
			File: origin, Path: "upstreams",
			Message: "one URL cannot replace the targets of " + strconv.Itoa(count) + " upstreams",
			Hint:    "it needs a file with exactly one upstream, or without upstreams and routes",
		})
	}
}

// set puts value at path below n, over what is there. Where the file has something else than a
// mapping on the way, it leaves that for the decoder to report.
func (d *decoder) set(n *yaml.Node, path []string, value *yaml.Node) {
	for i, key := range path {
		if i == len(path)-1 {
			d.put(n, key, value)
			return
		}
		next := child(n, key)
		if next == nil || isNull(next) {
			next = d.mark(&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}, d.origins[value])
			d.put(n, key, next)
		}
		if next.Kind != yaml.MappingNode {
			return
		}
		n = next
	}
}

func (d *decoder) put(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i+1] = value
			return
		}
	}
	n.Content = append(n.Content, d.scalar(key, d.origins[value]), value)
}

func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return unalias(n.Content[i+1])
		}
	}
	return nil
}

func (d *decoder) scalar(value, origin string) *yaml.Node {
	return d.mark(&yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}, origin)
}

func (d *decoder) mark(n *yaml.Node, origin string) *yaml.Node {
	d.origins[n] = origin
	return n
}
