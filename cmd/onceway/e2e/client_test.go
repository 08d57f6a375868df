package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// T2: the original comes long after its client gave it up, which has cancelled it; or its cancellation comes too late.
// That what was sent again is executed once is a row of transportRows.
func TestClientAndTheLateOriginal(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}})
	held := func(t *testing.T) (*nemesis.Relay, func()) {
		deliver := make(chan struct{})
		return between(t, g.Addr, nemesis.First(nemesis.Plan{Up: nemesis.Flow{Fault: nemesis.Hold, Release: deliver}})), func() { close(deliver) }
	}
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
	o := hasty
	o.CallTimeout = time.Minute // each call is counted
	d := newDevice(t, g.Addr, o)
	r := rig.Request{Key: newKey(), Body: "amount=1"}
	if _, err := d.RoundTrip(d.request(t.Context(), r)); !errors.Is(err, client.ErrNotProtected) || len(d.Entries()) != 1 {
		t.Errorf("%v, with %d entries", err, len(d.Entries()))
	}
	if n := b.Effects(t, r.Key); n != 2 {
		t.Errorf("%d executions", n)
	}
}
