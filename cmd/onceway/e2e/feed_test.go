package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

const listPath = "/_reconcile/v1/requests"

type changes struct {
	Items    []rig.Record
	Next     string
	CaughtUp *bool `json:"caught_up"`
}

// list reads one page.
func list(t *testing.T, g *rig.Gateway, query string, header ...string) (c changes) {
	t.Helper()
	a := g.Get(t, listPath+"?"+query, header...)
	decode(t, a.Body, &c)
	if a.Status != 200 || c.Next == "" || c.CaughtUp == nil || c.Items == nil || a.Header.Get("Idempotency-State") == "" {
		t.Fatalf("%d %v %s", a.Status, a.Header, a.Body)
	}
	return c
}

// listed reads pages until everything has come. Other tests on the same server can hold that up.
func listed(t *testing.T, g *rig.Gateway, query, since string, header ...string) (keys []string, next string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		c := list(t, g, query+"&since="+since, header...)
		for _, r := range c.Items {
			keys = append(keys, r.Key+" "+r.State)
		}
		if since = c.Next; *c.CaughtUp {
			return keys, since
		}
	}
	t.Fatal("it does not catch up")
	return nil, ""
}

var cursorExpired = rig.Want{Status: 410, State: "rejected", Next: "reconcile", Slug: "cursor-expired"}

