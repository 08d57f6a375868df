package probe

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
)

// Route is a route whose backend can be asked.
type Route struct {
	Name      string
	Policy    *config.Probe
	MaxAnswer int64 // bytes of an answer that are read; what is longer is not replayed
	// Keep makes of what a backend sent what is stored and replayed.
	Keep func(*idempotency.Response) *idempotency.Response
}

// Records is what the prober asks of an engine.
type Records interface {
	Find(ctx context.Context, id idempotency.OperationID) (idempotency.Record, error)
	Resolve(idempotency.Resolve) (idempotency.Result, error)
	Note(idempotency.Note) (idempotency.Result, error)
}

// Store is what the prober asks of a store: what is due, and whether an answer may still be on its way
// into the store out of the spool of the process that owns the attempt.
type Store interface {
	idempotency.ProbeStore
	InstanceLeases(ctx context.Context, instance [16]byte) ([]idempotency.InstanceRecord, error)
}

// Options of a Prober. All are needed but Transport.
type Options struct {
	Routes    []Route
	Store     Store
	Records   Records
	Retention idempotency.Retention
	Observer  *telemetry.Observer
	Log       *slog.Logger
	Transport http.RoundTripper // default: connections of its own
}

const (
	slots = 8                      // questions of one route at a time
	idle  = 400 * time.Millisecond // between two looks for what is due, at most
	patch = 5 * time.Second        // between two looks while the store is away, at most
	// hold is how long a question belongs to the gateway that took it. If that dies, another one asks.
	hold = timeout + 10*time.Second
)

// Prober asks about records in doubt until they are not.
type Prober struct {
	o         Options
	routes    map[string]*asked
	transport http.RoundTripper
	freed     chan struct{}
	asking    sync.WaitGroup

	stop context.CancelFunc
	done chan struct{}
}

// asked is a route with its slots, and what it is called in telemetry.
type asked struct {
	Route
	slots chan struct{}
	seen  *telemetry.Probes
}

// New returns a prober that does nothing yet.
func New(o Options) *Prober {
	p := &Prober{o: o, routes: make(map[string]*asked, len(o.Routes)), transport: o.Transport, freed: make(chan struct{}, 1)}
	if p.transport == nil {
		p.transport = newTransport()
	}
	for _, r := range o.Routes {
		p.routes[r.Name] = &asked{r, make(chan struct{}, slots), o.Observer.Probes(r.Name)}
	}
	return p
}

