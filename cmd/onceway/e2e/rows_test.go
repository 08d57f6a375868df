package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

// row is one way in which the transport breaks. It is played with each client, on each hop: between the client and
// the gateway, and between the gateway and the backend.
//
// To the gateway, the client ends with its answer, and the request was executed once. To the backend, the gateway
// says "unknown" wherever it cannot know, the client stays in doubt, and whoever looks into the backend's books frees
// both.
type row struct {
	name string

	// By itself a row relays, and plans are what becomes of the first connections; to the backend, of the first one.
	plans []nemesis.Plan
	trap  *nemesis.Flow // what becomes of the request itself, on its way
	// Or it says what is done before anything is sent (nobody accepts until then), while the nearer peer waits for its
	// answer, and when that has given up.
	before, strike, after func(*hop)

	kept bool       // the connection has served another request
	idle func(*hop) // is done between the two
	long bool       // the request does not fit into the kernel's buffers
	held bool       // the backend holds its answer until somebody opens the gate

	// To the backend: what its books say when nobody else can know. Empty if the gateway always knows.
	books string
	// To the backend: the client's user wishes that it be cancelled, before anybody looks into the books.
	unwanted bool
	onlyTo   string // "gateway" or "backend"
}

const executes, executesNot = "executed", "not_executed"

func up(f nemesis.Flow) nemesis.Plan   { return nemesis.Plan{Up: f} }
func down(f nemesis.Flow) nemesis.Plan { return nemesis.Plan{Down: f} }

var transportRows = append(kernelRows, []row{
	{name: "T1 lost whole", plans: []nemesis.Plan{up(nemesis.Flow{Fault: nemesis.Swallow})}, books: executesNot},
	{name: "T1 lost in part, and again", books: executesNot,
		plans: []nemesis.Plan{up(nemesis.Flow{After: 150, Fault: nemesis.Swallow}), up(nemesis.Flow{After: 20, Fault: nemesis.Swallow})}},
	{name: "T1 lost whole, and unwanted", plans: []nemesis.Plan{up(nemesis.Flow{Fault: nemesis.Swallow})}, books: executesNot, unwanted: true, onlyTo: "backend"},
	{name: "T2 delivered late", before: holdFirst, after: deliver, books: executes},
	{name: "T2 delivered late, and unwanted", before: holdFirst, after: deliver, books: executes, unwanted: true, onlyTo: "backend"},
	{name: "T3 cut at once", plans: []nemesis.Plan{down(nemesis.Flow{Fault: nemesis.CutRST})}, books: executes},
	{name: "T3 cut in the head", plans: []nemesis.Plan{down(nemesis.Flow{After: 60, Fault: nemesis.CutFIN})}, books: executes},
	{name: "T3 cut before the end", plans: []nemesis.Plan{down(nemesis.Flow{After: 420, Fault: nemesis.CutFIN})}, books: executes},
	{name: "T3 swallowed, and again", books: executes,
		plans: []nemesis.Plan{down(nemesis.Flow{After: 50, Fault: nemesis.Swallow}), down(nemesis.Flow{After: 10, Fault: nemesis.CutRST})}},
	{name: "T4 vanished", plans: []nemesis.Plan{up(nemesis.Flow{After: 100, Fault: nemesis.Freeze})}, books: executesNot},
	{name: "T4 vanished later, and again", books: executes,
		plans: []nemesis.Plan{down(nemesis.Flow{After: 100, Fault: nemesis.Freeze}), up(nemesis.Flow{Fault: nemesis.Freeze})}},
	{name: "T5 accepted, never read", plans: []nemesis.Plan{{Ignore: true}}, books: executesNot},
	{name: "T5 accepted late", before: func(*hop) {}, after: heal, books: executes},
	{name: "T6 reset when connected", plans: []nemesis.Plan{{Refuse: true}, {Refuse: true}, {Refuse: true}}, onlyTo: "gateway"},
	{name: "T7 reset between two requests", kept: true, idle: func(h *hop) { h.relay.CutAll(true) }},
	{name: "T7 closed between two requests", kept: true, idle: func(h *hop) { h.relay.CutAll(false) }},
	{name: "T7 reset when it is written", kept: true, trap: &nemesis.Flow{Fault: nemesis.CutRST}, books: executesNot},
	{name: "T7 reset while it is written", kept: true, long: true, trap: &nemesis.Flow{After: 100_000, Fault: nemesis.CutRST}, books: executesNot},
	{name: "T7 reset while it is executed", kept: true, held: true, books: executes, strike: func(h *hop) {
		h.b.Await(h, h.request.Script.After, 1)
		h.relay.CutAll(true)
		h.b.Open(h, h.request.Script.After)
	}},
	{name: "T9 byte by byte", plans: []nemesis.Plan{{Segment: 1}}},
	{name: "T9 cut in the request, and again", books: executesNot,
		plans: []nemesis.Plan{up(nemesis.Flow{After: 180, Fault: nemesis.CutFIN}), up(nemesis.Flow{After: 1, Fault: nemesis.CutRST})}},
}...)

