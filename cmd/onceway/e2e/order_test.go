package e2e

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// A backend that looks its own operation up while it is being called finds a committed attempt, also
// through another gateway: nothing was sent before the claim was durable.
func TestNothingIsSentBeforeTheClaimIsCommitted(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	oneAndTwo(t, rig.Config{Targets: []string{b.URL()}}, func(t *testing.T, g, other *rig.Gateway) {
		for range 5 {
			key := newKey()
			urls := []string{"http://" + g.Addr + recordPath(key), "http://" + other.Addr + recordPath(key)}
			first := rig.Request{Key: key, Body: "a", Script: ledger.Script{Lookup: urls, NoEffect: true, Status: 429}}
			g.Do(t, first).Is(t, rig.Want{Status: 429, State: "not_executed", Next: "resend"})
			g.Do(t, rig.Request{Key: key, Body: "a", Script: ledger.Script{Lookup: urls}}).Is(t, executed)
			looked := b.Of(t, ledger.Looked, key)
			if len(looked) != 2*len(urls) {
				t.Fatalf("%d look-ups", len(looked))
			}
			for i, e := range looked {
				var r rig.Record
				decode(t, e.Lookup.Body, &r)
				attempt := 1 + i/len(urls)
				if e.Lookup.Status != 200 || r.State != "executing" || r.Attempts != attempt || r.Operation != e.Operation {
					t.Errorf("while attempt %d was on its way, %s said %d %s", attempt, e.Lookup.URL, e.Lookup.Status, e.Lookup.Body)
				}
			}
		}
	})
}

// oneAndTwo runs a check on one gateway, which is the other one, too, with each store, and on two with one Postgres.
func oneAndTwo(t *testing.T, c rig.Config, check func(t *testing.T, g, other *rig.Gateway)) {
	rig.EachStore(t, func(t *testing.T, dsn string) {
		alone := c
		alone.Store = dsn
		g := rig.Serve(t, alone)
		check(t, g, g)
	})
	t.Run("two gateways", func(t *testing.T) {
		t.Parallel()
		g, other := pair(t, c)
		check(t, g, other)
	})
}

// pair starts two gateways on one Postgres.
func pair(t testing.TB, c rig.Config) (g, other *rig.Gateway) {
	c.Store = pgtest.New(t)
	return rig.Serve(t, c), rig.Serve(t, c)
}

// As soon as a client can read the first byte of an answer, everybody finds the outcome recorded.
func TestNoByteOfAnAnswerBeforeItIsCommitted(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	oneAndTwo(t, rig.Config{Targets: []string{b.URL()}}, func(t *testing.T, g, other *rig.Gateway) {
		for _, c := range []struct {
			script ledger.Script
			state  string
		}{
			{ledger.Script{}, "completed"},
			{ledger.Script{Status: 500}, "completed"},
			{ledger.Script{Status: 503}, "unknown"},
			{ledger.Script{Then: ledger.Close}, "unknown"},
			{ledger.Script{Status: 429}, "not_executed"},
			{ledger.Script{Big: 2 << 20}, "forgotten"},
		} {
			for range 4 {
				key := newKey()
				conn := g.Dial(t)
				io.WriteString(conn, rig.Request{Key: key, Body: "a", Script: c.script}.Raw())
				r := bufio.NewReader(conn)
				if _, err := r.ReadByte(); err != nil {
					t.Fatal(err)
				}
				// Without a wait: what is asked now must already be there.
				if got := other.Get(t, recordPath(key)).Record(t); got.State != c.state {
					t.Errorf("%+v: the answer is on its way, and the record is %s, want %s", c.script, got.State, c.state)
				}
				conn.Close()
			}
		}
	})
}

// A store that is down costs requests, and nothing else: nothing is sent, and nobody restarts anything.
func TestNothingIsSentWithoutAStore(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	g := rig.Serve(t, rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: "store_timeout: 1s"})
	settled := rig.Request{Key: newKey(), Body: "a"}
	before := insist(t, g, settled)
	before.Is(t, executed)

	cluster.Stop(pgtest.Immediate)
	key := newKey()
	for range 3 {
		g.Do(t, rig.Request{Key: key, Body: "a"}).Is(t, noStore)
	}
	g.Get(t, recordPath(key)).Is(t, noStore)
	g.Get(t, recordPath(settled.Key)).Is(t, found("completed", "done")) // in memory for a minute
	g.AwaitNotReady(t)
	if a := g.AdminGet(t, "/livez"); a.Status != 200 {
		t.Errorf("/livez: %d", a.Status)
	}
	// What streams through needs no store.
	if a := g.Do(t, rig.Request{Method: http.MethodGet, Path: "/catalogue"}); a.Status != 200 {
		t.Errorf("GET: %d", a.Status)
	}
	if n := len(b.Of(t, ledger.Begin, key)); n != 0 {
		t.Fatalf("%d requests were sent without a claim", n)
	}

	cluster.Start(t)
	g.AwaitReady(t)
	insist(t, g, rig.Request{Key: key, Body: "a"}).Is(t, executed)
	wantEffects(t, b, key, 1)
	if after := insist(t, g, settled); after.Bytes() != before.Bytes() {
		t.Errorf("the answer of before is now %s", after.Bytes())
	}
	wantEffects(t, b, settled.Key, 1)
}

// An answer that cannot be recorded is not told: the client hears that nobody knows, and the record
// has the answer as soon as the store takes it.
func TestAnAnswerThatCannotBeRecordedIsNotTold(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nlease: 60s"})
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: "recorded"}}
	answer := resent(t, g, r)
	b.Await(t, "recorded", 1)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE requests IN EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	b.Open(t, "recorded")
	a := <-answer
	if a == nil {
		t.Fatal("no answer")
	}
	a.Is(t, doubted)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantEffects(t, b, r.Key, 1)
	g.Until(t, "the answer is recorded late", func() bool { return g.Get(t, recordPath(r.Key)).Record(t).State == "completed" })
	insist(t, g, r).Is(t, replayed)
	wantEffects(t, b, r.Key, 1)
}