func TestList(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Caller: "{header: {name: X-User-Id}}", Extra: "trusted_proxies: [127.0.0.1/32]"})
		send := func(user string, script ledger.Script) string {
			r := rig.Request{Key: newKey(), Body: "a", Script: script, Header: rig.Header("X-User-Id", user)}
			g.Do(t, r)
			return r.Key
		}
		ann := []string{"X-User-Id", "ann"}
		if keys, _ := listed(t, g, "", "", ann...); len(keys) != 0 {
			t.Fatalf("at first there is %v", keys)
		}
		made := send("ann", ledger.Script{})
		lost := send("ann", ledger.Script{Then: ledger.Close})
		failed := send("ann", ledger.Script{Status: 429, NoEffect: true})
		send("bob", ledger.Script{})
		want := []string{made + " completed", lost + " unknown", failed + " not_executed"}
		for _, limit := range []string{"", "limit=1", "limit=2", "limit=5000"} {
			if keys, _ := listed(t, g, limit, "", ann...); !slices.Equal(keys, want) {
				t.Errorf("%s: %v, want %v", limit, keys, want)
			}
		}
		g.Until(t, "a page that is full says that it is the last", func() bool {
			page := list(t, g, "limit=3", ann...)
			return len(page.Items) == 3 && *page.CaughtUp
		})
		whole := list(t, g, "", ann...)
		if r := whole.Items[0]; r.Response == nil || r.Response.Status != 200 || !r.Response.BodyAvailable {
			t.Errorf("the response of a record in the list: %+v", r.Response)
		}

		// Whoever asks for a state hears of what leaves it, too.
		_, all := listed(t, g, "", "", ann...)
		inDoubt, doubts := listed(t, g, "state=unknown", "", ann...)
		if !slices.Equal(inDoubt, []string{lost + " unknown"}) {
			t.Errorf("in doubt: %v", inDoubt)
		}
		g.Do(t, rig.Request{Method: "PUT", Path: recordPath(failed) + "/cancellation", Header: rig.Header(ann...)})
		again := send("ann", ledger.Script{Then: ledger.Close})
		if keys, _ := listed(t, g, "", all, ann...); !slices.Equal(keys, []string{failed + " cancelled", again + " unknown"}) {
			t.Errorf("since then: %v", keys)
		}
		if keys, _ := listed(t, g, "state=unknown", doubts, ann...); !slices.Equal(keys, []string{again + " unknown"}) {
			t.Errorf("in doubt since then: %v", keys)
		}
		if keys, _ := listed(t, g, "state=not_executed", "", ann...); len(keys) != 0 {
			t.Errorf("not executed: %v", keys)
		}
		// Several states are one filter, however they are named.
		settled, rest := listed(t, g, "state=cancelled&state=completed", "", ann...)
		if !slices.Equal(settled, []string{made + " completed", failed + " cancelled"}) {
			t.Errorf("cancelled and completed: %v", settled)
		}
		if keys, _ := listed(t, g, "state=completed,cancelled", rest, ann...); len(keys) != 0 {
			t.Errorf("nothing was cancelled or completed since: %v", keys)
		}
		if keys, _ := listed(t, g, "", "", ann...); !slices.Equal(keys, []string{made + " completed", lost + " unknown", failed + " cancelled", again + " unknown"}) {
			t.Errorf("anew: %v", keys)
		}

		// A cursor is good for its caller and filter, and for nothing else.
		for _, q := range []struct {
			query  string
			header []string
		}{
			{"since=" + all, []string{"X-User-Id", "bob"}},
			{"since=" + doubts, ann},
			{"state=completed&since=" + doubts, ann},
			{"state=unknown,completed&since=" + doubts, ann},
			{"state=completed&since=" + rest, ann},
			{"since=" + all[:len(all)-1], ann},
			{"since=nonsense", ann},
		} {
			g.Get(t, listPath+"?"+q.query, q.header...).Is(t, cursorExpired)
		}
		for _, q := range []string{"limit=0", "limit=x", "limit=-1", "limit=2147483648", "wait=x", "wait=2147483648", "state=made", "state=unseen",
			"state=unknown,made", "state=unknown&state=made", "state=unknown,"} {
			g.Get(t, listPath+"?"+q, ann...).Is(t, refused(400, "request-malformed"))
		}
		g.Get(t, listPath).Is(t, unauthorised)

		// What is above the most is the most: no page says by its length that it is the last.
		list(t, g, "limit=2147483647&wait=2147483647", ann...)
		// A list is no stream: where it begins is said by its address alone.
		a := g.Get(t, listPath+"?since="+all, append(ann, "Last-Event-ID", "nonsense", "Accept", "text/event-stream;q=0.0, application/json;q=0.1")...)
		if h := a.Header; a.Status != 200 || h.Get("Vary") != "Accept" || h.Get("Content-Type") != "application/json" {
			t.Errorf("%d %v", a.Status, h)
		}

		// It survives the gateway.
		g.Signal(t, syscall.SIGKILL)
		g.Exit(t)
		g.Start(t)
		if keys, _ := listed(t, g, "", all, ann...); !slices.Equal(keys, []string{failed + " cancelled", again + " unknown"}) {
			t.Errorf("after a restart: %v", keys)
		}
	})
}

// What has been resolved is no longer in doubt, and whoever asked for what is in doubt hears of it.
func TestListReportsWhatIsResolved(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Admin: rig.Tokens("alice")})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}
		g.Do(t, r).Is(t, doubted)
		_, cursor := listed(t, g, "state=unknown", "")
		if a := resolve(t, g, "alice", r.Key, `{"outcome":"executed","evidence":"seen in the books"}`); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		if keys, _ := listed(t, g, "state=unknown", cursor); !slices.Equal(keys, []string{r.Key + " forgotten"}) {
			t.Errorf("since then: %v", keys)
		}
	})
}

