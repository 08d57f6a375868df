package config

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// Each file has exactly the problems that are listed, in this order, each with its line.
func TestProblems(t *testing.T) {
	const head = "caller: {none: {}}\nupstreams: {orders: {targets: [http://127.0.0.1:9000]}}\n"
	const route = head + "routes: [{name: a, match: {path: /**}, upstream: orders, idempotency: {%}}]\n"
	for _, test := range []struct {
		name, text string
		want       []string // prefix, then a part of the rest after "…"
	}{
		{"unknown key", least + "lisen: x", []string{":4: lisen: unknown key…did you mean listen?"}},
		{"unknown nested key", least + "log: {lvl: info}", []string{":4: log.lvl: unknown key; allowed: access, format, level…"}},
		{"wrong types", least + "listen: 8080\nlog: text\nadmin: {tokens: {}}\ndrain_delay: true\nbody_budget: [1]\nversion: '1'\nlog2: 1", []string{
			":4: listen: must be a string, but is a number…quotes", ":5: log: must be a mapping, but is a string",
			":6: admin.tokens: must be a list, but is a mapping", ":7: drain_delay: must be a duration, but is true or false",
			":8: body_budget: must be a size, but is a list", ":9: version: must be a whole number, but is a string…without quotes",
			":10: log2: unknown key…did you mean log?",
		}},
		{"duplicate key", least + "lease: 10s\nlease: 10s", []string{":5: lease: is set twice…line 4"}},
		{"duplicate upstream", least[:strings.Index(least, "routes")] + "routes: [{name: a, match: {path: /}, upstream: a}]\n" + "upstreams: {}", []string{":3: routes[0].upstream: no upstream has this name…", ":4: upstreams: is set twice…"}},
		{"version", least + "version: 2", []string{":4: version: \"2\" is out of range; allowed: 1"}},
		{"syntax", "caller: [", []string{":1: is not valid YAML…"}},
		{"second document", least + "---\na: 1", []string{":4: a second document…"}},
		{"merge key", least + "x: &x {}\nlog: {<<: *x}", []string{":4: x: unknown key…", ":5: log: merge keys…"}},
		{"no caller", strings.Replace(least, "caller", "#", 1), []string{":1: caller: is missing; allowed: none, header, jwt, api_keys, mtls…"}},
		{"two callers", strings.Replace(least, "none: {}", "none: , header: {name: X-A}", 1) + "trusted_proxies: ['::1']", []string{":1: caller: must name exactly one…names 2"}},
		{"empty caller", strings.Replace(least, "{none: {}}", "{}", 1), []string{":1: caller: must name exactly one…"}},
		{"header without proxies", strings.Replace(least, "none: {}", "header: {name: X-A}", 1), []string{":1: caller.header: needs trusted_proxies…"}},
		{"header without name", strings.Replace(least, "none: {}", "header: {}", 1) + "trusted_proxies: ['::1']", []string{":1: caller.header.name: is missing…"}},
		{"caller headers", strings.Replace(least, "none: {}", "header: {name: authorization}", 1) + "trusted_proxies: ['::1']", []string{":1: caller.header.name: Authorization cannot name the caller: a refreshed token…"}},
		{"beyond loopback", least + "listen: :8080", []string{":4: listen: listens beyond loopback…shared: true"}},
		{"same address", least + "listen: 127.0.0.1:9090", []string{":4: listen: listen and admin.listen are the same address…"}},
		{"addresses", least + "listen: localhost\nadmin: {listen: '1.2.3.4:99999'}", []string{":4: listen: is not host:port…", ":5: admin.listen: has no port…"}},
		{"tls halves", least + "tls: {cert: a}", []string{":4: tls: needs both…"}},
		{"store", least + "store: mysql://x", []string{":4: store: must begin with sqlite: or postgres://…"}},
		{"store with a parameter", least + "store: 'sqlite:onceway.db?_pragma=busy_timeout(1)'", []string{":4: store: must not have parameters…without ?"}},
		{"store in memory", least + "store: 'sqlite::memory:'", []string{":4: store: must name a file…"}},
		{"durations", least + "lease: 10\ndrain_delay: -1s\nmax_wait: 5 s\nstore_timeout: 0s\nretention: {key: 1y}", []string{
			":4: lease: a duration needs a unit; write 10s…", ":5: drain_delay: \"-1s\" is negative…", ":6: max_wait: \"5 s\" is not a duration…",
			":7: store_timeout: \"0s\" is too short; allowed: 1ms or more", ":8: retention.key: \"1y\" is not a duration…",
		}},
		{"sizes", least + "body_budget: 1 TB", []string{":4: body_budget: \"1 TB\" is not a size; allowed: B, KB…"}},
		{"size zero", least + "body_budget: 0", []string{":3: routes[0].idempotency.max_request_body: is greater…", ":3: routes[0].idempotency.max_response_body: is greater…", ":4: body_budget: must be greater than 0"}},
		{"size overflow", least + "body_budget: 9223372036854775807KiB", []string{":4: body_budget: \"9223372036854775807KiB\" is too large…"}},
		{"proxies", least + "trusted_proxies: [10.0.0.1/8, host]", []string{":4: trusted_proxies[0]: \"10.0.0.1/8\" has bits…10.0.0.0/8?", ":4: trusted_proxies[1]: \"host\" is neither…"}},
		{"enum", least + "log: {level: inof}", []string{":4: log.level: \"inof\" is not a value of this setting; allowed: debug, info, warn, error; did you mean info?"}},
		{"retention", least + "retention: {response: 2h, key: 1h}", []string{":4: retention.response: responses cannot be kept longer…at most retention.key, which is 1h"}},
		{"drain", least + "drain_timeout: 34s", []string{":4: drain_timeout: drain_timeout is 34s, too short for upstream orders…write drain_timeout: 35s"}},
		{"drain by upstream", strings.Replace(least, "9000]", "9000], timeout: 1m", 1), []string{":2: upstreams.orders.timeout: drain_timeout is 35s…1m5s"}},
		{"connect", strings.Replace(least, "9000]", "9000], timeout: 1s, connect_timeout: 2s", 1), []string{":2: upstreams.orders.connect_timeout: is longer…"}},
		{"tokens", least + "admin: {tokens: [{name: a, hash: 'sha256:12'}, {name: a}, {hash: x, x: 1}]}", []string{
			":4: admin.tokens[0].hash: must be sha256:…", ":4: admin.tokens[1].hash: is missing…", ":4: admin.tokens[2].hash: must be sha256:…",
			":4: admin.tokens[2].x: unknown key…", ":4: admin.tokens[2].name: is missing…", ":4: admin.tokens[1].name: another token has this name…",
		}},
		{"targets", head[:19] + `upstreams:
  a: {targets: ["ftp://h", "http://u@h", "http://h/p", "http://h?q", "http://h#", "http://", "http://h:0", "http://h:x", h, "http://h", "http://H/"]}
  b: {targets: []}
  c: {}
routes: [{name: a, match: {path: /}, upstream: a}]`, []string{
			":3: upstreams.a.targets[0]: must begin with http://…", ":3: upstreams.a.targets[1]: must not contain a user…", ":3: upstreams.a.targets[2]: must not contain a path…",
			":3: upstreams.a.targets[3]: must not contain a query…", ":3: upstreams.a.targets[4]: must not contain a query…", ":3: upstreams.a.targets[5]: has no valid host…",
			":3: upstreams.a.targets[6]: has no port…", ":3: upstreams.a.targets[7]: is not a URL…", ":3: upstreams.a.targets[8]: must begin…", ":3: upstreams.a.targets[10]: is listed twice",
			":4: upstreams.b.targets: must list at least one URL", ":5: upstreams.c.targets: is missing…",
		}},
		{"itself", strings.Replace(least, "9000", "8080", 1), []string{":2: upstreams.orders.targets[0]: is the gateway itself…"}},
		{"routes", head + `routes:
  - {name: a, match: {path: /a}, upstream: order}
  - {name: a, match: {path: a, methods: [post, CONNECT], host: "H:1"}, upstream: orders}
  - {}`, []string{
			":4: routes[0].upstream: no upstream has this name; allowed: orders; did you mean orders?", ":5: routes[1].match.path: a path begins with /…",
			":5: routes[1].match.methods[0]: contains lower-case letters…did you mean POST?", ":5: routes[1].match.methods[1]: CONNECT cannot…",
			":5: routes[1].match.host: contains upper-case…", ":5: routes[1].name: another route has this name",
			":6: routes[2].name: is missing…", ":6: routes[2].match: is missing…", ":6: routes[2].upstream: is missing…",
		}},
		{"nothing to serve", "caller: {none: {}}", []string{":1: upstreams: there is none…--upstream URL", ":1: routes: there is none…"}},
		{"statuses in both", strings.Replace(route, "%", "not_executed_statuses: [503]", 1), []string{":3: routes[0].idempotency.not_executed_statuses: 503 is in both…"}},
		{"statuses", strings.Replace(route, "%", "unknown_statuses: [99, 600, 500, 500, x]", 1), []string{
			":3: routes[0].idempotency.unknown_statuses[0]: \"99\" is out of range; allowed: 100 to 599", ":3: routes[0].idempotency.unknown_statuses[1]: \"600\"…",
			":3: routes[0].idempotency.unknown_statuses[3]: 500 is listed twice", ":3: routes[0].idempotency.unknown_statuses[4]: must be a whole number…",
		}},
		{"attach wait", strings.Replace(route, "%", "attach_wait: 31s", 1), []string{":3: routes[0].idempotency.attach_wait: is longer than max_wait; allowed: at most 30s"}},
		{"spill", strings.Replace(route, "%", "max_response_spill: 1KiB", 1), []string{":3: routes[0].idempotency.max_response_spill: is less than max_response_body…"}},
		{"budget", strings.Replace(route, "%", "max_request_body: 1GiB", 1), []string{":3: routes[0].idempotency.max_request_body: is greater than body_budget…256MiB"}},
		{"safe methods", strings.Replace(route, "%", "methods: [GET]", 1), []string{":3: routes[0].idempotency.methods[0]: GET is a safe method…"}},
		{"key header", strings.Replace(route, "%", "header: Prefer", 1), []string{":3: routes[0].idempotency.header: Prefer cannot carry the key…"}},
		{"spool limit", least + "spool_limit: 0", []string{":4: spool_limit: must be greater than 0…"}},
		{"base path", least + "reconcile: {base_path: /a/}", []string{":4: reconcile.base_path: must not end with /…"}},
		{"variables", least + "store: 'sqlite:${A}${B}'\nspool: '${'\nlisten: '${A B}'", []string{
			":4: store: the environment variable A is not set", ":4: store: the environment variable B is not set", ":5: spool: ${ must be followed…", ":6: listen: ${ must be followed…",
		}},
		{"control characters", least + `listen: "a\nb"`, []string{":4: listen: contains control characters…"}},
		{"not yet available", strings.Replace(strings.Replace(route, "none: {}", "jwt: {issuer: a}", 1), "%", "attach_wait: 1s", 1) +
			"spool: a\ntls: {cert: a, key: b, client_ca: c}", []string{
			":1: caller.jwt: not available in this version…", ":5: tls.client_ca: not available…",
		}},
		{"origins", least + `cors: {origins: [app.example.com, "https://App.example.com", "https://a.example/", "https://a.example:443", "http://a:80",
  "null", "ftp://a", "https://u@a", "https://*.com", "https://*.10.0.0.1", "https://a.*.b.c", "https://bücher.example", "https://a:0", "https://a:",
  "https://a.example", "https://a.example"]}`, []string{
			":4: cors.origins[0]: is not an origin…https://app.example.com", ":4: cors.origins[1]: contains upper-case…did you mean https://app.example.com?",
			":4: cors.origins[2]: has more than…did you mean https://a.example?", ":4: cors.origins[3]: names the port…did you mean https://a.example?",
			":4: cors.origins[4]: names the port…did you mean http://a?", ":5: cors.origins[5]: is what files…", ":5: cors.origins[6]: must begin with https://…",
			":5: cors.origins[7]: has more than…did you mean https://a?", ":5: cors.origins[8]: stands for names…", ":5: cors.origins[9]: stands for names…",
			":5: cors.origins[10]: has * where…", ":5: cors.origins[11]: has no valid host…xn--", ":5: cors.origins[12]: has no port…",
			":5: cors.origins[13]: has no port…", ":6: cors.origins[15]: is listed twice",
		}},
		{"all origins", strings.Replace(least, "upstream: orders", "upstream: orders, cors: {origins: ['https://a.example', '*']}", 1) + "cors: {origins: ['*'], credentials: true}", []string{
			":3: routes[0].cors.origins: * stands for all others…", ":4: cors.credentials: cannot be true for every origin…name the origins",
		}},
		{"credentials of nobody", least + "cors: {credentials: true}", []string{":4: cors.credentials: there are no origins…list them in cors.origins"}},
		{"probe", strings.Replace(route, "%", "on_unknown: probe, probe: {executed: [200, 404], headers: {onceway-attempt: '1', host: x}}", 1), []string{
			":3: routes[0].idempotency.probe.headers.onceway-attempt: Onceway-Attempt is not for you to set…",
			":3: routes[0].idempotency.probe.headers.host: Host is not for you to set…",
			":3: routes[0].idempotency.probe.url: is missing…", ":3: routes[0].idempotency.probe.executed: 404 is in both executed and absent…",
		}},
		{"probe without operation", strings.Replace(route, "%", "probe: {url: 'http://a/?token=secret'}", 1), []string{":3: routes[0].idempotency.probe.url: does not contain {operation}…"}},
		{"probe with password", strings.Replace(route, "%", "probe: {url: 'http://u:p@a/{operation}'}", 1), []string{":3: routes[0].idempotency.probe.url: must not contain a user or password…"}},
		{"probe by other means", strings.Replace(route, "%", "probe: {url: 'h2c://a/{operation}'}", 1), []string{":3: routes[0].idempotency.probe.url: must begin with http:// or https://…"}},
		{"probe of nobody", strings.Replace(route, "%", "probe: {url: 'http:///{operation}'}", 1), []string{":3: routes[0].idempotency.probe.url: has no valid host…"}},
		{"probe of everybody", strings.Replace(route, "%", "probe: {url: 'http://{operation}.a/'}", 1), []string{":3: routes[0].idempotency.probe.url: has {operation} in its host…"}},
		{"other callers", strings.Replace(least, "none: {}", "mtls: {field: san_uri}", 1), []string{":1: caller.mtls: not available…"}},
		{"api keys", strings.Replace(least, "none: {}", "api_keys: {file: x}", 1), []string{":1: caller.api_keys: not available…"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(t, test.text)
			got := problems(t, err)
			for i, p := range got {
				if i >= len(test.want) {
					t.Errorf("more than wanted: %v", p)
					continue
				}
				start, part, _ := strings.Cut(test.want[i], "…")
				if s := p.String(); !strings.HasPrefix(s, "onceway.yaml"+start) || !strings.Contains(s, part) {
					t.Errorf("got  %s\nwant onceway.yaml%s", s, test.want[i])
				}
			}
			if len(got) < len(test.want) {
				t.Errorf("%d problems are missing:\n%v", len(test.want)-len(got), err)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"none", least, ""},
		{"shared", strings.Replace(least, "none: {}", "none: {shared: true}", 1), "onceway.yaml:1: caller.none.shared: all clients"},
		{"undated", strings.Replace(least, "/**}", "/**}, idempotency: {key_date: none}", 1), "onceway.yaml:3: routes[0].idempotency.key_date: keys carry no date"},
		{"503 is final", strings.Replace(least, "/**}", "/**}, idempotency: {unknown_statuses: [502, 504]}", 1), "503 is a final answer"},
		{"503 is proof", strings.Replace(least, "/**}", "/**}, idempotency: {unknown_statuses: [502, 504], not_executed_statuses: [503]}", 1), "503 is taken for proof"},
		{"off", strings.Replace(least, "/**}", "/**}, idempotency: {mode: off, key_date: none}", 1), ""},
		{"unreachable", strings.Replace(least, "upstream: orders}", "upstream: orders}, {name: b, match: {path: /x}, upstream: orders}", 1), "routes[1]: is never reached: route all"},
		{"reachable by method", strings.Replace(least, "/**}, upstream: orders}", "/**, methods: [POST]}, upstream: orders}, {name: b, match: {path: /x}, upstream: orders}", 1), ""},
		{"below our own API", strings.Replace(least, "path: /**", "path: /_reconcile/v1/**", 1), "the reconciliation API answers"},
		{"unused", strings.Replace(least, "9000]}", "9000]}, b: {targets: [http://h]}", 1), "upstreams.b: no route uses it"},
		{"admin", least + "admin: {listen: ':9090'}", "admin.listen: listens beyond loopback without tokens"},
		{"lease", least + "lease: 1s", "lease: a lease this short"},
	} {
		got := mustLoad(t, test.text).Warnings()
		switch {
		case test.want == "" && len(got) > 0:
			t.Errorf("%s: warns %v", test.name, got)
		case test.want != "" && (len(got) != 1 || !strings.Contains(got[0].String(), test.want)):
			t.Errorf("%s: got %v, want %s", test.name, got, test.want)
		}
	}
}

// A variable that is misspelt changes nothing, and nothing else would say so.
func TestWarningsOfVariablesThatNobodyReads(t *testing.T) {
	names := []string{
		"HOME", "ONCEWAY_DRAIN_DELAY", "ONCEWAY_LISTEN", "ONCEWAY_PASSWORD", "ONCEWAY_SPOOL", "ONCEWAY_STOREE", "ONCEWAY_UPSTREAM",
		// of a service named onceway
		"ONCEWAY_PORT", "ONCEWAY_PORT_8080_TCP", "ONCEWAY_PORT_8080_TCP_ADDR", "ONCEWAY_SERVICE_HOST", "ONCEWAY_SERVICE_PORT", "ONCEWAY_SERVICE_PORT_HTTP",
	}
	src := Source{
		File: "f", Data: []byte(least + "store: postgres://u:${ONCEWAY_PASSWORD}@h/d"), Lookup: environment("ONCEWAY_PASSWORD=p"),
		Variables: names, Overrides: Overrides{Listen: "127.0.0.1:1"},
	}
	c, err := Load(src)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range c.Warnings() {
		got = append(got, w.String())
	}
	want := []string{
		`ONCEWAY_SPOOL: nothing reads this variable; to use it, write "${ONCEWAY_SPOOL}" into the file`,
		"ONCEWAY_STOREE: nothing reads this variable; did you mean ONCEWAY_STORE?",
	}
	if !slices.Equal(got, want) {
		t.Errorf("warns %q, want %q", got, want)
	}
}

// A DSN is looked at by who can read it, and not if that is nobody.
func TestProblemsOfADSN(t *testing.T) {
	src := Source{File: "f", Data: []byte(least + "store: postgres://h/d?x=y"), DSN: func(dsn string) error { return errors.New("has " + dsn[len(dsn)-3:]) }}
	if _, err := Load(src); err == nil || !strings.HasPrefix(err.Error(), "f:4: store: has x=y; ") {
		t.Errorf("got %v", err)
	}
	src.DSN = nil
	if _, err := Load(src); err != nil {
		t.Error(err)
	}
	src.Data, src.DSN = []byte(least+"store: sqlite:x.db"), func(string) error { panic("it is no DSN") }
	if _, err := Load(src); err != nil {
		t.Error(err)
	}
}

// What is wrong with the files of a certificate is said with everything else, and without what is in them.
func TestProblemsOfFiles(t *testing.T) {
	files := func(name string) ([]byte, error) {
		switch name {
		case "secret":
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
		case "text":
			return []byte("canary"), nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	lookup := func(name string) (string, bool) {
		value, ok := map[string]string{"KEY": "secret"}[name]
		return value, ok
	}
	for text, want := range map[string]string{
		"tls: {cert: none, key: text}\nlisten: x": "f:4: tls.cert: cannot be read: file does not exist; name a PEM file; a relative path begins at the configuration's directory\n" +
			"f:5: listen: is not host:port; write it as in 127.0.0.1:8080, :8080 or [::1]:8080",
		"tls:\n  cert: text\n  key: ${KEY}": "f:6: tls.key: cannot be read: permission denied; name a PEM file; a relative path begins at the configuration's directory",
		"tls: {cert: text, key: text}":      "f:4: tls: cert and key do not serve: failed to find any PEM data in certificate input; cert is the chain, key the private key of its first certificate, both as PEM",
	} {
		if _, err := Load(Source{File: "f", Data: []byte(least + text), Lookup: lookup, Files: files}); err == nil || err.Error() != want {
			t.Errorf("%s\ngives %v\nwant  %s", text, err, want)
		}
		if _, err := Load(Source{File: "f", Data: []byte(least + strings.ReplaceAll(text, "listen: x", "")), Lookup: lookup}); err != nil {
			t.Errorf("%s, without looking at files, gives %v", text, err)
		}
	}
}
