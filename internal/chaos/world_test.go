package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// world is what faults strike.
type world struct {
	t        testing.TB
	backend  *ledger.Backend
	cluster  *pgtest.Cluster
	dsn      string // past all relays
	gateways [2]*end

	mu      sync.Mutex
	strikes []strike
	bytes   int  // links that were cut or frozen at a random byte
	calm    bool // no more of those
	random  *rand.Rand
}

// end is one gateway with its three links.
type end struct {
	gateway                 *rig.Gateway
	clients, store, backend *nemesis.Relay
}

// strike is a fault that happened.
type strike struct {
	fault   fault
	gateway int // -1 is both
	at      time.Time
}

// spooling is the gateway that has a spool. The other one has none, so that both ways are met.
const spooling = 1

const attemptTimeout = 3 * time.Second

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, backend: ledger.Start(t), random: rand.New(rand.NewPCG(seed, 3)), calm: true}
	w.cluster = pgtest.NewCluster(t, pgtest.Config{TCP: true, Settings: map[string]string{"fsync": "off"}})
	w.dsn = w.cluster.NewDatabase(t)
	at, err := url.Parse(w.dsn)
	if err != nil {
		t.Fatal(err)
	}
	database := strings.TrimPrefix(at.Path, "/")
	for i := range w.gateways {
		address := rig.FixedPort(t)
		e := &end{
			clients: w.relay(address, 60),
			store:   w.relay(fmt.Sprintf("127.0.0.1:%d", w.cluster.Port), 6),
			backend: w.relay(w.backend.Address(), 60),
		}
		spool := ""
		if i == spooling {
			spool = "\nspool: " + filepath.Join(t.TempDir(), "spool")
		}
		e.gateway = rig.New(t, rig.Config{
			Store:   fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", pgtest.User, e.store.Addr(), database),
			Targets: []string{"http://" + e.backend.Addr()}, Upstream: "timeout: " + attemptTimeout.String() + ", connect_timeout: 1s",
			Caller: "{header: {name: X-User-Id}}",
			Extra: "trusted_proxies: [127.0.0.1/32]\nlease: " + lease.String() + "\nstore_timeout: 1s\ndrain_delay: 100ms\ndrain_timeout: 8s\n" +
				"log: {access: false, level: error}" + spool,
			Env: []string{"ONCEWAY_LISTEN=" + address, "ONCEWAY_ADMIN_LISTEN=" + rig.FixedPort(t)},
		})
		w.gateways[i] = e
	}
	for _, e := range w.gateways {
		e.gateway.Revive(t)
	}
	w.mu.Lock()
	w.calm = false
	w.mu.Unlock()
	return w
}

// relay is a link of which one connection in many breaks or freezes at a random byte.
func (w *world) relay(to string, oneIn int) *nemesis.Relay {
	r, err := nemesis.Listen(to, func(int) nemesis.Plan {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.calm || w.random.IntN(oneIn) > 0 {
			return nemesis.Plan{}
		}
		w.bytes++
		after := 1 + w.random.Int64N(1000)
		if oneIn < 10 {
			after = 1000 + w.random.Int64N(200_000) // a connection that lives long
		}
		f := nemesis.Flow{After: after, Fault: []nemesis.Fault{nemesis.CutFIN, nemesis.CutRST, nemesis.Freeze, nemesis.Swallow}[w.random.IntN(4)]}
		if w.random.IntN(2) == 0 {
			return nemesis.Plan{Up: f}
		}
		return nemesis.Plan{Down: f}
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.Close)
	return r
}

func (w *world) struck(f fault, gateway int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.strikes = append(w.strikes, strike{f, gateway, time.Now()})
}

// strikeProcess does one fault of the processes. It returns when what it stopped is back.
func (w *world) strikeProcess(s step) {
	g := w.gateways[s.gateway].gateway
	switch s.fault {
	case kill:
		w.struck(kill, s.gateway)
		g.Kill(w.t)
		g.Revive(w.t)
	case pause:
		w.struck(pause, s.gateway)
		g.Signal(w.t, syscall.SIGSTOP)
		time.Sleep(s.lasts)
		g.Signal(w.t, syscall.SIGCONT)
	case drain:
		w.struck(drain, s.gateway)
		g.Signal(w.t, syscall.SIGTERM)
		g.Exit(w.t) // with 1 where the store was away
		g.Revive(w.t)
	case storeRestart:
		w.struck(storeRestart, -1)
		w.cluster.Restart(w.t, pgtest.Immediate)
	case sessionsEnded, storeCut, storeHole, backendCut, backendHole, clientCut, clientHole:
	}
}

// strikeLink does one fault of the links. It returns when the link works again.
func (w *world) strikeLink(s step) {
	e := w.gateways[s.gateway]
	cut := func(r *nemesis.Relay) {
		w.struck(s.fault, s.gateway)
		r.CutAll(s.rst)
	}
	hole := func(r *nemesis.Relay) {
		w.struck(s.fault, s.gateway)
		r.Hold()
		time.Sleep(s.lasts)
		r.Resume()
	}
	switch s.fault {
	case sessionsEnded:
		w.struck(sessionsEnded, -1)
		w.endSessions()
	case storeCut:
		cut(e.store)
	case storeHole:
		hole(e.store)
	case backendCut:
		cut(e.backend)
	case backendHole:
		hole(e.backend)
	case clientCut:
		cut(e.clients)
	case clientHole:
		hole(e.clients)
	case kill, pause, drain, storeRestart:
	}
}

// endSessions may find no server: then there are no sessions.
func (w *world) endSessions() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, w.dsn)
	if err != nil {
		return
	}
	defer conn.Close(ctx)
	_, _ = conn.Exec(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
}

