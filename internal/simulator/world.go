package simulator

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

// world is one run.
type world struct {
	dice    dice
	trace   *trace
	visits  *Visits
	history *history
	store   *server
	backend *backend
	slots   []*slot
	ops     []*operation
	names   map[idempotency.OperationID]string
	spools  bool           // each machine has one
	calm    atomic.Bool    // no new fault begins
	others  sync.WaitGroup // all that goes on in the world

	resolved atomic.Int64
}

// Report is what a run came to.
type Report struct {
	Seed       uint64
	Violations []string // each begins with the name of its invariant
	Trace      []string
	Hash       string // of the trace
	Visits     *Visits
	Shown      int            // records that were shown to somebody
	Effects    int            // lines of the ledger
	Resolved   int            // records in doubt that the operator settled
	Ends       map[string]int // operations by their last state
}

// Run runs the world of a seed, in a bubble of its own.
func Run(t *testing.T, seed uint64) (report Report) {
	report = Report{Seed: seed, Visits: &Visits{}, Ends: map[string]int{}}
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed)
		report.Violations = w.live()
		report.Violations = append(report.Violations, w.check()...)
		report.Trace = w.trace.sorted()
		report.Hash = hashOf(report.Trace)
		report.Visits = w.visits
		report.Resolved = int(w.resolved.Load())
		for _, op := range w.ops {
			report.Shown += len(w.history.all[op])
			report.Effects += len(w.backend.effects(op.id))
			report.Ends[w.find(op).State.String()]++
		}
	})
	return report
}

func newWorld(seed uint64) *world {
	w := &world{
		dice: dice(seed), visits: &Visits{}, history: &history{}, trace: &trace{start: time.Now()},
		names: map[idempotency.OperationID]string{},
	}
	w.store = &server{w: w, model: storetest.NewModel(time.Now, lease, false), cut: make(chan struct{})}
	w.backend = &backend{w: w, cut: make(chan struct{}), ledger: map[idempotency.OperationID][]effect{},
		underway: map[idempotency.OperationID]int{}, serial: map[idempotency.OperationID]int{}}
	w.spools = w.dice.of("spools").oneIn(2)
	for n := range 2 + w.dice.of("gateways").n(2) {
		s := &slot{w: w, n: n}
		if w.spools {
			s.disk = &disk{w: w, name: fmt.Sprint(n), entries: map[idempotency.AttemptID]idempotency.Spooled{}}
		}
		w.slots = append(w.slots, s)
	}
	for _, caller := range []idempotency.Caller{"alice", "bob"} {
		for n := range 4 { // the same keys for both
			o := idempotency.Operation{Caller: caller, Key: idempotency.Key(fmt.Sprintf("key-%d", n))}
			op := &operation{Operation: o, id: o.ID(), name: fmt.Sprintf("%s/%s", o.Caller, o.Key), resend: n == 0}
			w.ops = append(w.ops, op)
			w.names[op.id] = op.name
		}
	}
	return w
}

// live lets the world happen: first with faults, then without, until everything has an end.
func (w *world) live() (wrong verdict) {
	var boots, clients sync.WaitGroup
	for _, s := range w.slots {
		boots.Go(s.boot)
	}
	boots.Wait()
	for i := range 6 {
		c := &client{w: w, name: fmt.Sprintf("c%d", i), ops: w.ops[:4]}
		if i%2 == 1 {
			c.ops = w.ops[4:]
		}
		c.s = w.dice.of(c.name)
		if i == 5 {
			c.print = 1 // uses keys of others for another request
		}
		clients.Go(func() { c.run(6) })
	}
	over := make(chan struct{})
	w.others.Go(func() { w.operate(over) })
	clients.Wait()
	close(over)
	w.calm.Store(true)
	w.trace.add("calm")
	// What is late is at most 60 s late; what a gateway has to do afterwards takes a lease, a budget, and some retries.
	time.Sleep(60*time.Second + budget + 2*lease)
	wrong = w.settledAll()
	for _, op := range w.ops {
		w.resolve(op)
	}
	for i, op := range w.ops {
		c := &client{w: w, name: fmt.Sprintf("last%d", i), s: w.dice.of("last", uint64(i))}
		if !c.insist(op, 20) {
			wrong.say("I8 liveness: %s does not settle when nothing stands against it", op.name)
		}
	}
	wrong = append(wrong, w.agreed()...)
	for _, s := range w.slots {
		if g := s.running(); g != nil {
			g.bury()
		}
	}
	w.others.Wait()
	return wrong
}

// operate is an operator who settles what is in doubt by looking into the ledger. Nothing is declared
// not executed while something of it is still under way: see docs/guarantee.md.
func (w *world) operate(over <-chan struct{}) {
	s := w.dice.of("operator")
	for {
		timer := time.NewTimer(s.between(2*time.Second, 12*time.Second))
		select {
		case <-over:
			timer.Stop()
			return
		case <-timer.C:
			for _, op := range w.ops {
				w.resolve(op)
			}
		}
	}
}

func (w *world) resolve(op *operation) {
	r := w.find(op)
	if r.State != idempotency.Unknown || !w.backend.quiet(op.id) {
		return
	}
	for _, s := range w.slots {
		if s.disk != nil && s.disk.holds(op.id) {
			return // an operator is told so first
		}
	}
	move := idempotency.Resolve{
		Operation: op.id, N: r.Attempt.N, Verdict: idempotency.VerdictNotExecuted,
		By: "operator:alice", Evidence: "the ledger", Retention: op.retention(),
	}
	if effects := w.backend.effects(op.id); len(effects) > 0 {
		move.Verdict = idempotency.VerdictExecuted
		if len(effects[0].body)%2 == 0 {
			move.Response = idempotency.NewResponse(201, nil, []byte(effects[0].body))
		}
	}
	if rs, err := w.store.model.Apply(context.Background(), []idempotency.Transition{move}); err == nil && rs[0].Applied {
		w.resolved.Add(1)
		w.trace.add("operator resolves %s %d: %v", op.name, r.Attempt.N, rs[0].Record.State)
	}
}

// restartStore cuts every session and counts whom it hits.
func (w *world) restartStore(d time.Duration) {
	for _, s := range w.slots {
		if g := s.running(); g != nil {
			g.mu.Lock()
			for _, at := range g.inside {
				w.visits.add(storeRestarts, at, 1)
			}
			g.mu.Unlock()
		}
	}
	w.trace.add("store restarts")
	w.store.restart(d)
}

// strayed counts in which windows of its operation a late or duplicated request arrives.
func (w *world) strayed(op *operation) {
	for _, s := range w.slots {
		if g := s.running(); g != nil {
			g.mu.Lock()
			for v, at := range g.inside {
				if v.ex.op == op && v.ex.call == protected {
					w.visits.add(requestTwice, at, 1)
				}
			}
			g.mu.Unlock()
		}
	}
}

func (w *world) find(op *operation) idempotency.Record {
	rs, err := w.store.model.Find(context.Background(), []idempotency.OperationID{op.id})
	if err != nil {
		panic(err) // the model has no faults
	}
	return rs[0]
}

func (w *world) name(id idempotency.OperationID) string { return w.names[id] }
