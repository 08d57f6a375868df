// Package deploy_test checks what the container files run, without a container engine: the same
// commands and settings are given to the built binary.
package deploy_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/internal/freeport"
	"github.com/onceway/onceway/internal/pgtest"
)

type service struct {
	Image       string
	Command     []string
	Environment map[string]string
	Volumes     []string
	Ports       []string
	Healthcheck struct{ Test []string }
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
}

type composition struct {
	Services map[string]service
	Volumes  map[string]any
}

func compose(t *testing.T) composition {
	t.Helper()
	data, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c composition
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// instructions returns the Dockerfile's instructions of the last stage, continuation lines joined.
func instructions(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for line := range strings.Lines(strings.ReplaceAll(string(data), "\\\n", " ")) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case name == "" || strings.HasPrefix(name, "#"):
			continue
		case name == "FROM":
			clear(found)
		}
		found[name] = strings.TrimSpace(rest)
	}
	return found
}

// execForm reads the JSON form of ENTRYPOINT, CMD and HEALTHCHECK … CMD.
func execForm(t *testing.T, instruction string) []string {
	t.Helper()
	var args []string
	if err := json.Unmarshal([]byte(instruction[strings.Index(instruction, "["):]), &args); err != nil {
		t.Fatalf("%s: %v", instruction, err)
	}
	return args
}

// bin is the program, and backend the example backend, built as their Dockerfiles do, but for the paths in them.
var bin, backend string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "onceway-deploy-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin = filepath.Join(dir, "onceway")
		backend = filepath.Join(dir, "example-backend")
		for path, source := range map[string]string{bin: "../cmd/onceway", backend: "./example-backend"} {
			cmd := exec.Command("go", "build", "-ldflags", "-s -w -X main.release=deploy-test", "-o", path, source) // -trimpath would compile everything anew
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if out, err := cmd.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%v\n%s", err, out)
				return 1
			}
		}
		return m.Run()
	}())
}

