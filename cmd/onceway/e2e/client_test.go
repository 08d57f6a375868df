package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceway/onceway/client"
	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

// device is a program that uses the Go client.
type device struct {
	*client.Client
	t    *testing.T
	addr string // where it believes the gateway to be
}

// hasty gives up early, so that a test with a dead connection does not take long. That a slow machine is given up,
// too, changes how often a device asks, and nothing else.
var hasty = client.Options{CallTimeout: 2 * time.Second, Wait: time.Second, Backoff: 20 * time.Millisecond, Retries: 1000}

func newDevice(t *testing.T, addr string, o client.Options) *device {
	t.Helper()
	if o.Base == nil {
		base := &http.Transport{DisableKeepAlives: true}
		t.Cleanup(base.CloseIdleConnections)
		o.Base = base
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &device{c, t, addr}
}

// request is one intent.
func (d *device) request(ctx context.Context, r rig.Request) *http.Request {
	path := r.Path
	if path == "" {
		path = "/orders"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.addr+path, strings.NewReader(r.Body))
	if err != nil {
		panic(err) // of a test's own address
	}
	req.Host = rig.Host
	if r.Key != "" {
		req.Header.Set("Idempotency-Key", r.Key)
	}
	req.Header.Set(ledger.Field, r.Script.String())
	return req
}

// order sends an intent until its outcome is known, and returns its answer.
func (d *device) order(r rig.Request) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	resp, err := d.RoundTrip(d.request(ctx, r))
	if err != nil {
		d.t.Errorf("%s: %v", r.Key, err)
		return ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Error(err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

// try sends an intent that cannot be settled, and gives up when its record is in a state of which only somebody
// else can free it.
func (d *device) try(g *rig.Gateway, r rig.Request, state string) {
	d.t.Helper()
	ctx, cancel := context.WithCancel(d.t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := d.RoundTrip(d.request(ctx, r))
		done <- err
	}()
	g.Until(d.t, "the record is "+state, func() bool { return strings.Contains(g.Get(d.t, recordPath(r.Key)).Body, `"state":"`+state+`"`) })
	g.Until(d.t, "the client is in doubt", func() bool {
		all := d.Entries()
		return len(all) == 1 && all[0].State == client.Doubt
	})
	cancel()
	var unsettled *client.UnsettledError
	if err := <-done; !errors.As(err, &unsettled) || unsettled.State != client.Doubt || unsettled.Key != r.Key {
		d.t.Errorf("the client says %v", err)
	}
}

// resume settles the outbox, and returns the outcomes by key.
func (d *device) resume() map[string]client.Outcome {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	told := map[string]client.Outcome{}
	if err := d.Resume(ctx, func(r client.Result) error { told[r.Entry.Key] = r.Outcome; return nil }); err != nil {
		d.t.Error(err)
	}
	d.empty()
	return told
}

// empty checks that nothing is left in the outbox.
func (d *device) empty() {
	d.t.Helper()
	if left := d.Entries(); len(left) != 0 {
		d.t.Errorf("left in the outbox: %+v", left)
	}
}

// clientRows gives the rows of the transport, T1 to T9, on the hop between client and gateway: what becomes of the
// first connection, and of the second one. Each ends with one execution, and with its answer at the client.
var clientRows = map[string][]nemesis.Plan{
	"T1 lost whole":           {{Up: nemesis.Flow{Fault: nemesis.Swallow}}},
	"T1 lost in part":         {{Up: nemesis.Flow{After: 150, Fault: nemesis.Swallow}}, {Up: nemesis.Flow{After: 20, Fault: nemesis.Swallow}}},
	"T3 cut at once":          {{Down: nemesis.Flow{Fault: nemesis.CutRST}}},
	"T3 cut in the head":      {{Down: nemesis.Flow{After: 60, Fault: nemesis.CutFIN}}},
	"T3 cut before the end":   {{Down: nemesis.Flow{After: 420, Fault: nemesis.CutFIN}}},
	"T3 swallowed, and again": {{Down: nemesis.Flow{After: 200, Fault: nemesis.Swallow}}, {Down: nemesis.Flow{After: 10, Fault: nemesis.CutRST}}},
	"T4 vanished":             {{Up: nemesis.Flow{After: 100, Fault: nemesis.Freeze}}},
	"T4 vanished later":       {{Down: nemesis.Flow{After: 100, Fault: nemesis.Freeze}}, {Up: nemesis.Flow{Fault: nemesis.Freeze}}},
	"T5 accepted, never read": {{Ignore: true}},
	"T6 reset when connected": {{Refuse: true}, {Refuse: true}, {Refuse: true}},
	"T9 cut in the request":   {{Up: nemesis.Flow{After: 180, Fault: nemesis.CutFIN}}, {Up: nemesis.Flow{After: 1, Fault: nemesis.CutRST}}},
}

func TestClientOverABrokenHop(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "log: {access: false}"})
	for name, plans := range clientRows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := between(t, g.Addr, nemesis.First(plans...))
			d := newDevice(t, relay.Addr(), hasty)
			r := rig.Request{Key: newKey(), Body: "amount=1", Script: ledger.Script{Status: 201, Body: ledger.Text(strings.Repeat(name, 20))}}
			answer := d.order(r)
			if want := "201 " + *r.Script.Body; answer != want {
				t.Errorf("the client got %q, want %q", answer, want)
			}
			wantState(t, g, r.Key, "completed", 1)
			wantEffects(t, b, r.Key, 1)
			d.empty()
			if relay.Accepted() <= len(plans) {
				t.Errorf("only %d connections: not every fault struck", relay.Accepted())
			}
		})
	}
}