// Start begins to ask, if there is a route to ask about. It is called once.
func (p *Prober) Start() {
	if len(p.routes) == 0 {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.done = stop, make(chan struct{})
	go func() {
		defer close(p.done)
		p.run(ctx)
	}()
}

// Stop gives up the questions under way, and waits until what was found is recorded. It is safe to call
// twice, and before Start.
func (p *Prober) Stop() {
	if p.stop == nil {
		return
	}
	p.stop()
	<-p.done
	p.asking.Wait()
	if t, ok := p.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Pending reports whether a probe may still settle r soon, so that it is worth waiting for.
func (p *Prober) Pending(r idempotency.Record) bool {
	route := p.routes[r.Route]
	if route == nil || r.State != idempotency.Unknown {
		return false
	}
	// One that is only derived is doubted by the next sweep, and asked about then.
	return r.Settled.IsZero() || r.Observed.Sub(r.Settled) < route.Policy.Settle+timeout
}

// run looks for what is due, again and again. While the store is away it looks less often, and says so once.
func (p *Prober) run(ctx context.Context) {
	pause := idle
	for ctx.Err() == nil {
		taken, err := p.take(ctx)
		switch {
		case err != nil:
			if pause <= idle && ctx.Err() == nil {
				p.o.Log.Warn("probe: the store does not say what is due", "error", err.Error())
			}
			pause = min(2*pause, patch)
		case taken > 0:
			pause = idle / 8 // there may be more
		default:
			pause = idle
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
		case <-p.freed:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// take starts the questions that are due and have a slot.
func (p *Prober) take(ctx context.Context) (taken int, err error) {
	var names []string
	room := slots
	for name, r := range p.routes {
		if free := cap(r.slots) - len(r.slots); free > 0 {
			names, room = append(names, name), min(room, free)
		}
	}
	if len(names) == 0 {
		return 0, nil
	}
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ids, err := p.o.Store.TakeProbes(bounded, names, room, hold)
	if err != nil {
		return 0, err
	}
	for _, id := range ids {
		rec, err := p.o.Records.Find(bounded, id)
		if err != nil {
			return taken, err // what was taken is due again after its hold
		}
		r := p.routes[rec.Route]
		if r == nil || rec.State != idempotency.Unknown || rec.Settled.IsZero() {
			continue
		}
		select {
		case r.slots <- struct{}{}:
		default:
			continue
		}
		taken++
		p.asking.Go(func() {
			defer func() {
				<-r.slots
				select {
				case p.freed <- struct{}{}:
				default:
				}
			}()
			p.question(ctx, r, rec)
		})
	}
	return taken, nil
}

// question asks once, and records what the answer proves. While the attempt's owner may have its answer
// in a spool nothing is asked, and nothing recorded that was asked before: somebody may have seen that
// answer, and it has to stay the only one.
func (p *Prober) question(ctx context.Context, r *asked, rec idempotency.Record) {
	began := time.Now()
	q := Question{Operation: rec.ID, Attempt: rec.Attempt.N, Age: rec.Observed.Sub(rec.Settled)}
	call := r.seen.Start(rec.Trace)
	if p.mayBeSpooled(ctx, rec) {
		call.End("withheld", 0)
		p.putOff(ctx, r, rec, q.Age+time.Since(began))
		return
	}
	a, err := ask(call.Within(ctx), p.transport, &r.Route, q, call.Inject)
	if err != nil {
		call.End("unanswered", 0)
		p.putOff(ctx, r, rec, q.Age+time.Since(began))
		return
	}
	proof := Prove(a, q, r.Policy)
	call.End(proof.Finding.String(), a.Status)
	// The owner may have come back, or have gone, since it was looked at: the answer took its time.
	if p.mayBeSpooled(context.WithoutCancel(ctx), rec) || !p.record(r, rec, proof) {
		p.putOff(ctx, r, rec, q.Age+time.Since(began))
	}
}

// mayBeSpooled reports whether the attempt's owner may have its answer in a spool, also if the store does
// not say.
func (p *Prober) mayBeSpooled(ctx context.Context, rec idempotency.Record) bool {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	leases, err := p.o.Store.InstanceLeases(ctx, rec.Attempt.Owner.Instance)
	return err != nil || idempotency.MayHoldAnswers(leases)
}

// record makes the proof durable, and reports whether the record is not in doubt any more.
func (p *Prober) record(r *asked, rec idempotency.Record, proof Proof) (settled bool) {
	resolve := idempotency.Resolve{Operation: rec.ID, N: rec.Attempt.N, By: idempotency.ByProbe, Evidence: proof.Evidence, Retention: p.o.Retention}
	var res idempotency.Result
	var err error
	switch proof.Finding {
	case Executed:
		resolve.Verdict = idempotency.VerdictExecuted
		if proof.Response != nil {
			resolve.Response = r.Keep(proof.Response)
		}
		res, err = p.o.Records.Resolve(resolve)
	case NotExecuted:
		resolve.Verdict = idempotency.VerdictNotExecuted
		res, err = p.o.Records.Resolve(resolve)
	case Absent:
		res, err = p.o.Records.Note(idempotency.Note{Operation: rec.ID, N: rec.Attempt.N, By: idempotency.ByProbe, Text: proof.Evidence})
	case Nothing:
		p.o.Log.Debug("probe: the answer proves nothing", "operation", rec.ID.String(), "route", r.Name, "evidence", proof.Evidence)
		return false
	}
	switch {
	case err != nil:
		p.o.Log.Warn("probe: what was found could not be recorded", "operation", rec.ID.String(), "route", r.Name, "error", err.Error())
		return false
	case res.Record.State == idempotency.Unknown:
		return false
	}
	if res.Applied {
		p.o.Log.Info("probe: resolved", "operation", rec.ID.String(), "route", r.Name, "attempt", rec.Attempt.N,
			"state", res.Record.State.String(), "evidence", proof.Evidence)
	}
	return true
}

// putOff says when the next question is due. If the store does not hear it, that is after the hold.
func (p *Prober) putOff(ctx context.Context, r *asked, rec idempotency.Record, age time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	_ = p.o.Store.PutOffProbe(ctx, rec.Attempt, Next(age, r.Policy.Settle, rand.Float64()))
}
