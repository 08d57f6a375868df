package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/onceway/onceway/gateway/config"
)

// clean keeps the environment of whoever runs the tests out of them.
func clean(t *testing.T) {
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "ONCEWAY_") || strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
}

func onceway(t *testing.T, args ...string) (code exitCode, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

func write(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "onceway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const good = `version: 1
caller: {none: {}}
upstreams: {orders: {targets: [http://127.0.0.1:9000]}}
routes:
  - {name: orders, match: {path: /orders/**}, upstream: orders}
`

func TestExitCodes(t *testing.T) {
	clean(t)
	bad := write(t, strings.Replace(good, "/orders/**", "orders", 1)+"nonsense: 1\n")
	for _, tt := range []struct {
		args   []string
		code   exitCode
		stderr string // a part of it
	}{
		{[]string{"version"}, exitOK, ""},
		{[]string{"--help"}, exitOK, ""},
		{[]string{"config", "check", "--upstream", "http://127.0.0.1:9000"}, exitOK, ""},
		{[]string{"config", "check", "--config", write(t, good)}, exitOK, ""},
		{nil, exitUsage, "a verb is needed"},
		{[]string{"nonsense"}, exitUsage, `unknown command "nonsense"`},
		{[]string{"config"}, exitUsage, "a verb is needed"},
		{[]string{"config", "nonsense"}, exitUsage, `unknown command "nonsense"`},
		{[]string{"version", "more"}, exitUsage, "Run 'onceway version --help'"},
		{[]string{"config", "check", "--nonsense"}, exitUsage, "unknown flag: --nonsense"},
		{[]string{"routes", "test", "POST"}, exitUsage, "accepts 2 arg(s)"},
		{[]string{"admin", "token", "a b"}, exitUsage, "a name is"},
		{[]string{"migrate", "down", "--steps", "0"}, exitUsage, "at least 1"},
		{[]string{"config", "check"}, exitConfig, "--upstream URL"},
		{[]string{"config", "check", "--config", filepath.Join(t.TempDir(), "none.yaml")}, exitConfig, "no such file"},
		{[]string{"config", "check", "--config", bad}, exitConfig, bad + ":6: "},
		{[]string{"config", "check", "--config", bad}, exitConfig, bad + ":5: "}, // all at once
		{[]string{"serve", "--config", bad}, exitConfig, "nonsense"},
		{[]string{"healthcheck", "--admin", "127.0.0.1:1"}, exitFailure, "admin listener"},
		{[]string{"healthcheck", "--admin", "http://127.0.0.1:1/"}, exitFailure, "http://127.0.0.1:1/readyz"},
		{[]string{"healthcheck", "--admin", "ftp://127.0.0.1:1"}, exitUsage, "an address such as 127.0.0.1:9090"},
		{[]string{"healthcheck", "--admin", "a b"}, exitUsage, "an address such as 127.0.0.1:9090"},
		{[]string{"migrate", "up", "--store", "sqlite:" + filepath.Join(t.TempDir(), "none", "x.db")}, exitStore, "store: "},
		{[]string{"migrate", "up", "--store", "mysql://x"}, exitConfig, "store"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			code, stdout, stderr := onceway(t, tt.args...)
			if code != tt.code || !strings.Contains(stderr, tt.stderr) {
				t.Errorf("exit %d, want %d with %q; stdout %q, stderr %q", code, tt.code, tt.stderr, stdout, stderr)
			}
			for line := range strings.Lines(stderr) {
				if !strings.HasPrefix(line, "onceway: ") && !strings.HasPrefix(line, "Run '") {
					t.Errorf("stderr has a line of another form: %q", line)
				}
			}
		})
	}
}

func TestConfigPrintLoadsAgain(t *testing.T) {
	clean(t)
	t.Setenv("ONCEWAY_LISTEN", "127.0.0.1:7777")
	_, first, _ := onceway(t, "config", "print", "--config", write(t, good), "--log-level", "debug")
	if !strings.Contains(first, "listen: 127.0.0.1:7777") || !strings.Contains(first, "level: debug") {
		t.Errorf("overrides are missing:\n%s", first)
	}
	os.Unsetenv("ONCEWAY_LISTEN")
	code, second, stderr := onceway(t, "config", "print", "--config", write(t, first))
	strip := func(s string) string { return regexp.MustCompile(`(?m)^(store|spool):.*$`).ReplaceAllString(s, "") }
	if code != exitOK || strip(first) != strip(second) {
		t.Errorf("exit %d, %s\n%s\nwant\n%s", code, stderr, second, first)
	}
}

func TestConfigSchemaIsJSON(t *testing.T) {
	clean(t)
	_, stdout, _ := onceway(t, "config", "schema")
	if !json.Valid([]byte(stdout)) {
		t.Errorf("not JSON: %.200s", stdout)
	}
}

func TestConfigurationFileFromTheEnvironment(t *testing.T) {
	clean(t)
	t.Setenv("ONCEWAY_CONFIG", write(t, good))
	t.Setenv(adminTokenVariable, "of an operator")
	if code, stdout, stderr := onceway(t, "config", "check"); code != exitOK || !strings.HasPrefix(stdout, "ok: 1 routes") || stderr != "" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	t.Setenv("ONCEWAY_STOREE", "postgres://u:secret@h/d")
	const want = "warning: ONCEWAY_STOREE: nothing reads this variable; did you mean ONCEWAY_STORE?\n"
	if code, _, stderr := onceway(t, "config", "check"); code != exitOK || stderr != want {
		t.Errorf("exit %d, %q, want %q", code, stderr, want)
	}
}

func TestRoutesTest(t *testing.T) {
	clean(t)
	file := write(t, good)
	for _, tt := range []struct {
		method, url string
		code        exitCode
		stdout      string
	}{
		{"POST", "/orders", exitOK, "protected  yes (mode required, key in Idempotency-Key, on unknown hold)"},
		{"POST", "/%6frders/7", exitOK, "target     /orders/7\n"},
		{"GET", "/orders/7", exitOK, "protected  no"},
		{"POST", "/other", exitFailure, "refused    404 no-route"},
		{"PUT", "/%5freconcile/v1/requests/a%2Fb/cancellation", exitOK, "answered   by the gateway itself"},
		{"GET", "https://shop.example/.well-known/idempotency", exitOK, "answered   by the gateway itself"},
		{"OPTIONS", "*", exitOK, "answered   by the gateway itself"},
		{"OPTIONS", "http://shop.example", exitOK, "answered   by the gateway itself"},
		{"POST", "/orders//7", exitFailure, "refused    400 path-ambiguous"},
		{"PO ST", "/orders", exitFailure, "refused    400 request-malformed"},
	} {
		code, stdout, stderr := onceway(t, "routes", "test", "--config", file, tt.method, tt.url)
		if code != tt.code || !strings.Contains(stdout, tt.stdout) || stderr != "" {
			t.Errorf("%s %s: exit %d, want %d with %q; %q, %q", tt.method, tt.url, code, tt.code, tt.stdout, stdout, stderr)
		}
	}
}

func TestAdminTokenFitsTheConfiguration(t *testing.T) {
	clean(t)
	_, first, _ := onceway(t, "admin", "token", "alice")
	_, second, _ := onceway(t, "admin", "token", "alice")
	m := regexp.MustCompile(`^token: (\S+)\nadmin\.tokens: - (\{.*\})\n$`).FindStringSubmatch(first)
	if m == nil || first == second {
		t.Fatalf("%q, then %q", first, second)
	}
	c, err := config.Load(config.Source{File: "f.yaml", Data: []byte(good + "admin: {tokens: [" + m[2] + "]}\n")})
	if err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256([]byte(m[1])); c.Admin.Tokens[0].Hash != want || c.Admin.Tokens[0].Name != "alice" {
		t.Errorf("the configuration has %s, want %s", hex.EncodeToString(c.Admin.Tokens[0].Hash[:]), hex.EncodeToString(want[:]))
	}
}

func TestMigrate(t *testing.T) {
	clean(t)
	store := "sqlite:" + filepath.Join(t.TempDir(), "o.db")
	for _, step := range []struct {
		verb string
		code exitCode
	}{
		{"status", exitStore}, {"up", exitOK}, {"up", exitOK}, {"status", exitOK}, {"down", exitOK}, {"status", exitStore},
	} {
		code, stdout, stderr := onceway(t, "migrate", step.verb, "--store", store)
		if code != step.code || !strings.Contains(stdout, "schema version ") {
			t.Errorf("migrate %s: exit %d, want %d; %q, %q", step.verb, code, step.code, stdout, stderr)
		}
	}
}

func TestHealthcheck(t *testing.T) {
	clean(t)
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	status, text := http.StatusOK, "ready\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			status = http.StatusNotFound
		}
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	defer s.Close()
	address := strings.TrimPrefix(s.URL, "http://")
	if code, stdout, stderr := onceway(t, "healthcheck", "--admin", address); code != exitOK || stdout != "ready\n" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	t.Setenv("ONCEWAY_ADMIN_LISTEN", "127.0.0.1"+address[strings.LastIndex(address, ":"):])
	if code, _, stderr := onceway(t, "healthcheck"); code != exitOK {
		t.Errorf("by the environment: exit %d, %q", code, stderr)
	}
	text = "some text\n" // of a backend, where the address is that for clients
	if code, stdout, stderr := onceway(t, "healthcheck", "--admin", address); code != exitFailure || stdout != "" || !strings.Contains(stderr, "is it the listener for clients?") {
		t.Errorf("another 200: exit %d, %q, %q", code, stdout, stderr)
	}
	status = http.StatusServiceUnavailable
	if code, _, stderr := onceway(t, "healthcheck", "--admin", address); code != exitFailure || !strings.Contains(stderr, "503: some text") {
		t.Errorf("not ready: exit %d, %q", code, stderr)
	}
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9090": "127.0.0.1:9090", "0.0.0.0:9090": "127.0.0.1:9090", ":9090": "127.0.0.1:9090", "[::]:9090": "[::1]:9090", "host:1": "host:1",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("reachable(%q) = %q, want %q", listen, got, want)
		}
	}
}