// T2: the original comes long after its client gave it up. The client has sent it again: it is executed once.
func TestClientAndTheLateOriginal(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	held := func(t *testing.T) (*nemesis.Relay, func()) {
		deliver := make(chan struct{})
		return between(t, g.Addr, nemesis.First(nemesis.Plan{Up: nemesis.Flow{Fault: nemesis.Hold, Release: deliver}})), func() { close(deliver) }
	}
	t.Run("sent again", func(t *testing.T) {
		t.Parallel()
		relay, deliver := held(t)
		d := newDevice(t, relay.Addr(), hasty)
		r := rig.Request{Key: newKey(), Body: "amount=1"}
		answer := d.order(r)
		deliver()
		<-relay.Conn(0).Done()
		if again := g.Do(t, r); answer != fmt.Sprint(again.Status, " ", again.Body) {
			t.Errorf("the client got %q, the gateway has %q", answer, again.Body)
		}
		wantEffects(t, b, r.Key, 1)
	})
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		relay, deliver := held(t)
		d := newDevice(t, relay.Addr(), hasty)
		r := rig.Request{Key: newKey(), Body: "amount=1"}
		sent := make(chan error, 1)
		go func() {
			_, err := d.RoundTrip(d.request(t.Context(), r))
			sent <- err
		}()
		<-relay.Conn(0).Up.Struck()
		outcome, err := d.Cancel(t.Context(), r.Key)
		if outcome != client.OutcomeCancelled || err != nil {
			t.Errorf("%q, %v", outcome, err)
		}
		var ended *client.EndedError
		if err := <-sent; !errors.As(err, &ended) || ended.Outcome != client.OutcomeCancelled {
			t.Errorf("who sent it hears %v", err)
		}
		deliver()
		<-relay.Conn(0).Done()
		g.Do(t, r).Is(t, rig.Want{Status: 409, State: "cancelled", Next: "stop", Slug: "cancelled", Record: true})
		wantEffects(t, b, r.Key, 0)
		d.empty()
	})
	t.Run("cancelled too late", func(t *testing.T) {
		t.Parallel()
		relay := between(t, g.Addr, nemesis.First(nemesis.Plan{Down: nemesis.Flow{Fault: nemesis.Freeze}}))
		d := newDevice(t, relay.Addr(), hasty)
		r := rig.Request{Key: newKey(), Body: "amount=1", Script: ledger.Script{After: newKey()}}
		sent := make(chan string, 1)
		go func() { sent <- d.order(r) }()
		b.Await(t, r.Script.After, 1)
		outcome := make(chan client.Outcome, 1)
		go func() {
			o, err := d.Cancel(t.Context(), r.Key)
			if err != nil {
				t.Error(err)
			}
			outcome <- o
		}()
		g.Until(t, "the wish is in the outbox", func() bool { all := d.Entries(); return len(all) == 1 && all[0].State == client.Cancelling })
		b.Open(t, r.Script.After)
		if o := <-outcome; o != client.OutcomeExecuted {
			t.Errorf("the outcome is %q", o)
		}
		if answer := <-sent; answer != fmt.Sprint("200 ", g.Do(t, r).Body) {
			t.Errorf("who sent it got %q", answer)
		}
		wantEffects(t, b, r.Key, 1)
		d.empty()
	})
}

