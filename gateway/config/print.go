package config

import (
	"encoding/hex"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// YAML returns the effective configuration, every key written out, in the order of the documentation.
// It loads again to the same configuration, except that the passwords of the store's DSN and the fields of probes are redacted,
// and that it stands for itself only in the directory that relative paths were resolved to.
func (c *Config) YAML() []byte {
	tokens := list(c.Admin.Tokens, func(t Token) any {
		return pairs{{"name", t.Name}, {"hash", "sha256:" + hex.EncodeToString(t.Hash[:])}}
	})
	root := pairs{
		{"version", c.Version},
		{"listen", c.Listen},
		{"tls", pairs{{"cert", c.TLS.Cert}, {"key", c.TLS.Key}, {"client_ca", c.TLS.ClientCA}}},
		{"store", redactStore(c.Store)},
		{"store_timeout", c.StoreTimeout},
		{"spool", c.Spool},
		{"spool_limit", size(c.SpoolLimit)},
		{"lease", c.Lease},
		{"retention", pairs{{"response", c.Retention.Response}, {"key", c.Retention.Key}}},
		{"drain_delay", c.DrainDelay},
		{"drain_timeout", c.DrainTimeout},
		{"max_wait", c.MaxWait},
		{"body_budget", size(c.BodyBudget)},
		{"trusted_proxies", texts(c.TrustedProxies)},
		{"log", pairs{{"level", c.Log.Level}, {"format", c.Log.Format}, {"access", c.Log.Access}}},
		{"admin", pairs{{"listen", c.Admin.Listen}, {"tokens", tokens}}},
		{"caller", c.Caller.pairs()},
		{"limits", pairs{
			{"requests_per_second", c.Limits.RequestsPerSecond},
			{"in_flight", c.Limits.InFlight},
			{"unsettled", c.Limits.Unsettled},
		}},
		{"cors", c.CORS.pairs()},
		{"reconcile", pairs{{"base_path", c.Reconcile.BasePath}, {"requests_per_second", c.Reconcile.RequestsPerSecond}}},
	}
	upstreams := pairs{}
	for _, u := range c.Upstreams {
		upstreams = append(upstreams, pair{u.Name, u.pairs()})
	}
	root = append(root, pair{"upstreams", upstreams}, pair{"routes", list(c.Routes, func(r Route) any { return r.pairs() })})
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(root.node()); err != nil {
		panic("config: a tree of mappings, lists and scalars did not encode: " + err.Error())
	}
	return []byte(b.String())
}

func (c Caller) pairs() pairs {
	switch {
	case c.None != nil:
		return pairs{{"none", pairs{{"shared", c.None.Shared}}}}
	case c.Header != nil:
		return pairs{{"header", pairs{{"name", c.Header.Name}}}}
	}
	return pairs{} // the other ways do not load in this version
}

func (c CORS) pairs() pairs {
	return pairs{{"origins", texts(c.Origins)}, {"credentials", c.Credentials}}
}

func (u Upstream) pairs() pairs {
	return pairs{
		{"targets", texts(u.Targets)},
		{"timeout", u.Timeout},
		{"connect_timeout", u.ConnectTimeout},
		{"idle_timeout", u.IdleTimeout},
		{"max_in_flight", u.MaxInFlight},
	}
}

func (r Route) pairs() pairs {
	return pairs{
		{"name", r.Name},
		{"match", pairs{{"path", r.Match.Path}, {"methods", texts(r.Match.Methods)}, {"host", r.Match.Host}}},
		{"upstream", r.Upstream},
		{"raw_paths", r.RawPaths},
		{"idempotency", r.Idempotency.pairs()},
		{"cors", r.CORS.pairs()},
	}
}

func (i Idempotency) pairs() pairs {
	p := i.Probe
	return pairs{
		{"mode", i.Mode.String()},
		{"header", i.Header},
		{"methods", texts(i.Methods)},
		{"key_date", keyDates[i.KeyDate]},
		{"on_unknown", i.OnUnknown.String()},
		{"probe", pairs{
			{"url", p.URL},
			{"headers", redactHeaders(p.Headers)},
			{"executed", texts(p.Executed)},
			{"absent", texts(p.Absent)},
			{"absence", p.Absence.String()},
			{"settle", p.Settle},
			{"replay", p.Replay},
		}},
		{"in_progress_statuses", texts(i.InProgressStatuses)},
		{"attach_wait", i.AttachWait},
		{"not_executed_statuses", texts(i.NotExecutedStatuses)},
		{"unknown_statuses", texts(i.UnknownStatuses)},
		{"max_request_body", size(i.MaxRequestBody)},
		{"max_response_body", size(i.MaxResponseBody)},
		{"max_response_spill", size(i.MaxResponseSpill)},
		{"drop_headers", texts(i.DropHeaders)},
	}
}

// pairs is a mapping that keeps its order. Values are pairs, lists, strings, numbers, truth values,
// durations, sizes and what has a String method.
type pairs []pair

type pair struct {
	key   string
	value any
}

type size int64

func (p pairs) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode}
	if len(p) == 0 {
		n.Style = yaml.FlowStyle
	}
	for _, kv := range p {
		n.Content = append(n.Content, scalarNode(kv.key), node(kv.value))
	}
	return n
}

func node(v any) *yaml.Node {
	switch v := v.(type) {
	case pairs:
		return v.node()
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
		for _, element := range v {
			if _, ok := element.(pairs); ok {
				n.Style = 0
			}
			n.Content = append(n.Content, node(element))
		}
		return n
	case time.Duration:
		return scalarNode(formatDuration(v))
	case size:
		return scalarNode(formatSize(int64(v)))
	case string:
		return scalarNode(strings.ReplaceAll(v, "${", "$${"))
	case interface{ String() string }:
		return scalarNode(v.String())
	}
	return scalarNode(v) // a number or a truth value
}

func scalarNode(v any) *yaml.Node {
	n := &yaml.Node{}
	if err := n.Encode(v); err != nil {
		panic("config: a scalar did not encode: " + err.Error())
	}
	return n
}

// texts is a list of scalars.
func texts[T any](all []T) []any {
	return list(all, func(v T) any { return v })
}

func list[T any](all []T, show func(T) any) []any {
	shown := make([]any, len(all))
	for i, v := range all {
		shown[i] = show(v)
	}
	return shown
}
