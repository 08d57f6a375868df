package config

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// FuzzLoad: nothing panics, and what loads prints to something that loads to the same configuration.
func FuzzLoad(f *testing.F) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(least))
	f.Add([]byte("store: 'postgres://u:${PW}@h/$${x}?sslpassword=y'\n" + least))
	f.Add([]byte("store: 'sqlite:$${x}$$${PW}$.db'\n" + least))
	f.Add([]byte("trusted_proxies: ['::ffff:10.0.0.0/104', '2001:db8::/32']\nlisten: '[::1]:0'\n" + least))
	f.Add([]byte(strings.Replace(least, "upstream: orders}", "upstream: orders, idempotency: {on_unknown: resend, in_progress_statuses: []}}", 1)))
	f.Add([]byte(strings.Replace(least, "upstream: orders}", "upstream: orders, idempotency: {on_unknown: probe, probe: {url: 'http://a/{operation}', headers: {A: b}, replay: true}}}", 1)))
	f.Add([]byte("a: &a [*a]\nlog: {<<: *a}\n!!binary x: ? {}\n--- 1"))
	f.Add([]byte("caller: {none: }\nadmin: &a {tokens: []}\nx: *a\n" + least))
	f.Fuzz(func(t *testing.T, data []byte) {
		src := Source{File: "fuzz.yaml", Data: data, Lookup: environment("PW=p${w}")}
		first, err := Load(src)
		if err != nil {
			_ = err.Error()
			return
		}
		src.Data, src.Lookup = first.YAML(), nil
		second, err := Load(src)
		if err != nil {
			t.Fatalf("what was printed does not load: %v\n%s", err, src.Data)
		}
		first.Store, first.warnings, second.warnings = redactStore(first.Store), nil, nil
		if !reflect.DeepEqual(normal(first), normal(second)) {
			t.Fatalf("printed and loaded again, it differs:\n%+v\n%+v\n%s", first, second, src.Data)
		}
	})
}

// normal makes nil and empty lists the same.
func normal(c *Config) *Config {
	for i := range c.Routes {
		r := &c.Routes[i]
		for _, list := range []*[]string{&r.Match.Methods, &r.Idempotency.Methods, &r.Idempotency.DropHeaders, &r.CORS.Origins} {
			if len(*list) == 0 {
				*list = nil
			}
		}
		for name := range r.Idempotency.Probe.Headers {
			r.Idempotency.Probe.Headers[name] = redacted
		}
		if len(r.Idempotency.Probe.Headers) == 0 {
			r.Idempotency.Probe.Headers = nil
		}
		for _, list := range []*[]int{&r.Idempotency.Probe.Executed, &r.Idempotency.Probe.Absent, &r.Idempotency.InProgressStatuses, &r.Idempotency.NotExecutedStatuses, &r.Idempotency.UnknownStatuses} {
			if len(*list) == 0 {
				*list = nil
			}
		}
	}
	return c
}