// heal ends every fault and returns when both gateways are ready.
func (w *world) heal() {
	w.mu.Lock()
	w.calm = true
	w.mu.Unlock()
	for _, e := range w.gateways {
		for _, r := range []*nemesis.Relay{e.clients, e.store, e.backend} {
			r.Resume()
			r.CutAll(true) // some are frozen
		}
		e.gateway.AwaitReady(w.t)
	}
}

// times are when the record of an operation was claimed and settled last, by the database.
type times struct{ claimed, settled time.Time }

// records returns the times of all records, and how many are executing.
func (w *world) records() (all map[string]times, executing int) {
	conn, err := pgx.Connect(w.t.Context(), w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(w.t.Context(), "SELECT id::text, claimed_at, coalesce(settled_at, 'epoch'), state = 1 FROM requests")
	if err != nil {
		w.t.Fatal(err)
	}
	all = map[string]times{}
	for rows.Next() {
		var id string
		var at times
		var is bool
		if err := rows.Scan(&id, &at.claimed, &at.settled, &is); err != nil {
			w.t.Fatal(err)
		}
		if is {
			executing++
		}
		all[id] = at
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return all, executing
}

// causes returns why records are in doubt, the most frequent first.
func (w *world) causes() string {
	conn, err := pgx.Connect(w.t.Context(), w.dsn)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(w.t.Context(), "SELECT cause || ' ' || count(*) FROM requests WHERE state = 4 GROUP BY cause ORDER BY count(*) DESC")
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(all, ", ")
}

// window is how far a request had come when a fault struck. It is a closed set.
type window string

const (
	beforeClaim window = "before claim" // sent by the client; no record says so
	claimed     window = "claimed"      // and the backend has not got it
	dispatched  window = "dispatched"   // the backend has got it, and has not executed it
	answered    window = "answered"     // executed, and not recorded
	recorded    window = "recorded"     // and its client has no answer
)

var windows = []window{beforeClaim, claimed, dispatched, answered, recorded}

// coverage counts how many requests each fault met in each window.
func coverage(strikes []strike, requests []sent, records map[string]times, entries []ledger.Entry) map[fault]map[window]int {
	begun, effect := map[string]time.Time{}, map[string]time.Time{}
	for _, e := range entries {
		switch e.Event {
		case ledger.Begin:
			begun[e.Operation] = e.At
		case ledger.Effect:
			effect[e.Operation] = e.At
		case ledger.Looked, ledger.Stopped:
		}
	}
	slices.SortFunc(requests, func(a, b sent) int { return a.from.Compare(b.from) })
	met := map[fault]map[window]int{}
	for _, f := range everyFault {
		met[f] = map[window]int{}
	}
	for _, s := range strikes {
		for _, r := range requests {
			if r.from.After(s.at) {
				break
			}
			if !r.to.After(s.at) || s.gateway >= 0 && r.gateway != s.gateway {
				continue
			}
			is := records[r.op.id]
			past := func(at time.Time) bool { return !at.IsZero() && at.Unix() > 0 && !at.After(s.at) }
			switch {
			case past(is.settled):
				met[s.fault][recorded]++
			case past(effect[r.op.id]):
				met[s.fault][answered]++
			case past(begun[r.op.id]):
				met[s.fault][dispatched]++
			case past(is.claimed):
				met[s.fault][claimed]++
			default:
				met[s.fault][beforeClaim]++
			}
		}
	}
	return met
}
