package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/client"
	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

// outbox is a directory that a device has to itself.
func outbox(t *testing.T, path string) *client.Dir {
	t.Helper()
	o, err := client.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// A phone comes out of a tunnel with fifty requests, and its connections are cut at random bytes, in either
// direction: fifty executions, fifty answers, and nothing left. It is switched off and on on the way.
func TestClientFiftyQueuedRequests(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "log: {access: false}"})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	relay := between(t, g.Addr, nemesis.First(cuts(seed, 100)...))
	path := filepath.Join(t.TempDir(), "outbox")
	o := hasty
	o.Backoff = 2 * time.Millisecond
	dir := outbox(t, path)
	o.Outbox = dir
	d := newDevice(t, relay.Addr(), o)
	keys := make([]string, 50)
	for i := range keys {
		r := rig.Request{Key: newKey(), Body: fmt.Sprint("amount=", i), Script: ledger.Script{Body: ledger.Text(fmt.Sprint("answer ", i))}}
		var err error
		if keys[i], err = d.Queue(d.request(t.Context(), r)); err != nil || keys[i] != r.Key {
			t.Fatal(keys[i], err)
		}
	}
	if n := len(b.Of(t, ledger.Begin, "")); n != 0 {
		t.Errorf("%d requests were sent before they were to be", n)
	}
	answers := map[string]string{}
	take := func(r client.Result) error {
		if r.Outcome != client.OutcomeExecuted || r.Response == nil {
			t.Errorf("%s: %s", r.Entry.Key, r.Outcome)
			return nil
		}
		body, err := io.ReadAll(r.Response.Body)
		answers[r.Entry.Key] = string(body)
		return err
	}
	ctx, off := context.WithCancel(t.Context())
	_ = d.Resume(ctx, func(r client.Result) error {
		if len(answers) == 20 {
			off()
		}
		return take(r)
	})
	dir.Close()
	dir = outbox(t, path)
	defer dir.Close()
	o.Outbox = dir
	d = newDevice(t, relay.Addr(), o)
	if n := len(d.Entries()); n == 0 || n+len(answers) < 50 {
		t.Errorf("after the restart %d entries are left, and %d answers are here", n, len(answers))
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	if err := d.Resume(ctx, take); err != nil {
		t.Error(err)
	}
	for i, key := range keys {
		if answers[key] != fmt.Sprint("answer ", i) {
			t.Errorf("%d got %q", i, answers[key])
		}
		wantEffects(t, b, key, 1)
	}
	d.empty()
	if files, _ := filepath.Glob(filepath.Join(path, "*.entry")); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
}

// What is in doubt after a restart is asked for with one call for a hundred, and only then anything is sent.
func TestClientAsksFirst(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	way := newWay(t, g)
	memory := client.NewMemory()
	o := hasty
	o.Outbox, o.CallTimeout = memory, time.Minute // each call is counted
	keys := make([]string, 120)
	for i := range keys {
		keys[i] = client.NewKey()
		r := rig.Request{Key: keys[i], Body: "a"}
		if i%2 == 0 {
			g.Do(t, r).Is(t, executed)
		}
		e := client.Entry{Key: r.Key, Method: "POST", URL: way.URL + "/orders", Host: rig.Host, Created: time.Now(), Body: []byte(r.Body), Standing: client.Standing{State: client.Doubt, Sends: 1}}
		if err := memory.Put(e); err != nil {
			t.Fatal(err)
		}
	}
	if told := newDevice(t, way.addr(), o).resume(); len(told) != len(keys) {
		t.Errorf("%d outcomes", len(told))
	}
	paths := way.seen()
	if len(paths) < 122 || paths[0] != "/_reconcile/v1/query" || paths[1] != "/_reconcile/v1/query" || slices.Contains(paths[2:], "/_reconcile/v1/query") {
		t.Errorf("it called %v", paths[:min(len(paths), 10)])
	}
	for _, path := range paths[2:] {
		if path != "/orders" {
			t.Errorf("it called %s", path)
		}
	}
	for _, key := range keys {
		wantEffects(t, b, key, 1)
	}
}

// way is what is between a client and its gateway: proxies of other people, and one that authenticates.
type way struct {
	*httptest.Server
	mu    sync.Mutex
	paths []string
	lies  []http.HandlerFunc // instead of the next ones
	valid atomic.Value       // the token of the caller anna
}

func newWay(t *testing.T, g *rig.Gateway) *way {
	w := &way{}
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: g.Addr})
		r.Out.Host = r.In.Host
		if w.valid.Load() != nil {
			r.Out.Header.Set("X-User", "anna")
		}
	}}
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		w.paths = append(w.paths, r.URL.Path)
		var lie http.HandlerFunc
		if len(w.lies) > 0 {
			lie, w.lies = w.lies[0], w.lies[1:]
		}
		w.mu.Unlock()
		if token := w.valid.Load(); token != nil && r.Header.Get("Authorization") != "Bearer "+token.(string) {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		if lie != nil {
			lie(rw, r)
			return
		}
		forward.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.Close)
	return w
}

func (w *way) addr() string { return strings.TrimPrefix(w.URL, "http://") }

func (w *way) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.paths)
}

