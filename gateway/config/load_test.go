package config

import (
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// least is the shortest file that loads.
const least = `caller: {none: {}}
upstreams: {orders: {targets: [http://127.0.0.1:9000]}}
routes: [{name: all, match: {path: /**}, upstream: orders}]
`

func load(t *testing.T, text string, env ...string) (*Config, error) {
	t.Helper()
	return Load(Source{File: "onceway.yaml", Data: []byte(text), Lookup: environment(env...)})
}

func mustLoad(t *testing.T, text string, env ...string) *Config {
	t.Helper()
	c, err := load(t, text, env...)
	if err != nil {
		t.Fatalf("does not load:\n%v", err)
	}
	return c
}

func environment(env ...string) Lookup {
	return func(name string) (string, bool) {
		for _, e := range env {
			if n, v, _ := strings.Cut(e, "="); n == name {
				return v, true
			}
		}
		return "", false
	}
}

func problems(t *testing.T, err error) []Problem {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || len(e.Problems) == 0 {
		t.Fatalf("got %v, want an *Error with problems", err)
	}
	return e.Problems
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	full, err := os.ReadFile("testdata/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := mustLoad(t, string(full))
	want := mustLoad(t, strings.ReplaceAll(strings.ReplaceAll(least, "name: all", "name: orders"), "/**", "/orders/**"))
	want.Admin.Tokens = got.Admin.Tokens
	if g, w := string(got.YAML()), string(want.YAML()); g != w {
		t.Errorf("the documented example is not made of defaults:\n%s\nwant\n%s", g, w)
	}
	i := got.Routes[0].Idempotency
	if got.StoreTimeout != 5*time.Second || got.Retention != (idempotency.Retention{Response: 24 * time.Hour, Key: 720 * time.Hour}) ||
		got.BodyBudget != 256<<20 || got.Upstreams[0].ConnectTimeout != 5*time.Second || i.Mode != ModeRequired ||
		i.KeyDate != idempotency.DateUUIDv7 || i.MaxResponseSpill != 64<<20 || !reflect.DeepEqual(i.UnknownStatuses, []int{502, 503, 504}) {
		t.Errorf("got %+v", got)
	}
	if len(got.Warnings()) != 0 {
		t.Errorf("the documented example warns: %v", got.Warnings())
	}
}

// Where all clients are one caller, the limit of one caller's questions would be that of all.
func TestDefaultLimitOfQuestions(t *testing.T) {
	for more, want := range map[string]int{"": 0, "reconcile: {requests_per_second: 7}\n": 7} {
		if got := mustLoad(t, more+least).Reconcile.RequestsPerSecond; got != want {
			t.Errorf("%q: %d, want %d", more, got, want)
		}
	}
	named := strings.Replace(least, "none: {}", "header: {name: x-user-id}", 1)
	for more, want := range map[string]int{"": 1000, "reconcile: {requests_per_second: 0}\n": 0} {
		if got := mustLoad(t, more+"trusted_proxies: [10.0.0.0/8]\n"+named).Reconcile.RequestsPerSecond; got != want {
			t.Errorf("%q: %d, want %d", more, got, want)
		}
	}
}

func TestEverythingElseParses(t *testing.T) {
	c := mustLoad(t, `
listen: "[::]:8443"
tls: {cert: c.pem, key: /k.pem}
store: postgres://u:secret@db/x
trusted_proxies: [10.0.0.0/8, "::1", "::ffff:192.0.2.0/120"]
retention: {response: 1d, key: 30d12h}
body_budget: 300 MB
log: {level: debug, format: text, access: false}
caller: {header: {name: x-user-id}}
reconcile: {base_path: /a/b}
drain_timeout: 2m
upstreams:
  a: {targets: ["https://A.example", "h2c://[::1]:1"], timeout: 1m, connect_timeout: 1s, idle_timeout: 2s, max_in_flight: 7}
routes:
  - name: r
    match: {path: /a/*/b, methods: [POST, PURGE], host: "*.example.com"}
    upstream: a
    raw_paths: true
    idempotency:
      mode: optional
      header: x-key
      methods: [PUT, POST]
      key_date: ulid
      attach_wait: 0s
      not_executed_statuses: [429, 401]
      unknown_statuses: [503, 502, 504]
      max_response_spill: 0
      drop_headers: [x-request-id]
`)
	r := c.Routes[0]
	want := []any{
		c.TLS, TLS{Cert: "c.pem", Key: "/k.pem"},
		c.TrustedProxies, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.0.2.0/24")},
		c.Retention, idempotency.Retention{Response: 24 * time.Hour, Key: 732 * time.Hour},
		c.BodyBudget, int64(300e6),
		c.Log, Log{Level: "debug", Format: "text"},
		*c.Caller.Header, CallerHeader{Name: "X-User-Id"},
		c.Upstreams[0].Targets[0].String(), "https://a.example",
		c.Upstreams[0].Targets[1].String(), "h2c://[::1]:1",
		r.Match, Match{Path: "/a/*/b", Methods: []string{"POST", "PURGE"}, Host: "*.example.com"},
		r.Idempotency.Mode, ModeOptional,
		r.Idempotency.Header, "X-Key",
		r.Idempotency.KeyDate, idempotency.DateULID,
		r.Idempotency.AttachWait, time.Duration(0),
		r.Idempotency.NotExecutedStatuses, []int{401, 429},
		r.Idempotency.DropHeaders, []string{"X-Request-Id"},
	}
	for i := 0; i < len(want); i += 2 {
		if !reflect.DeepEqual(want[i], want[i+1]) {
			t.Errorf("got %+v, want %+v", want[i], want[i+1])
		}
	}
}

func TestDerivedDefaults(t *testing.T) {
	c := mustLoad(t, "max_wait: 3s\nretention: {key: 1h}\n"+strings.Replace(least, "9000]", "9000], timeout: 2s", 1))
	if got := c.Routes[0].Idempotency.AttachWait; got != 3*time.Second {
		t.Errorf("attach_wait is %v", got)
	}
	if got := c.Retention.Response; got != time.Hour {
		t.Errorf("retention.response is %v", got)
	}
	if got := c.Upstreams[0].ConnectTimeout; got != 2*time.Second {
		t.Errorf("connect_timeout is %v", got)
	}
}

func TestRelativePathsResolveAgainstTheFile(t *testing.T) {
	for _, test := range []struct{ store, env, want string }{
		{"", "", "sqlite:/etc/onceway/onceway.db"},
		{"store: sqlite:data/x.db", "", "sqlite:/etc/onceway/data/x.db"},
		{"store: sqlite:/var/x.db", "", "sqlite:/var/x.db"},
		{"store: sqlite:data/x.db", "ONCEWAY_STORE=sqlite:y.db", "sqlite:y.db"},
	} {
		c, err := Load(Source{File: "/etc/onceway/o.yaml", Data: []byte(test.store + "\ntls: {cert: a, key: ../b}\n" + least), Lookup: environment(test.env)})
		if err != nil {
			t.Fatal(err)
		}
		if c.Store != test.want {
			t.Errorf("%s: got %s, want %s", test.store, c.Store, test.want)
		}
		if c.TLS != (TLS{Cert: "/etc/onceway/a", Key: "/etc/b"}) {
			t.Errorf("got %+v", c.TLS)
		}
	}
}

func TestPrecedence(t *testing.T) {
	file := "listen: 127.0.0.1:1\nadmin: {listen: 127.0.0.1:2}\nlog:\n" + least
	for _, test := range []struct {
		flags      Overrides
		env        string
		get        func(*Config) string
		name, want string
	}{
		{name: "file beats default", get: func(c *Config) string { return c.Listen }, want: "127.0.0.1:1"},
		{name: "environment beats file", env: "ONCEWAY_LISTEN=127.0.0.1:3", get: func(c *Config) string { return c.Listen }, want: "127.0.0.1:3"},
		{name: "flag beats environment", flags: Overrides{Listen: "127.0.0.1:4"}, env: "ONCEWAY_LISTEN=127.0.0.1:3", get: func(c *Config) string { return c.Listen }, want: "127.0.0.1:4"},
		{name: "empty variable is not set", env: "ONCEWAY_LISTEN=", get: func(c *Config) string { return c.Listen }, want: "127.0.0.1:1"},
		{name: "nested", flags: Overrides{AdminListen: "127.0.0.1:5"}, get: func(c *Config) string { return c.Admin.Listen }, want: "127.0.0.1:5"},
		{name: "into an empty mapping", env: "ONCEWAY_LOG_LEVEL=debug", get: func(c *Config) string { return c.Log.Level }, want: "debug"},
		{name: "upstream", flags: Overrides{Upstream: "http://b:1"}, get: func(c *Config) string { return c.Upstreams[0].Targets[0].String() }, want: "http://b:1"},
		{name: "size", env: "ONCEWAY_BODY_BUDGET=1073741824", get: func(c *Config) string { return formatSize(c.BodyBudget) }, want: "1GiB"},
		{name: "no expansion", env: "ONCEWAY_STORE=sqlite:${X}.db", get: func(c *Config) string { return c.Store }, want: "sqlite:${X}.db"},
	} {
		c, err := Load(Source{File: "f.yaml", Data: []byte(file), Lookup: environment(test.env), Overrides: test.flags})
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		} else if got := test.get(c); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// Every row of the table in the package comment is a setting, and every setting is a row; the page for users names them, too.
func TestOverridesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(page), "`ONCEWAY_"); n != len(settings)+2 { // beside them the upstream and the file
		t.Errorf("docs/configuration.md names %d variables, %d exist", n, len(settings)+2)
	}
	rows := strings.Count(string(doc), "ONCEWAY_")
	if rows != len(settings)+1 {
		t.Errorf("%d variables are documented, %d exist", rows, len(settings)+1)
	}
	for _, s := range settings {
		if !strings.Contains(string(doc), "//\t"+strings.Join(s.path, ".")+" ") || !strings.Contains(string(doc), " "+s.variable) {
			t.Errorf("%s is not documented", s.variable)
		}
		if !strings.Contains(string(page), "`"+s.variable+"`") {
			t.Errorf("%s is not in docs/configuration.md", s.variable)
		}
	}
}

func TestForUpstream(t *testing.T) {
	c, err := ForUpstream("http://127.0.0.1:9000", Overrides{Listen: "localhost:0"}, environment("ONCEWAY_LOG_FORMAT=text"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "localhost:0" || c.Store != "sqlite:onceway.db" || c.Caller.None == nil || c.Log.Format != "text" ||
		len(c.Routes) != 1 || c.Routes[0].Match.Path != "/**" || c.UpstreamOf(c.Routes[0]).Targets[0].Host != "127.0.0.1:9000" {
		t.Errorf("got %s", c.YAML())
	}
	_, err = ForUpstream("ftp://x", Overrides{Listen: ":80"}, nil)
	got := problems(t, err)
	if len(got) != 2 || got[0].File != "--listen" && got[1].File != "--listen" || !strings.Contains(err.Error(), "--upstream: ") {
		t.Errorf("got %v", err)
	}
	if _, err = Load(Source{}); err == nil || !strings.Contains(err.Error(), "--upstream URL") || len(problems(t, err)) != 1 {
		t.Errorf("without anything: %v", err)
	}
}

func TestEnvironmentInStrings(t *testing.T) {
	text := strings.Replace(least, "http://127.0.0.1:9000", "'http://${HOST}:${PORT}'", 1) + "store: 'postgres://u:${PW}@h/$${x}$$y'\nlog: {access: '${ACCESS}'}\n"
	c := mustLoad(t, text, "HOST=h", "PORT=99", "PW=p", "ACCESS=false")
	if c.Upstreams[0].Targets[0].Host != "h:99" || c.Store != "postgres://u:p@h/${x}$$y" || c.Log.Access {
		t.Errorf("got %s, %s", c.Upstreams[0].Targets[0], c.Store)
	}
	_, err := load(t, text, "HOST=h", "PW=p", "ACCESS=true")
	got := problems(t, err)
	if len(got) != 1 || got[0].Line != 2 || !strings.Contains(got[0].Message, "PORT is not set") {
		t.Errorf("got %v", err)
	}
}

func TestSecretsStayOutOfTexts(t *testing.T) {
	const secret = "hunter2"
	for _, text := range []string{
		"store: 'postgres://u:" + secret + "@h:port/x'\n" + least,
		"store: 'postgres://u:" + secret + "%zz@h/x'\n" + least,
		"store: 'postgres://h/x?password=" + secret + "%zz'\n" + least,
		"store: 'mysql://u:" + secret + "@h/x'\n" + least,
		"listen: '${SECRET}'\n" + least,
		"lease: '${SECRET}'\nlog: {access: '${SECRET}', level: '${SECRET}'}\nbody_budget: '${SECRET}'\ntrusted_proxies: ['${SECRET}']\n" + least,
		"admin: {tokens: [{name: a, hash: " + secret + "}]}\n" + least,
		strings.Replace(least, "http://", "http://u:"+secret+"@", 1),
		strings.Replace(least, "upstream: orders", "upstream: '${SECRET}'", 1),
	} {
		_, err := load(t, text, "SECRET="+secret)
		if problems(t, err); strings.Contains(err.Error(), secret) {
			t.Errorf("the secret is in the text: %v", err)
		}
	}
	for _, dsn := range []string{"postgres://u:" + secret + "@h/x", "postgres://h/x?password=" + secret + "&user=u", "postgresql://h/x?sslPassword=" + secret} {
		c := mustLoad(t, "store: '"+dsn+"'\n"+least)
		if strings.Contains(string(c.YAML()), secret) || !strings.Contains(c.Store, secret) {
			t.Errorf("%s is printed as\n%s", dsn, c.YAML())
		}
	}
}