func holdFirst(h *hop) {
	h.release = make(chan struct{})
	h.pass(up(nemesis.Flow{Fault: nemesis.Hold, Release: h.release}))
}

func deliver(h *hop) {
	close(h.release)
	<-h.relay.Conn(0).Done()
}

// hop is where a row is played.
type hop struct {
	*testing.T
	*scene
	row
	to       string           // "gateway" or "backend": the further peer
	listener *net.TCPListener // where the nearer peer connects to
	far      string           // the address of the further one

	request rig.Request
	relay   *nemesis.Relay  // once something passes
	sprung  <-chan struct{} // of the trap
	release chan struct{}   // of what is held
	lost    net.Conn        // that nobody reads
	deaf    *os.File        // the socket that listens next
}

// pass lets everything pass from now on, except what becomes of the first connections.
func (h *hop) pass(plans ...nemesis.Plan) {
	h.relay = nemesis.Serve(h.listener, h.far, nemesis.First(plans...))
	h.Cleanup(h.relay.Close)
	if h.trap != nil {
		h.sprung = h.relay.Set(&nemesis.Trap{Mark: []byte(h.request.Key), Up: *h.trap})
	}
}

// heal is pass, as a step of a row.
func heal(h *hop) { h.pass() }

// scene is what one client's rows are played on.
type scene struct {
	b     *ledger.Backend
	g     *rig.Gateway
	begin newCustomer
	turns chan struct{} // held by the rows that do not wait for a deadline, so that these do not come too early

	mu           sync.Mutex
	told         map[string]told // by key
	warm, reused int             // rows that want a connection that was used before, and those that got it
}

// told is what was said of a request in the end.
type told struct {
	row     string
	effects int
	once    bool // nothing beyond that came to the backend
}

func (s *scene) tell(key string, what told) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[key] = what
}

func TestGoClientOverTheTransport(t *testing.T) {
	t.Parallel()
	overTheTransport(t, newGoCustomer)
}

func TestTypeScriptClientOverTheTransport(t *testing.T) {
	t.Parallel()
	overTheTransport(t, typescriptCustomers(t))
}

// overTheTransport plays each row of docs/scenarios.md under "From the transport", all at the same time, as most of it
// is waiting. In the end the ledger has each request as often as its customer was told.
func overTheTransport(t *testing.T, begin newCustomer) {
	s := &scene{b: ledger.Start(t), begin: begin, turns: make(chan struct{}, 4), told: map[string]told{}}
	var routes, upstreams strings.Builder
	backends := make([]*net.TCPListener, len(transportRows))
	for i := range backends {
		backends[i] = asleep(t)
		fmt.Fprintf(&routes, "  - {name: row%d, match: {path: /rows/%d}, upstream: row%d}\n", i, i, i)
		fmt.Fprintf(&upstreams, "  row%d: {targets: ['http://%s'], timeout: 10s}\n", i, backends[i].Addr())
	}
	s.g = rig.Serve(t, rig.Config{Targets: []string{s.b.URL()}, Routes: routes.String(), Upstreams: upstreams.String(), Admin: rig.Tokens("alice"), Extra: "log: {access: false}"})
	var all sync.WaitGroup
	play := func(name string, test func(t *testing.T)) {
		all.Go(func() { t.Run(name, test) }) // not t.Parallel, which would play two of them at a time
	}
	play("T8 restarts", s.restarts)
	for i, r := range transportRows {
		if r.onlyTo != "backend" {
			play(r.name+", to the gateway", func(t *testing.T) {
				h := &hop{T: t, scene: s, row: r, to: "gateway", listener: asleep(t), far: s.g.Addr}
				h.play(h.listener.Addr().String(), "/orders")
			})
		}
		if r.onlyTo != "gateway" {
			play(r.name+", to the backend", func(t *testing.T) {
				h := &hop{T: t, scene: s, row: r, to: "backend", listener: backends[i], far: s.b.Address()}
				h.plans = h.plans[:min(1, len(h.plans))]
				h.play(s.g.Addr, fmt.Sprint("/rows/", i))
			})
		}
	}
	all.Wait()
	if s.warm > 0 && s.reused == 0 {
		t.Error("no connection was ever used twice, so that T7 tested nothing")
	}
	s.g.Until(t, "the gateway is done", func() bool { return inFlight(t, s.g) == 0 })
	begun, effects := map[string]int{}, map[string]int{}
	for _, e := range s.b.Entries(t) {
		switch e.Event {
		case ledger.Begin:
			begun[e.Key]++
		case ledger.Effect:
			effects[e.Key]++
		}
	}
	for key, want := range s.told {
		if effects[key] != want.effects || want.once && begun[key] != want.effects {
			t.Errorf("%s: in the end the backend got %d requests and executed %d, and its customer was told of %d", want.row, begun[key], effects[key], want.effects)
		}
		delete(effects, key)
	}
	if len(effects) > 0 && !t.Failed() {
		t.Errorf("executed, and nobody ordered it: %v", slices.Collect(maps.Keys(effects)))
	}
}