// Whoever else answers is not believed: neither a captive portal, nor a redirect, nor a balancer; neither to a
// request nor to a question.
func TestClientBelievesOnlyTheGateway(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	way := newWay(t, g)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	portal := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>please log in</html>") }
	redirect := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/orders", http.StatusTemporaryRedirect)
	}
	balancer := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }
	// It forwards, and then says that it could not.
	behind := func(w http.ResponseWriter, r *http.Request) {
		g.Do(t, rig.Request{Key: r.Header.Get("Idempotency-Key"), Body: "amount=1"})
		w.WriteHeader(http.StatusGatewayTimeout)
	}
	for name, lies := range map[string][]http.HandlerFunc{
		"portal": {portal, portal, portal}, "redirect": {redirect, redirect}, "balancer": {balancer, balancer, portal}, "executed behind it": {behind, balancer},
	} {
		way.mu.Lock()
		way.lies = slices.Clone(lies)
		way.mu.Unlock()
		d := newDevice(t, way.addr(), hasty)
		key := newKey()
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		// Also through a client that would follow redirects.
		resp, err := (&http.Client{Transport: d}).Do(d.request(ctx, rig.Request{Key: key, Body: "amount=1"}))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		stop()
		if a := g.Do(t, rig.Request{Key: key, Body: "amount=1"}); a.Status != resp.StatusCode || a.Body != string(body) {
			t.Errorf("%s: the client got %d %q, the gateway has %q", name, resp.StatusCode, body, a.Body)
		}
		wantEffects(t, b, key, 1)
		d.empty()
	}
}

// The token of a caller is replaced while its request is in doubt. The client gets another one and goes on; what
// it keeps on disk has neither.
func TestClientRefreshesItsToken(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Caller: "{header: {name: X-User}}", Extra: "trusted_proxies: [127.0.0.1]"})
	way := newWay(t, g)
	way.valid.Store("secret-1")
	var refreshes atomic.Int32
	path := filepath.Join(t.TempDir(), "outbox")
	o := hasty
	dir := outbox(t, path)
	defer dir.Close()
	o.Outbox = dir
	token := atomic.Value{}
	token.Store("secret-1")
	o.Authorize = func(r *http.Request, again bool) error {
		if again {
			refreshes.Add(1)
			token.Store(way.valid.Load())
		}
		r.Header.Set("Authorization", "Bearer "+token.Load().(string))
		return nil
	}
	d := newDevice(t, way.addr(), o)
	// The first copy reaches the backend, and its answer nobody; then the token changes.
	way.lies = []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		g.Do(t, rig.Request{Key: r.Header.Get("Idempotency-Key"), Body: string(body), Header: rig.Header("X-User", "anna")})
		way.valid.Store("secret-2")
		panic(http.ErrAbortHandler)
	}}
	r := rig.Request{Key: newKey(), Body: "amount=1"}
	if answer := d.order(r); !strings.HasPrefix(answer, "200 ") {
		t.Errorf("it got %q", answer)
	}
	if n := refreshes.Load(); n != 1 {
		t.Errorf("it refreshed %d times", n)
	}
	wantEffects(t, b, r.Key, 1)
	// With credentials that nobody accepts it stops, and keeps what it has, without them.
	way.valid.Store("secret-3")
	o.Authorize = nil
	d = newDevice(t, way.addr(), o)
	req := d.request(t.Context(), rig.Request{Key: newKey(), Body: "amount=1"})
	req.Header.Set("Authorization", "Bearer secret-2")
	req.Header.Set("Cookie", "session=secret-2")
	_, err := d.RoundTrip(req)
	if unsettled, ok := err.(*client.UnsettledError); !ok || unsettled.Status != http.StatusUnauthorized || len(d.Entries()) != 1 {
		t.Errorf("%v, with %d entries", err, len(d.Entries()))
	}
	files, err := filepath.Glob(filepath.Join(path, "*.entry"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if content, err := os.ReadFile(files[0]); err != nil || !strings.Contains(string(content), "amount=1") || strings.Contains(string(content), "secret") {
		t.Errorf("%v: %s", err, content)
	}
}

// Two devices of one caller send the same intents, in different orders and over connections that are cut: they get
// the same answers. Whether they follow the list or read it in the end, it shows them the same.
func TestClientsOfOneCallerAgree(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	cuts := make([]nemesis.Plan, 10)
	for i := range cuts {
		cuts[i].Down = nemesis.Flow{After: int64(40 * i), Fault: nemesis.CutRST}
	}
	keys := make([]string, 20)
	for i := range keys {
		keys[i] = newKey()
	}
	var all sync.WaitGroup
	answers := make([]map[string]string, 2)
	for n := range answers {
		d := newDevice(t, between(t, g.Addr, nemesis.First(cuts...)).Addr(), hasty)
		answers[n] = map[string]string{}
		order := slices.Clone(keys)
		if n == 1 {
			slices.Reverse(order)
		}
		all.Go(func() {
			for _, key := range order {
				answers[n][key] = d.order(rig.Request{Key: key, Body: "amount=1"})
			}
		})
	}
	followed, cursor := map[string]string{}, ""
	follow := func(seen map[string]string, since string) string {
		lines, next := listed(t, g, "", since)
		for _, line := range lines {
			key, state, _ := strings.Cut(line, " ")
			seen[key] = state
		}
		return next
	}
	for g.Until(t, "something has changed", func() bool { cursor = follow(followed, cursor); return len(followed) > 0 }); len(followed) < len(keys); {
		cursor = follow(followed, cursor)
	}
	all.Wait()
	follow(followed, cursor)
	anew := map[string]string{}
	follow(anew, "")
	if !maps.Equal(followed, anew) || len(anew) != len(keys) {
		t.Errorf("one has %v, the other %v", followed, anew)
	}
	for _, key := range keys {
		if answers[0][key] != answers[1][key] || answers[0][key] == "" || anew[key] != "completed" {
			t.Errorf("one got %q, the other %q, and it is %s", answers[0][key], answers[1][key], anew[key])
		}
		wantEffects(t, b, key, 1)
	}
}