func TestListWaits(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	oneAndTwo(t, rig.Config{Targets: []string{b.URL()}}, func(t *testing.T, g, other *rig.Gateway) {
		_, cursor := listed(t, g, "", "")
		for range 3 {
			held := g.Go(t, rig.Request{Method: "GET", Path: listPath + "?wait=30&since=" + cursor})
			r := rig.Request{Key: newKey(), Body: "a"}
			other.Do(t, r).Is(t, executed)
			var c changes
			decode(t, (<-held).Body, &c)
			for c.CaughtUp != nil && !*c.CaughtUp && len(c.Items) == 0 { // other tests on the same server held that up
				c = list(t, g, "wait=30&since="+c.Next)
			}
			if len(c.Items) != 1 || c.Items[0].Key != r.Key {
				t.Fatalf("what came: %+v", c)
			}
			_, cursor = listed(t, g, "", c.Next) // it may have been executing
		}
		if c := list(t, g, "wait=1&since="+cursor); len(c.Items) != 0 {
			t.Errorf("in a second in which nothing happened: %+v", c)
		}
		held := g.Go(t, rig.Request{Method: "GET", Path: listPath + "?wait=30&since=" + cursor})
		g.Until(t, "somebody follows", func() bool { return gauge(t, g, "onceway_feed_readers") == 1 })
		g.Signal(t, syscall.SIGTERM)
		var c changes
		if a := <-held; a == nil || a.Status != 200 {
			t.Fatalf("a wait at the gateway's end: %+v", a)
		} else if decode(t, a.Body, &c); c.Next == "" || len(c.Items) != 0 {
			t.Errorf("a wait at the gateway's end: %s", a.Body)
		}
		g.Exit(t)
	})
}

func TestStream(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	oneAndTwo(t, rig.Config{Targets: []string{b.URL()}}, func(t *testing.T, g, other *rig.Gateway) {
		before := rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, before).Is(t, executed)
		s := streaming(t, g, listPath)
		if h := s.header; h.Get("Cache-Control") != "no-store" || h.Get("Vary") != "Accept" || h.Get("Idempotency-State") == "" {
			t.Errorf("%v", h)
		}
		first := s.any(t)
		if first.name != "sync" || first.id == "" || first.data != `{"caught_up":false}` && first.data != `{"caught_up":true}` {
			t.Errorf("first %+v", first)
		}
		s.hears(t, before.Key, "completed")
		for e := s.any(t); e.data != `{"caught_up":true}`; e = s.any(t) {
			if e.name != "sync" {
				t.Errorf("then %+v", e)
			}
		}
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
		answer := other.Go(t, r)
		executing := s.hears(t, r.Key, "executing")
		b.Open(t, r.Script.After)
		(<-answer).Is(t, executed)
		completed := s.hears(t, r.Key, "completed")

		// Whoever comes back goes on behind the last event that he has, whatever the address says.
		streaming(t, g, listPath+"?since="+completed.id, "Last-Event-ID", executing.id).hears(t, r.Key, "completed")
		streaming(t, g, listPath+"?since="+executing.id).hears(t, r.Key, "completed")
		late := streaming(t, g, listPath+"?since="+completed.id)
		if e := late.any(t); e.name != "sync" || e.data != `{"caught_up":true}` {
			t.Errorf("with nothing new it begins with %+v", e)
		}
		gone := rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, gone).Is(t, executed)
		for _, follower := range []*eventStream{s, late} {
			for e := follower.next(t); ; e = follower.next(t) {
				var rec rig.Record
				if decode(t, e.data, &rec); rec.Key != gone.Key {
					t.Fatalf("%+v", e)
				} else if rec.State == "completed" {
					break
				}
			}
		}
		// A cursor that is none: the list begins anew, and says so.
		anew := streaming(t, g, listPath, "Last-Event-ID", "nonsense")
		if e := anew.any(t); e.name != "reset" {
			t.Errorf("first %+v", e)
		}
		anew.hears(t, before.Key, "completed")
		if a := g.Do(t, rig.Request{Method: "HEAD", Path: listPath, Header: rig.Header("Accept", "text/event-stream")}); a.Status != 200 {
			t.Errorf("HEAD: %d", a.Status)
		}

		g.Signal(t, syscall.SIGTERM)
		for e := s.next(t); e.name != "bye"; e = s.next(t) {
		}
		for e := anew.next(t); ; e = anew.next(t) {
			if e.name == "bye" {
				if e.data != `{"reason":"draining"}` {
					t.Errorf("bye: %s", e.data)
				}
				break
			}
		}
		if _, more := <-anew.events; more {
			t.Error("something comes after bye")
		}
		if code := g.Exit(t); code != 0 {
			t.Errorf("exit %d", code)
		}
	})
}

