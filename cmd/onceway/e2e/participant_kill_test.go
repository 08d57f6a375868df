package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// A backend that takes part, its database, and a gateway in front: each can be killed and comes back.
type participation struct {
	gateway  *rig.Gateway
	backend  *rig.Shop
	cluster  *pgtest.Cluster
	database string
	look     *sql.DB
	relay    *nemesis.Relay       // between gateway and backend
	script   func(nemesis.Script) // of its connections from now on
}

// participate starts all three. The gateway's store is in a SQLite file, or in the same cluster.
func participate(t *testing.T, storeInCluster bool) *participation {
	t.Helper()
	p := &participation{cluster: pgtest.NewCluster(t, pgtest.Config{})}
	p.database = p.cluster.NewDatabase(t)
	p.open(t)
	t.Cleanup(func() { p.look.Close() })
	p.backend = rig.StartShop(t, p.database)
	var mu sync.Mutex
	plan := nemesis.Always(nemesis.Plan{})
	p.script = func(s nemesis.Script) {
		mu.Lock()
		defer mu.Unlock()
		plan = s
	}
	relay, err := nemesis.Listen(p.backend.Addr, func(i int) nemesis.Plan {
		mu.Lock()
		defer mu.Unlock()
		return plan(i)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	p.relay = relay
	c := rig.Config{
		Targets: []string{"http://" + relay.Addr()}, Upstream: "timeout: 4s, idle_timeout: 1s", Extra: "lease: 2s\nstore_timeout: 2s\ndrain_timeout: 20s",
		Policy: `on_unknown: probe, probe: {url: "` + p.backend.URL() + `/operations/{operation}", absence: fenced, settle: 10s}`,
	}
	if storeInCluster {
		c.Store = p.cluster.NewDatabase(t)
	}
	p.gateway = rig.Serve(t, c)
	return p
}

func (p *participation) open(t *testing.T) {
	t.Helper()
	if p.look != nil {
		p.look.Close()
	}
	var err error
	if p.look, err = sql.Open("pgx", p.database); err != nil {
		t.Fatal(err)
	}
}

// victims are killed with SIGKILL, or stopped without a shutdown, and come back at once.
var victims = map[string]func(*testing.T, *participation){
	"gateway": func(t *testing.T, p *participation) {
		p.gateway.Kill(t)
		p.gateway.Start(t)
	},
	"backend": func(t *testing.T, p *participation) {
		p.backend.Kill()
		p.backend.Start(t)
	},
	"database": func(t *testing.T, p *participation) {
		p.cluster.Restart(t, pgtest.Immediate)
		p.open(t)
	},
}

// order places one order as a client does that obeys Idempotency-Next and nothing else, until it is done
// or the test is over. It is nil if the test ended first.
func (p *participation) order(ctx context.Context, t *testing.T, addr func() string, key string) *rig.Answer {
	g := &rig.Gateway{}
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	ask := false
	for {
		g.Addr = addr()
		r := rig.Request{Key: key, Body: `{"item":"tea","quantity":1}`, Header: rig.Header("Prefer", "wait=2")}
		if ask {
			r = rig.Request{Method: http.MethodGet, Path: recordPath(key) + "?wait=2"}
		}
		if a, err := g.Try(t, r); err == nil {
			next := a.Header.Get("Idempotency-Next")
			switch {
			case next == "done" && !ask:
				return a
			case next == "stop":
				t.Errorf("a client is told to stop: %d %s", a.Status, a.Body)
				return nil
			}
			ask = next == "reconcile" || next == "wait"
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// wantOne checks the end: one order, a completed record, and the answer that everybody gets is about it.
// It returns the attempt that had the effect.
func (p *participation) wantOne(t *testing.T, key string, a *rig.Answer) (attempt int) {
	t.Helper()
	if a == nil {
		t.Errorf("%s: no answer", key)
		return 0
	}
	var placed struct {
		ID        int64
		Operation string
		Attempt   int
	}
	decode(t, a.Body, &placed)
	var n int
	var id int64
	if err := p.look.QueryRow("SELECT count(*), coalesce(max(id), 0), coalesce(max(attempt), 0) FROM orders WHERE operation::text = $1",
		placed.Operation).Scan(&n, &id, &attempt); err != nil {
		t.Fatal(err)
	}
	if a.Status != 201 || n != 1 || id != placed.ID || attempt != placed.Attempt {
		t.Errorf("%s: %d orders, order %d of attempt %d; answered %d %s", key, n, id, attempt, a.Status, a.Body)
	}
	again := p.gateway.Do(t, rig.Request{Key: key, Body: `{"item":"tea","quantity":1}`})
	if again.Header.Get("Idempotency-State") != "replayed" || again.Status != a.Status || again.Body != a.Body {
		t.Errorf("%s: answered\n%s\nand then\n%s", key, a.Bytes(), again.Bytes())
	}
	// Whoever sent a later attempt had been told that the earlier ones had no effect and never will.
	if r := record(t, p.gateway, key); r.State != "completed" || r.Attempts != attempt {
		t.Errorf("%s: the record is %s after %d attempts, and attempt %d had the effect", key, r.State, r.Attempts, attempt)
	}
	return attempt
}

// stage holds orders at one point of their way.
type stage struct {
	hold func(*testing.T, *participation) (letGo func())
	// held is a query that says how many orders are there.
	held string
	// by is the attempt that has the effect in the end, for each victim; any where it depends on who notices
	// first that its peer is gone.
	by map[string]int
}

const waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

// stages are all but one inside the backend's database, so that neither backend nor gateway knows of the test.
var stages = map[string]stage{
	"before the claim":  {holdBy("LOCK TABLE onceway_operations IN SHARE MODE"), waiting, map[string]int{"backend": 2, "database": 2}},
	"before the effect": {holdBy("LOCK TABLE orders IN SHARE MODE"), waiting, map[string]int{"backend": 2, "database": 2}},
	"before the record": {holdBy("LOCK TABLE onceway_responses IN SHARE MODE"), waiting, map[string]int{"backend": 2, "database": 2}},
	"inside the commit": {func(t *testing.T, p *participation) func() {
		if _, err := p.look.Exec(`
			CREATE OR REPLACE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(2); RETURN NULL; END';
			DROP TRIGGER IF EXISTS hold ON orders;
			CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold();`); err != nil {
			t.Fatal(err)
		}
		return holdBy("SELECT pg_advisory_xact_lock(2)")(t, p)
	}, waiting, map[string]int{"backend": 1, "database": 2}},
	"before the answer": {func(_ *testing.T, p *participation) func() {
		p.script(nemesis.Always(nemesis.Plan{Down: nemesis.Flow{After: 0, Fault: nemesis.Freeze}}))
		for i := range p.relay.Accepted() {
			p.relay.Conn(i).Cut(false) // none that was made before is used again
		}
		return func() { p.script(nemesis.Always(nemesis.Plan{})) }
	}, "SELECT count(*) FROM onceway_responses", map[string]int{"gateway": 1, "backend": 1, "database": 1}},
}

// holdBy holds whoever needs what the statement locks.
func holdBy(statement string) func(*testing.T, *participation) func() {
	return func(t *testing.T, p *participation) func() {
		tx, err := p.look.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(statement); err != nil {
			t.Fatal(err)
		}
		return func() { _ = tx.Rollback() } // or its server was killed
	}
}

// Killing gateway, backend or database at any point ends in exactly one order and a completed record,
// without a human.
func TestParticipantSurvivesEveryKill(t *testing.T) {
	for _, storeInCluster := range []bool{false, true} {
		t.Run(fmt.Sprintf("store in the cluster %t", storeInCluster), func(t *testing.T) {
			t.Parallel()
			p := participate(t, storeInCluster)
			for at, stage := range stages {
				for victim := range victims {
					t.Run(at+", "+victim, func(t *testing.T) { p.killAt(t, stage, victim) })
				}
			}
		})
	}
}

func (p *participation) killAt(t *testing.T, stage stage, victim string) {
	count := func() (n int) {
		if err := p.look.QueryRow(stage.held).Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	before := count()
	letGo := stage.hold(t, p)
	key := newKey()
	addr, move := moving(p.gateway.Addr)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	answer := make(chan *rig.Answer, 1)
	go func() { answer <- p.order(ctx, t, addr, key) }()
	p.gateway.Until(t, "the order is held", func() bool { return count() == before+1 })
	victims[victim](t, p)
	move(p.gateway.Addr)
	if victim == "backend" && stage.held == waiting {
		// Its server does not know yet that it is gone, and still holds the operation for it.
		from := len(p.backend.Output())
		p.gateway.Until(t, "a probe cannot decide", func() bool { return strings.Contains(p.backend.Output()[from:], "SQLSTATE 55P03") })
	}
	letGo()
	by := p.wantOne(t, key, <-answer)
	if want := stage.by[victim]; want != 0 && by != want {
		t.Errorf("attempt %d had the effect, want %d", by, want)
	}
}

// moving is an address that changes while others read it.
func moving(first string) (read func() string, move func(string)) {
	var mu sync.Mutex
	return func() string {
			mu.Lock()
			defer mu.Unlock()
			return first
		}, func(next string) {
			mu.Lock()
			defer mu.Unlock()
			first = next
		}
}

// The same with many orders under way, and one of the three killed again and again.
func TestParticipantUnderChaos(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	p := participate(t, true)
	addr, move := moving(p.gateway.Addr)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	const clients, kills = 4, 9
	type done struct {
		key string
		a   *rig.Answer
	}
	var orders []done
	var mu sync.Mutex
	enough := make(chan struct{})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				select {
				case <-enough:
					return
				default:
				}
				key := newKey()
				a := p.order(ctx, t, addr, key)
				mu.Lock()
				orders = append(orders, done{key, a})
				mu.Unlock()
			}
		})
	}
	for n := range kills {
		// A few orders succeed between two kills, a random number, so that the next one strikes anywhere.
		mu.Lock()
		from := len(orders)
		mu.Unlock()
		some := random.IntN(20)
		p.gateway.Until(t, "orders are placed", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(orders) >= from+some
		})
		names := []string{"gateway", "backend", "database"}
		victims[names[(n+random.IntN(2))%3]](t, p)
		move(p.gateway.Addr)
	}
	close(enough)
	all.Wait()
	again := 0
	for _, o := range orders {
		if p.wantOne(t, o.key, o.a) > 1 {
			again++
		}
	}
	var n, operations int
	if err := p.look.QueryRow("SELECT count(*), count(DISTINCT operation) FROM orders").Scan(&n, &operations); err != nil {
		t.Fatal(err)
	}
	if n != len(orders) || operations != n {
		t.Errorf("%d orders of %d operations, want %d", n, operations, len(orders))
	}
	t.Logf("%d orders, %d kills; %d orders needed more than one attempt", n, kills, again)
}