// On the hop between gateway and backend a fault leaves the record unknown, and the client in doubt: all three say
// the same. Whoever looks into the backend's books frees them.
func TestClientAndABrokenBackend(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	deliver := make(chan struct{})
	relay := between(t, b.Address(), nil)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, takes bytes, and never accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	refusing, listen := b.Late(t)
	g := rig.Serve(t, rig.Config{
		Targets: []string{"http://" + relay.Addr()}, Upstream: "timeout: 1s", Admin: rig.Tokens("alice"),
		Upstreams: "  silent: {targets: [http://" + silent.Addr().String() + "], timeout: 1s}\n  late: {targets: [http://" + refusing + "]}",
		Routes:    "  - {name: silent, match: {path: /silent}, upstream: silent}\n  - {name: late, match: {path: /late}, upstream: late}",
	})
	for _, row := range []struct {
		name     string
		path     string
		up, down nemesis.Flow
		executed bool // as the books say
	}{
		{name: "T1", up: nemesis.Flow{Fault: nemesis.Swallow}},
		{name: "T2", up: nemesis.Flow{Fault: nemesis.Hold, Release: deliver}, executed: true},
		{name: "T3", down: nemesis.Flow{After: 40, Fault: nemesis.CutRST}, executed: true},
		{name: "T4", down: nemesis.Flow{Fault: nemesis.Freeze}, executed: true},
		{name: "T5", path: "/silent"},
		{name: "T9", up: nemesis.Flow{After: 200, Fault: nemesis.CutFIN}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := rig.Request{Path: row.path, Key: newKey(), Body: "amount=1"}
			relay.Set(&nemesis.Trap{Mark: []byte(r.Key), Up: row.up, Down: row.down})
			d := newDevice(t, g.Addr, hasty)
			d.try(g, r, "unknown")
			relay.Set(nil)
			verdict, want := "not_executed", client.OutcomeExecuted
			if row.executed {
				verdict = "executed"
				if row.name == "T2" {
					close(deliver)
				}
				g.Until(t, "it is in the ledger", func() bool { return b.Effects(t, r.Key) == 1 })
			} else if n := b.Effects(t, r.Key); n != 0 {
				t.Fatalf("executed %d times", n)
			}
			if row.path != "" {
				return // nobody can do it there; it stays in doubt
			}
			if a := resolve(t, g, "alice", r.Key, `{"outcome":"`+verdict+`","evidence":"the ledger"}`); a.Status != 200 {
				t.Fatalf("%d %s", a.Status, a.Body)
			}
			if told := d.resume(); told[r.Key] != want {
				t.Errorf("the client says %v", told)
			}
			if n := b.Effects(t, r.Key); n != 1 {
				t.Errorf("executed %d times", n)
			}
		})
	}
	t.Run("not reached", func(t *testing.T) {
		r := rig.Request{Path: "/late", Key: newKey(), Body: "amount=1"}
		d := newDevice(t, g.Addr, hasty)
		answer := make(chan string, 1)
		go func() { answer <- d.order(r) }()
		g.Until(t, "it was tried", func() bool { return g.Get(t, recordPath(r.Key)).Status == 200 })
		listen()
		if a := <-answer; !strings.HasPrefix(a, "200 ") {
			t.Errorf("the client got %q", a)
		}
		wantEffects(t, b, r.Key, 1)
	})
}

// T7: a kept connection is reset between two requests, or while the second one is at the backend. Each of them is
// executed once and gets its own answer.
func TestClientOnAKeptConnection(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	relay := between(t, g.Addr, nil)
	o := hasty
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	o.Base = base
	d := newDevice(t, relay.Addr(), o)
	for i := range 6 {
		first, second := rig.Request{Key: newKey(), Body: "1"}, rig.Request{Key: newKey(), Body: "2"}
		one := d.order(first)
		if i%2 == 0 {
			relay.CutAll(i%4 == 0)
		} else {
			second.Script.After = newKey()
			go func() {
				b.Await(t, second.Script.After, 1)
				relay.CutAll(true)
				b.Open(t, second.Script.After)
			}()
		}
		two := d.order(second)
		for r, got := range map[*rig.Request]string{&first: one, &second: two} {
			if a := g.Do(t, *r); fmt.Sprint(a.Status, " ", a.Body) != got {
				t.Errorf("the client got %q, the gateway has %q", got, a.Body)
			}
			wantEffects(t, b, r.Key, 1)
		}
	}
	d.empty()
}