// Somebody's long transaction holds the feed back, which the metric shows; what was held back comes when it
// ends. What can be asked by its key is not held back.
func TestALongTransactionDelaysTheFeed(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.NewCluster(t, pgtest.Config{}).NewDatabase(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	_, cursor := listed(t, g, "", "")
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "CREATE TABLE of_somebody_else ()"); err != nil {
		t.Fatal(err)
	}
	r := rig.Request{Key: newKey(), Body: "a"}
	g.Do(t, r).Is(t, executed)
	if c := list(t, g, "since="+cursor); len(c.Items) != 0 || *c.CaughtUp {
		t.Errorf("while the transaction is open: %+v", c)
	}
	if rec := g.Get(t, recordPath(r.Key)).Record(t); rec.State != "completed" {
		t.Errorf("its record is %s", rec.State)
	}
	g.Until(t, "the metric shows it", func() bool { return gauge(t, g, "onceway_feed_lag_seconds") > 0 })
	s := streaming(t, g, listPath+"?since="+cursor)
	if e := s.any(t); e.name != "sync" || e.data != `{"caught_up":false}` {
		t.Errorf("first %+v", e)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	s.hears(t, r.Key, "completed")
	if keys, _ := listed(t, g, "", cursor); !slices.Equal(keys, []string{r.Key + " completed"}) {
		t.Errorf("afterwards: %v", keys)
	}
	g.Until(t, "the lag is gone", func() bool { return gauge(t, g, "onceway_feed_lag_seconds") == 0 })
}

// Clients send through two gateways that are killed again and again, and a reader follows, from one to the
// other, by the id of the last event that he has. In the end he has seen each record as it is.
func TestNothingIsMissedAcrossKills(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	one, two := pair(t, rig.Config{Targets: []string{b.URL()}, Extra: "lease: 1s"})
	gateways := []*rig.Gateway{one, two}
	var mu sync.Mutex // of gateways' addresses, while they are started again
	target := func(i int) *rig.Gateway { mu.Lock(); defer mu.Unlock(); g := *gateways[i%2]; return &g }

	var stop atomic.Bool
	var clients sync.WaitGroup
	var sent sync.Map
	for i := range 4 {
		clients.Go(func() {
			for n := i; !stop.Load(); n++ {
				r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Pause: n % 3}}
				if n%5 == 0 {
					r.Script.Then = ledger.Close
				}
				sent.Store(r.Key, true)
				_, _ = target(n).Try(t, r)
			}
		})
	}
	seen := map[string]rig.Record{}
	last, streams := "", 0
	follow := func(g *rig.Gateway, enough func(caughtUp bool) bool) {
		s := streaming(t, g, listPath, "Last-Event-ID", last)
		if s == nil {
			return
		}
		streams++
		defer s.end()
		for e := range s.events {
			last = e.id
			switch e.name {
			case "request":
				var r rig.Record
				decode(t, e.data, &r)
				if r.Revision < seen[r.Key].Revision {
					t.Errorf("%s: revision %d after %d", r.Key, r.Revision, seen[r.Key].Revision)
				}
				seen[r.Key] = r
			case "reset":
				t.Error("the cursor has expired")
			}
			if enough(e.data == `{"caught_up":true}`) {
				return
			}
		}
	}
	const kills = 4
	var killed atomic.Int64
	var killer sync.WaitGroup
	killer.Go(func() {
		for i := range kills {
			g := gateways[i%2]
			pauseFor(300 * time.Millisecond)
			mu.Lock()
			g.Kill(t)
			mu.Unlock()
			killed.Add(1)
			pauseFor(200 * time.Millisecond)
			mu.Lock()
			g.Start(t)
			mu.Unlock()
		}
	})
	for i := 0; killed.Load() < kills; i++ {
		until := min(killed.Load()+2, kills)
		follow(target(i), func(bool) bool { return killed.Load() >= until })
	}
	killer.Wait()
	stop.Store(true)
	clients.Wait()
	pauseFor(2 * time.Second) // until what a killed gateway left has been written down as in doubt
	for deadline := time.Now().Add(time.Minute); ; {
		follow(target(0), func(caughtUp bool) bool { return caughtUp })
		var wrong []string
		found := map[string]rig.Record{}
		keys := slices.Sorted(maps.Keys(seen))
		sent.Range(func(key, _ any) bool {
			if a := one.Get(t, recordPath(key.(string))); a.Status == http.StatusOK {
				found[key.(string)] = a.Record(t)
			}
			return true
		})
		for key, r := range found {
			if seen[key].Revision != r.Revision || seen[key].State != r.State {
				wrong = append(wrong, fmt.Sprintf("%s was heard of as %s, revision %d; it is %s, revision %d", key, seen[key].State, seen[key].Revision, r.State, r.Revision))
			}
		}
		if len(wrong) == 0 && len(found) == len(keys) {
			t.Logf("%d records, %d streams", len(found), streams)
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records, %d heard of; %v", len(found), len(keys), wrong)
		}
	}
}