// asleep listens, and nobody accepts. It speaks plain TCP, as a socket of Multipath TCP takes no filter, and nobody is
// given its port while it is closed for a moment.
func asleep(t *testing.T) *net.TCPListener {
	t.Helper()
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	for range 100 {
		l, err := plain.Listen(t.Context(), "tcp4", rig.FixedPort(t))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l.(*net.TCPListener)
	}
	t.Fatal("no free port")
	return nil
}

// order is a request that has an answer of its own.
func order(path, name string) rig.Request {
	return rig.Request{Path: path, Key: newKey(), Body: "amount=1", Script: ledger.Script{Status: 201, Body: ledger.Text(strings.Repeat("the answer to "+name+". ", 15))}}
}

// answerTo is what its customer is told in the end.
func answerTo(r rig.Request) string { return "executed 201 " + *r.Script.Body }

// play sends one request, or two, while the transport does what the row says.
func (h *hop) play(addr, path string) {
	h.turns <- struct{}{}
	defer func() { <-h.turns }()
	h.request = order(path, h.name)
	if h.long {
		h.request.Body = strings.Repeat("x", 500_000)
	}
	if h.held {
		h.request.Script.After = newKey()
	}
	if h.before != nil {
		h.before(h)
	} else {
		h.pass(h.plans...)
	}
	c := h.begin(h.T, addr)
	if h.kept {
		h.warm(c, path)
	}

	calls := c.calls()
	c.order(h.request)
	if h.strike != nil {
		h.strike(h)
	} else if len(h.plans) > 0 {
		h.struckFirst()
	}
	doubt := h.to == "backend" && h.books != ""
	if doubt || h.after != nil {
		h.wait(func() { h.givenUp(c, calls) })
	}
	if doubt {
		wantState(h.T, h.g, h.request.Key, "unknown", 1)
		c.stands(h.request.Key, "doubt")
	}
	if doubt && h.unwanted {
		c.unwant(h.request.Key)
		c.stands(h.request.Key, "cancelling")
		c.called(c.calls() + 2) // and still it is not cancelled, as nobody knows
		c.stands(h.request.Key, "cancelling")
	}
	if h.after != nil {
		h.after(h)
	}
	want := answerTo(h.request)
	if doubt {
		want = h.resolve(c)
	}
	h.wait(func() {
		if got := c.outcome(h.request.Key); got != want {
			h.Errorf("the customer is told %q, want %q", got, want)
		}
	})
	h.recorded(want)
	if n := c.unsettled(); n != 0 {
		h.Errorf("%d are left in the outbox", n)
	}
	h.struck()
}

// wait lets others play meanwhile.
func (h *hop) wait(until func()) {
	<-h.turns
	defer func() { h.turns <- struct{}{} }()
	until()
}

// warm sends another request before, which has nothing to do with what happens then.
func (h *hop) warm(c customer, path string) {
	h.Helper()
	first := order(path, "the one before")
	c.order(first)
	if got := c.outcome(first.Key); got != answerTo(first) {
		h.Errorf("the one before got %q", got)
	}
	h.tell(first.Key, told{h.name + ", the one before", 1, true})
	conn := h.relay.Conn(0)
	alive, passed := !isClosed(conn.Done()), conn.Up.Bytes()
	if h.idle != nil {
		h.idle(h)
	}
	h.Cleanup(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.scene.warm++
		if h.idle != nil && alive || conn.Up.Bytes() > passed || isClosed(conn.Up.Struck()) {
			h.reused++
		}
	})
}

// givenUp returns when the nearer peer has given up the call, or the attempt, that it has begun.
func (h *hop) givenUp(c customer, calls int) {
	h.Helper()
	if h.to == "gateway" {
		c.called(calls + 2)
		return
	}
	h.g.Until(h, "the attempt has ended", func() bool {
		a := h.g.Get(h.T, recordPath(h.request.Key)+"?wait=10")
		return a.Status == http.StatusOK && a.Record(h.T).State != "executing"
	})
}