// T8: the gateway is restarted while clients use it. Nothing is lost, and nothing is done twice.
func TestClientOverRestarts(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	address, admin := rig.FixedPort(t), rig.FixedPort(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "drain_delay: 0s\nlog: {access: false}", Env: []string{"ONCEWAY_LISTEN=" + address, "ONCEWAY_ADMIN_LISTEN=" + admin}})
	d := newDevice(t, address, hasty)
	keys := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(keys)
		for {
			select {
			case <-done:
				return
			default:
			}
			r := rig.Request{Key: newKey(), Body: "amount=1"}
			if answer := d.order(r); !strings.HasPrefix(answer, "200 ") {
				t.Errorf("got %q", answer)
				return
			}
			keys <- r.Key
		}
	}()
	var all []string
	for i := range 3 {
		all = append(all, <-keys)
		if i == 1 {
			g.Kill(t)
		} else {
			g.Signal(t, 15)
			g.Exit(t)
		}
		all = append(all, drained(keys)...)
		g.Start(t)
	}
	all = append(all, <-keys)
	close(done)
	for key := range keys {
		all = append(all, key)
	}
	for _, key := range all {
		if n := b.Effects(t, key); n != 1 {
			t.Errorf("%s: executed %d times", key, n)
		}
	}
	d.empty()
}

func drained(keys <-chan string) (all []string) {
	for {
		select {
		case key := <-keys:
			all = append(all, key)
		default:
			return all
		}
	}
}

// What a device has safe it lets the gateway erase; what the gateway says of itself it can follow.
func TestClientAcknowledges(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "reconcile: {base_path: /_elsewhere}\nmax_wait: 7s", Policy: "header: X-Key"})
	facts, err := client.Discover(t.Context(), nil, "http://"+g.Addr)
	if err != nil || facts.BasePath != "/_elsewhere" || facts.KeyHeader != "X-Key" || facts.MaxWait != 7*time.Second || facts.MaxBody != 1<<20 || facts.Retention != 720*time.Hour {
		t.Errorf("%+v, %v", facts, err)
	}
	if _, err := client.Discover(t.Context(), nil, "http://"+g.Admin); err == nil {
		t.Error("a gateway was found where there is none")
	}
	relay := between(t, g.Addr, nemesis.First(nemesis.Plan{Down: nemesis.Flow{After: 20, Fault: nemesis.CutRST}}, nemesis.Plan{}, nemesis.Plan{}, nemesis.Plan{Down: nemesis.Flow{Fault: nemesis.CutRST}}))
	o := hasty
	o.Facts = facts
	d := newDevice(t, relay.Addr(), o)
	resp, err := d.RoundTrip(d.request(t.Context(), rig.Request{Body: "amount=1"}))
	if err != nil {
		t.Fatal(err)
	}
	key := resp.Request.Header.Get("X-Key")
	if err := d.Resume(t.Context(), func(client.Result) error { t.Error("its answer is being read, and was told again"); return nil }); err != nil {
		t.Error(err)
	}
	if err := d.Acknowledge(t.Context(), resp); err != nil {
		t.Error(err)
	}
	resp.Body.Close()
	if a := g.Get(t, "/_elsewhere/requests/"+key); a.Record(t).State != "forgotten" {
		t.Errorf("the record is %s", a.Body)
	}
	if n := len(b.Of(t, ledger.Effect, "")); n != 1 {
		t.Errorf("%d executions", n)
	}
	// So can whoever hears of it when it is resumed.
	queued, err := d.Queue(d.request(t.Context(), rig.Request{Body: "amount=2"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Resume(t.Context(), func(r client.Result) error { return d.Acknowledge(t.Context(), r.Response) }); err != nil {
		t.Error(err)
	}
	if a := g.Get(t, "/_elsewhere/requests/"+queued); a.Record(t).State != "forgotten" {
		t.Errorf("the record is %s", a.Body)
	}
	d.empty()
	// Its answer is gone, and whoever sends it again hears that it was executed.
	req := d.request(t.Context(), rig.Request{Body: "amount=1"})
	req.Header.Set("X-Key", key)
	var ended *client.EndedError
	if _, err := d.RoundTrip(req); !errors.As(err, &ended) || ended.Outcome != client.OutcomeExecuted {
		t.Errorf("%v", err)
	}
	d.empty()
}

// To a route that is not protected a client sends no third copy, and says why.
func TestClientOnAnUnprotectedRoute(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Policy: "mode: off"})
	d := newDevice(t, g.Addr, hasty)
	r := rig.Request{Key: newKey(), Body: "amount=1"}
	if _, err := d.RoundTrip(d.request(t.Context(), r)); !errors.Is(err, client.ErrNotProtected) || len(d.Entries()) != 1 {
		t.Errorf("%v, with %d entries", err, len(d.Entries()))
	}
	if n := b.Effects(t, r.Key); n != 2 {
		t.Errorf("%d executions", n)
	}
}