// run runs the program with this environment and no other.
func run(ctx context.Context, env map[string]string, args ...string) (string, error) {
	cmd := command(ctx, bin, env, args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func command(ctx context.Context, program string, env map[string]string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	for name, value := range env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	return cmd
}

// accepts checks verb and flags: help is printed only if every flag before it is known, and names the
// verb that was found.
func accepts(t *testing.T, args []string) {
	t.Helper()
	out, err := run(t.Context(), nil, append(slices.Clone(args), "--help")...)
	verb := args
	if i := slices.IndexFunc(args, func(a string) bool { return strings.HasPrefix(a, "-") }); i >= 0 {
		verb = args[:i]
	}
	if usage := "Usage:\n  onceway " + strings.Join(verb, " ") + " ["; err != nil || !strings.Contains(out, usage) {
		t.Errorf("onceway %s is not accepted (%v):\n%s", strings.Join(args, " "), err, out)
	}
}

func TestImage(t *testing.T) {
	if out, err := run(t.Context(), nil, "version"); err != nil || !strings.HasPrefix(out, "onceway deploy-test ") {
		t.Errorf("version: %v, %q", err, out)
	}
	image := instructions(t)
	entry := execForm(t, image["ENTRYPOINT"])
	if len(entry) != 1 || !strings.Contains(image["COPY"]+readFile(t, "../Dockerfile"), " "+entry[0]+"\n") {
		t.Errorf("ENTRYPOINT %q is not the program that is copied", entry)
	}
	accepts(t, execForm(t, image["CMD"]))
	health := execForm(t, image["HEALTHCHECK"])
	if health[0] != entry[0] {
		t.Errorf("HEALTHCHECK runs %q", health[0])
	}
	accepts(t, health[1:])
	if user := image["USER"]; !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("USER %q", user)
	}
	for _, from := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(readFile(t, "../Dockerfile"), -1) {
		if !strings.Contains(from[1], ":") || strings.HasSuffix(from[1], ":latest") {
			t.Errorf("image %s is not pinned", from[1])
		}
	}
}

// The configuration that the documentation shows for the image listens where the image says, and keeps its records on
// the image's volume.
func TestDocumentedContainer(t *testing.T) {
	_, section, _ := strings.Cut(readFile(t, "../docs/operations.md"), "### In a container")
	_, rest, _ := strings.Cut(section, "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/operations.md has no configuration for a container")
	}
	path := filepath.Join(t.TempDir(), "onceway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	printed, err := run(t.Context(), map[string]string{"ONCEWAY_CONFIG": path}, "config", "print")
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	var config struct{ Listen, Store string }
	if err := yaml.Unmarshal([]byte(printed), &config); err != nil {
		t.Fatal(err)
	}
	image := instructions(t)
	if config.Listen != "0.0.0.0:"+image["EXPOSE"] || !strings.HasPrefix(config.Store, "sqlite:"+image["VOLUME"]+"/") {
		t.Errorf("listens on %s with store %s; the image exposes %s and has the volume %s", config.Listen, config.Store, image["EXPOSE"], image["VOLUME"])
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestComposition(t *testing.T) {
	c := compose(t)
	gateway, shopService, database := c.Services["gateway"], c.Services["backend"], c.Services["postgres"]
	for name, s := range c.Services {
		for dependency := range s.DependsOn {
			if _, ok := c.Services[dependency]; !ok {
				t.Errorf("%s depends on %s, which is no service", name, dependency)
			}
		}
		for _, v := range s.Volumes {
			source, _, _ := strings.Cut(v, ":")
			if _, named := c.Volumes[source]; !named {
				if _, err := os.Stat(source); err != nil {
					t.Errorf("%s mounts %s: %v", name, source, err)
				}
			}
		}
	}
	accepts(t, gateway.Command)
	if health := strings.Join(database.Healthcheck.Test, " "); !strings.Contains(health, "pg_isready -h 127.0.0.1 ") {
		t.Errorf("%q finds Postgres healthy that takes no connections yet", health)
	}
	shop, err := url.Parse(shopService.Environment["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	shopPassword, _ := shop.User.Password()
	if _, ok := c.Services[shop.Hostname()]; !ok || shop.User.Username() != database.Environment["POSTGRES_USER"] ||
		shopPassword != database.Environment["POSTGRES_PASSWORD"] ||
		!strings.Contains(readFile(t, "example-backend/database.sql"), "CREATE DATABASE "+strings.TrimPrefix(shop.Path, "/")+";") {
		t.Errorf("the backend's database %s is not there", shop.Redacted())
	}
	printed, err := run(t.Context(), local(t, gateway), "config", "print")
	if err != nil {
		t.Fatalf("%v\n%s", err, printed)
	}
	var config struct {
		Listen    string
		Store     string
		Upstreams map[string]struct{ Targets []string }
		Routes    []struct {
			Idempotency struct {
				Probe struct{ URL string }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(printed), &config); err != nil {
		t.Fatal(err)
	}
	if _, port, _ := net.SplitHostPort(config.Listen); !strings.HasSuffix(gateway.Ports[0], ":"+port) {
		t.Errorf("ports %q do not publish %s", gateway.Ports, config.Listen)
	}
	store, err := url.Parse(gateway.Environment["ONCEWAY_STORE"])
	if err != nil {
		t.Fatal(err)
	}
	password, _ := store.User.Password()
	if _, ok := c.Services[store.Hostname()]; !ok || store.User.Username() != database.Environment["POSTGRES_USER"] ||
		password != database.Environment["POSTGRES_PASSWORD"] || store.Path != "/"+database.Environment["POSTGRES_DB"] {
		t.Errorf("the store %s is not the database of %v", store.Redacted(), database.Environment)
	}
	if !strings.Contains(config.Store, store.Hostname()) {
		t.Errorf("the effective store is %s", config.Store)
	}
	_, port, _ := net.SplitHostPort(flag(shopService.Command, "--listen"))
	for what, address := range map[string]string{"upstream": config.Upstreams["orders"].Targets[0], "probe": config.Routes[0].Idempotency.Probe.URL} {
		target, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Services[target.Hostname()]; !ok || target.Port() != port {
			t.Errorf("the %s %s is not the backend, which listens on %s", what, target, flag(shopService.Command, "--listen"))
		}
	}
}

// local is the environment of a service, with the configuration file where it is here.
func local(t *testing.T, s service) map[string]string {
	t.Helper()
	env := map[string]string{}
	for name, value := range s.Environment {
		env[name] = value
	}
	for _, v := range s.Volumes {
		if from, to, _ := strings.Cut(v, ":"); strings.TrimSuffix(to, ":ro") == env["ONCEWAY_CONFIG"] {
			env["ONCEWAY_CONFIG"] = from
			return env
		}
	}
	t.Fatalf("nothing is mounted at %s", env["ONCEWAY_CONFIG"])
	return nil
}

func flag(args []string, name string) string {
	if i := slices.Index(args, name); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// TestStory starts backend and gateway as the composition does, on addresses of this machine, and
// plays what the head of compose.yaml promises: one order, sent twice, is booked once.
func TestStory(t *testing.T) {
	c := compose(t)
	backendAddress, address, admin := freeAddress(t), freeAddress(t), freeAddress(t)

	shop := slices.Clone(c.Services["backend"].Command)
	shop[slices.Index(shop, "--listen")+1] = backendAddress
	start(t, backend, map[string]string{"DATABASE_URL": pgtest.New(t)}, shop)

	env := local(t, c.Services["gateway"])
	env["ONCEWAY_STORE"], env["ONCEWAY_UPSTREAM"] = pgtest.New(t), "http://"+backendAddress
	env["ONCEWAY_LISTEN"], env["ONCEWAY_ADMIN_LISTEN"], env["ONCEWAY_DRAIN_DELAY"] = address, admin, "0s"
	serve := slices.Clone(c.Services["gateway"].Command)
	serve[slices.Index(serve, "--config")+1] = env["ONCEWAY_CONFIG"]
	start(t, bin, env, serve)

	health := execForm(t, instructions(t)["HEALTHCHECK"])[1:]
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		out, err := run(ctx, env, health...)
		if err == nil && strings.TrimSpace(out) == "ready" {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the gateway is not ready: %v, %s", err, out)
		}
	}
	var answers []string
	for range 2 {
		answers = append(answers, post(t, "http://"+address+"/orders"))
	}
	if answers[0] != answers[1] {
		t.Errorf("the answers differ: %q", answers)
	}
	resp, err := http.Get("http://" + address + "/orders")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var orders []any
	if err := json.NewDecoder(resp.Body).Decode(&orders); err != nil || len(orders) != 1 {
		t.Errorf("%d orders are booked, want 1 (%v)", len(orders), err)
	}
}

func post(t *testing.T, url string) string {
	t.Helper()
	// The backend may still be starting: then nothing was sent, and the same key may be used again.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"item":"book","quantity":1}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Idempotency-Key", "try-1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Idempotency-Next") == "resend" {
			continue
		}
		return fmt.Sprintf("%d %s", resp.StatusCode, body)
	}
}

// start starts a program that lives until the test ends, and must then end well.
func start(t *testing.T, program string, env map[string]string, args []string) {
	t.Helper()
	cmd := command(context.Background(), program, env, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		err := cmd.Wait()
		if err != nil {
			t.Errorf("%s was told to end, and ended with %v", filepath.Base(program), err)
		}
		if t.Failed() {
			t.Logf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, &out)
		}
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	port, release, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	return fmt.Sprintf("127.0.0.1:%d", port)
}