// gauge returns the value of a metric; -1 if it is not there.
func gauge(t *testing.T, g *rig.Gateway, name string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(metric(t, g, name), 64)
	if err != nil {
		return -1
	}
	return v
}

// pauseFor lets the world go on.
func pauseFor(d time.Duration) { <-time.After(d) }

// Cursors expire with the records.
func TestCursorExpires(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "retention: {response: 1s, key: 2s}"})
		c := list(t, g, "")
		g.Until(t, "the cursor has expired", func() bool {
			return g.Get(t, listPath+"?since="+url.QueryEscape(c.Next)).Status == http.StatusGone
		})
		g.Get(t, listPath+"?since="+c.Next).Is(t, cursorExpired)
	})
}

// Many follow one gateway, and all hear of a change. ONCEWAY_STREAMS says how many; the memory that they take
// is logged.
func TestManyStreams(t *testing.T) {
	t.Parallel()
	n := 100
	if text := os.Getenv("ONCEWAY_STREAMS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "reconcile: {requests_per_second: 1000000}"})
	before := resident(t, g)
	streams := make([]*eventStream, n)
	var opened sync.WaitGroup
	for i := range streams {
		opened.Go(func() { streams[i] = streaming(t, g, listPath) })
	}
	opened.Wait()
	if slices.Contains(streams, nil) {
		t.Fatal("nobody answered")
	}
	if got := gauge(t, g, "onceway_feed_readers"); got != float64(n) {
		t.Errorf("%v readers, want %d", got, n)
	}
	r := rig.Request{Key: newKey(), Body: "a"}
	begun := time.Now()
	g.Do(t, r).Is(t, executed)
	for _, s := range streams {
		for {
			var rec rig.Record
			if decode(t, s.next(t).data, &rec); rec.Key == r.Key && rec.State == "completed" {
				break
			}
		}
	}
	t.Logf("%d streams: all have heard after %v; %d KiB more, %d KiB each", n, time.Since(begun).Round(time.Millisecond), resident(t, g)-before, (resident(t, g)-before)/n)
	for _, s := range streams {
		s.end()
	}
	g.Until(t, "nobody follows", func() bool { return gauge(t, g, "onceway_feed_readers") == 0 })
}

// resident returns the memory of a gateway in KiB; 0 where the system does not tell.
func resident(t *testing.T, g *rig.Gateway) int {
	t.Helper()
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.Pid()))
	for line := range strings.Lines(string(text)) {
		var n int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			return n
		}
	}
	return 0
}
