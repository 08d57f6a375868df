package config

import (
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/idempotency"
)

func defaultUpstream(name string) Upstream {
	return Upstream{
		Name:           name,
		Timeout:        30 * time.Second,
		ConnectTimeout: 5 * time.Second,
		IdleTimeout:    30 * time.Second,
		MaxInFlight:    512,
	}
}

func defaultIdempotency() Idempotency {
	return Idempotency{
		Header:              "Idempotency-Key",
		Probe:               Probe{Executed: []int{200}, Absent: []int{404}, Settle: 60 * time.Second},
		InProgressStatuses:  []int{409, 425},
		AttachWait:          10 * time.Second,
		NotExecutedStatuses: []int{401, 421, 425, 429},
		UnknownStatuses:     []int{502, 503, 504},
		MaxRequestBody:      1 << 20,
		MaxResponseBody:     1 << 20,
		MaxResponseSpill:    64 << 20,
	}
}

func (d *decoder) upstreams(all *[]Upstream) field {
	return func(path string, n *yaml.Node) {
		d.entries(path, n, func(name string, k, v *yaml.Node) {
			if message, hint := checkName(name); message != "" {
				d.add(k, join(path, name), "the name "+message, hint)
			}
			*all = append(*all, d.upstream(join(path, name), name, v))
		})
	}
}

func (d *decoder) upstream(path, name string, n *yaml.Node) Upstream {
	u := defaultUpstream(name)
	d.mapping(path, n, fields{
		"targets":         d.targets(&u.Targets),
		"timeout":         d.duration(&u.Timeout, time.Millisecond),
		"connect_timeout": d.duration(&u.ConnectTimeout, time.Millisecond),
		"idle_timeout":    d.duration(&u.IdleTimeout, time.Millisecond),
		"max_in_flight":   d.integer(&u.MaxInFlight, 1, noLimit),
	})
	d.require(path, n, "targets")
	if !d.given(join(path, "connect_timeout")) {
		u.ConnectTimeout = min(u.ConnectTimeout, u.Timeout)
	}
	return u
}

func (d *decoder) targets(all *[]*url.URL) field {
	return func(path string, n *yaml.Node) {
		d.list(path, n, func(at string, n *yaml.Node) {
			s, ok := d.text(at, n)
			if !ok {
				return
			}
			u, message, hint := parseTarget(s)
			if message == "" && slices.ContainsFunc(*all, func(other *url.URL) bool { return *other == *u }) {
				message, hint = "is listed twice", ""
			}
			if message != "" { // not quoted: it may contain a password
				d.add(n, at, message, hint)
				return
			}
			*all = append(*all, u)
		})
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.add(n, path, "must list at least one URL", "")
		}
	}
}

func (d *decoder) routes(all *[]Route) field {
	return func(path string, n *yaml.Node) {
		d.list(path, n, func(at string, n *yaml.Node) { *all = append(*all, d.route(at, n)) })
	}
}

func (d *decoder) route(path string, n *yaml.Node) Route {
	r := Route{Idempotency: defaultIdempotency()}
	d.mapping(path, n, fields{
		"name":        d.checked(&r.Name, checkName),
		"match":       d.match(&r.Match),
		"upstream":    d.str(&r.Upstream),
		"raw_paths":   d.boolean(&r.RawPaths),
		"idempotency": d.idempotency(&r.Idempotency),
		"cors":        d.cors(&r.CORS),
	})
	d.require(path, n, "name", "match", "upstream")
	return r
}

func (d *decoder) match(m *Match) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"path": d.checked(&m.Path, func(s string) (message, hint string) {
				if _, err := ParsePattern(s); err != nil {
					return err.Error(), "write it as in /orders, /orders/* or /orders/**"
				}
				return "", ""
			}),
			"methods": d.strings(&m.Methods, checkMethod),
			"host":    d.checked(&m.Host, checkMatchHost),
		})
		d.require(path, n, "path")
	}
}

func (d *decoder) idempotency(i *Idempotency) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"mode":                  d.enum(modes, func(v int) { i.Mode = Mode(v) }),
			"header":                d.header(&i.Header, refuseKeyHeader),
			"methods":               d.strings(&i.Methods, checkProtectable),
			"key_date":              d.enum(keyDates, func(v int) { i.KeyDate = idempotency.KeyDate(v) }),
			"on_unknown":            d.enum(onUnknowns, func(v int) { i.OnUnknown = OnUnknown(v) }),
			"probe":                 d.probe(&i.Probe),
			"in_progress_statuses":  d.statuses(&i.InProgressStatuses),
			"attach_wait":           d.duration(&i.AttachWait, 0),
			"not_executed_statuses": d.statuses(&i.NotExecutedStatuses),
			"unknown_statuses":      d.statuses(&i.UnknownStatuses),
			"max_request_body":      d.size(&i.MaxRequestBody),
			"max_response_body":     d.size(&i.MaxResponseBody),
			"max_response_spill":    d.size(&i.MaxResponseSpill),
			"drop_headers": d.strings(&i.DropHeaders, func(s string) (name, message, hint string) {
				message, hint = checkToken(s)
				return textproto.CanonicalMIMEHeaderKey(s), message, hint
			}),
		})
		i.Header = textproto.CanonicalMIMEHeaderKey(i.Header)
	}
}

func (d *decoder) probe(p *Probe) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"url":      d.str(&p.URL),
			"headers":  d.probeHeaders(p),
			"executed": d.statuses(&p.Executed),
			"absent":   d.statuses(&p.Absent),
			"absence":  d.enum(absences, func(v int) { p.Absence = Absence(v) }),
			"settle":   d.duration(&p.Settle, time.Millisecond),
			"replay":   d.boolean(&p.Replay),
		})
	}
}

func (d *decoder) probeHeaders(p *Probe) field {
	return func(path string, n *yaml.Node) {
		d.entries(path, n, func(name string, k, v *yaml.Node) {
			if message, hint := checkToken(name); message != "" {
				d.add(k, join(path, name), "the name "+message, hint)
			}
			s, ok := d.text(join(path, name), v)
			if !ok {
				return
			}
			at := join(path, name)
			name = textproto.CanonicalMIMEHeaderKey(name)
			if message, hint := checkProbeHeader(name); message != "" {
				d.add(k, at, message, hint)
			}
			if p.Headers == nil {
				p.Headers = map[string]string{}
			}
			p.Headers[name] = s
		})
	}
}

// checkMethod checks a method that can be proxied; methods are case-sensitive (RFC 9110, section 9.1).
func checkMethod(s string) (method, message, hint string) {
	message, hint = checkToken(s)
	switch {
	case message != "":
	case strings.ToUpper(s) != s:
		message, hint = "contains lower-case letters", "methods are case-sensitive; did you mean "+strings.ToUpper(s)+"?"
	case s == "CONNECT":
		message = "CONNECT cannot be proxied"
	}
	return s, message, hint
}

// checkProtectable checks a method whose requests may be protected.
func checkProtectable(s string) (method, message, hint string) {
	switch s {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return s, s + " is a safe method and needs no protection", "it always streams through"
	}
	return checkMethod(s)
}