// resolve looks into the backend's books and tells the gateway, while the customer's program is started again. It
// returns what the customer is to be told.
func (h *hop) resolve(c customer) string {
	h.Helper()
	key := h.request.Key
	c.stop()
	if h.books == executes {
		h.g.Until(h, "it is in the ledger", func() bool { return h.b.Effects(h, key) == 1 })
	} else if n := h.b.Effects(h, key); n != 0 {
		h.Errorf("executed %d times", n)
	}
	if a := resolve(h.T, h.g, "alice", key, `{"outcome":"`+h.books+`","evidence":"the ledger"}`); a.Status != http.StatusOK {
		h.Errorf("%d %s", a.Status, a.Body)
	}
	c.start()
	switch {
	case h.books == executes:
		return "executed"
	case h.unwanted:
		return "cancelled"
	}
	return answerTo(h.request)
}

// recorded checks that the record says what the customer was told, and keeps that for the ledger.
func (h *hop) recorded(outcome string) {
	h.Helper()
	answer := *h.request.Script.Body
	state := map[string]string{"executed": "forgotten", "cancelled": "cancelled", answerTo(h.request): "completed"}[outcome]
	rec := record(h.T, h.g, h.request.Key)
	if rec.State != state || h.to == "gateway" && rec.Attempts != 1 {
		h.Errorf("the record is %s after %d attempts, want %s", rec.State, rec.Attempts, state)
	}
	if state == "completed" && (rec.Response == nil || rec.Response.Body == nil || *rec.Response.Body != answer) {
		h.Errorf("the record has the answer %+v", rec.Response)
	}
	effects := 1
	if outcome == "cancelled" {
		effects = 0
	}
	h.tell(h.request.Key, told{h.name + ", to the " + h.to, effects, h.to == "gateway"})
}

// struckFirst returns when the plan of the first connection has been carried out.
func (h *hop) struckFirst() {
	h.Helper()
	h.g.Until(h, "the first connection is struck", func() bool {
		if h.relay.Accepted() == 0 {
			return false
		}
		c, p := h.relay.Conn(0), h.plans[0]
		return p.Up.Fault == nemesis.Pass && p.Down.Fault == nemesis.Pass || isClosed(c.Up.Struck()) || isClosed(c.Down.Struck()) || isClosed(c.Done())
	})
}

// struck checks that what was to go wrong did.
func (h *hop) struck() {
	h.Helper()
	for i, p := range h.plans {
		if h.relay.Accepted() <= i {
			h.Errorf("only %d connections", i)
			return
		}
		c := h.relay.Conn(i)
		if p.Up.Fault != nemesis.Pass && !isClosed(c.Up.Struck()) || p.Down.Fault != nemesis.Pass && !isClosed(c.Down.Struck()) {
			h.Errorf("nothing happened to connection %d", i)
		}
	}
	if h.trap != nil && !isClosed(h.sprung) {
		h.Error("nothing happened to the request")
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// restarts plays T8 with our own gateway: it is drained, killed, and drained again, each time with one request at the
// backend, and while another one comes.
func (s *scene) restarts(t *testing.T) {
	address, admin := rig.FixedPort(t), rig.FixedPort(t)
	g := rig.Serve(t, rig.Config{
		Targets: []string{s.b.URL()}, Extra: "lease: 1s\nlog: {access: false}", Admin: rig.Tokens("alice"),
		Env: []string{"ONCEWAY_LISTEN=" + address, "ONCEWAY_ADMIN_LISTEN=" + admin},
	})
	c := s.begin(t, address)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
		before, during, after := order("/orders", "before"), order("/orders", "during"), order("/orders", "after")
		before.Script.After = newKey()
		c.order(before)
		s.b.Await(t, before.Script.After, 1)
		calls := c.calls()
		g.Signal(t, signal)
		c.order(during)
		c.called(calls + 2)
		s.b.Open(t, before.Script.After)
		g.Exit(t)
		g.Start(t)
		c.order(after)
		want := map[string]string{before.Key: answerTo(before), during.Key: answerTo(during), after.Key: answerTo(after)}
		if signal == syscall.SIGKILL {
			g.Until(t, "nobody knows", func() bool { return g.Get(t, recordPath(before.Key)+"?wait=10").Record(t).State == "unknown" })
			if a := resolve(t, g, "alice", before.Key, `{"outcome":"executed","evidence":"the ledger"}`); a.Status != http.StatusOK {
				t.Errorf("%d %s", a.Status, a.Body)
			}
			want[before.Key] = "executed"
		}
		for key, want := range want {
			if got := c.outcome(key); got != want {
				t.Errorf("%v: the customer is told %q, want %q", signal, got, want)
			}
			s.tell(key, told{"T8 restarts", 1, true})
		}
	}
	if n := c.unsettled(); n != 0 {
		t.Errorf("%d are left in the outbox", n)
	}
}
