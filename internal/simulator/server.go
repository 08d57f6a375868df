package simulator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

// server is the store's side: the model, and when it is down. It executes a statement when it arrives,
// whether or not anybody still waits for the reply.
type server struct {
	w     *world
	model *storetest.Model

	mu   sync.Mutex
	life int           // counts restarts
	cut  chan struct{} // closed when this life ends
	up   time.Time     // refuses until then
}

var (
	errReset   = errors.New("connection reset by peer")
	errRefused = errors.New("connection refused")
	errKilled  = errors.New("the process is dead")
)

// restart ends every session and whatever has not been executed, and refuses for d.
func (v *server) restart(d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.life++
	close(v.cut)
	v.cut = make(chan struct{})
	v.up = time.Now().Add(d)
}

// connect returns the life that a statement sent now belongs to.
func (v *server) connect() (life int, cut <-chan struct{}, up bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.life, v.cut, !v.up.After(time.Now())
}

func (v *server) lives(life int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.life == life
}

// session is a gateway's side of the store: it loses, delays and refuses. Whatever it returns has waited
// until its gateway runs, and so has whatever it sends.
type session struct{ g *gateway }

// verb says what becomes of a statement.
type verb struct {
	fault   fault
	loses   bool          // it never arrives
	lingers time.Duration // it arrives that much later, though the reply was given up long before
	silent  bool          // no reply comes
	reset   bool          // an error comes instead of the reply
	refusal error         // nothing is executed, and the store says so
}

var errTooLong = &idempotency.RolledBackError{Err: errors.New("value too long")}
var errLocked = &idempotency.RolledBackError{Err: errors.New("lock timeout"), Blocked: true}

// draw decides about one batch.
func (v *server) draw(s *stream) verb {
	if v.w.calm.Load() {
		return verb{}
	}
	return pick(s, []weighted[verb]{
		{60, verb{}},
		{3, verb{fault: lostBefore, loses: true, reset: true}},
		{4, verb{fault: lostAfter, reset: true}},
		{2, verb{fault: blackHole, loses: true, silent: true}},
		{2, verb{fault: lostAfter, silent: true}},
		{2, verb{fault: writtenLate, silent: true, lingers: s.between(time.Second, 40*time.Second)}},
		{2, verb{fault: writtenLate, reset: true, lingers: s.between(10*time.Millisecond, 45*time.Second)}},
		{2, verb{fault: refused, refusal: errTooLong}},
		{2, verb{fault: blocked, refusal: errLocked}},
	})
}

// Apply implements [idempotency.Store].
func (o session) Apply(ctx context.Context, ts []idempotency.Transition) ([]idempotency.Result, error) {
	w := o.g.w
	s := w.dice.of("apply "+o.g.name+kind(ts[0]), now(w), uint64First(ts[0].Target()))
	verb := w.store.draw(s)
	if verb.fault != "" {
		for _, t := range ts {
			if at, ok := windowOf(t); ok {
				w.visits.add(verb.fault, at, 1)
			}
		}
	}
	// The batch is the caller's again once Apply has returned.
	ts = append([]idempotency.Transition(nil), ts...)
	rs, err := carry(o, ctx, s, verb, func() ([]idempotency.Result, error) {
		rs, err := w.store.model.Apply(context.Background(), ts)
		for i, t := range ts {
			r := rs[i].Record
			w.trace.add("store  %s %s -> %s %d applied %v", kind(t), w.name(t.Target()), r.State, r.Attempt.N, rs[i].Applied)
		}
		return rs, err
	})
	if err != nil {
		w.trace.add("%s %d statements, first %s %s: %s: %v",
			o.g.name, len(ts), kind(ts[0]), w.name(ts[0].Target()), verb.fault, err)
	}
	return rs, err
}

// Find implements [idempotency.Store].
func (o session) Find(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	w := o.g.w
	s := w.dice.of("find "+o.g.name+asker(ctx), now(w), uint64First(ids[0]))
	ids = append([]idempotency.OperationID(nil), ids...)
	return carry(o, ctx, s, w.store.drawRead(s), func() ([]idempotency.Record, error) {
		return w.store.model.Find(context.Background(), ids)
	})
}

func (v *server) drawRead(s *stream) verb {
	if v.w.calm.Load() {
		return verb{}
	}
	return pick(s, []weighted[verb]{{40, verb{}}, {2, verb{loses: true, reset: true}}, {1, verb{loses: true, silent: true}}})
}

// Acquire implements [idempotency.LeaseStore].
func (o session) Acquire(ctx context.Context, i idempotency.Instance, d time.Duration) (idempotency.Owner, error) {
	return onLease(o, ctx, "acquire", func(m *storetest.Model) (idempotency.Owner, error) {
		owner, err := m.Acquire(context.Background(), i, d)
		o.g.w.trace.add("store  %s acquires epoch %d", o.g.name, owner.Epoch)
		return owner, err
	})
}

// Renew implements [idempotency.LeaseStore].
func (o session) Renew(ctx context.Context, owner idempotency.Owner, d time.Duration) error {
	_, err := onLease(o, ctx, "renew", func(m *storetest.Model) (struct{}, error) {
		return struct{}{}, m.Renew(context.Background(), owner, d)
	})
	return err
}

// GiveBack implements [idempotency.LeaseStore].
func (o session) GiveBack(ctx context.Context, owner idempotency.Owner) error {
	_, err := onLease(o, ctx, "give back", func(m *storetest.Model) (struct{}, error) {
		return struct{}{}, m.GiveBack(context.Background(), owner)
	})
	return err
}

// Sweep implements [idempotency.LeaseStore].
func (o session) Sweep(ctx context.Context) (int, error) {
	return onLease(o, ctx, "sweep", func(m *storetest.Model) (int, error) {
		n, err := m.Sweep(context.Background())
		if n > 0 {
			o.g.w.trace.add("store  sweep doubts %d", n)
		}
		return n, err
	})
}

// Executing implements [idempotency.OwnStore].
func (o session) Executing(ctx context.Context, owner idempotency.Owner, age time.Duration, limit int) ([]idempotency.Attempt, error) {
	return onLease(o, ctx, "executing", func(m *storetest.Model) ([]idempotency.Attempt, error) {
		return m.Executing(context.Background(), owner, age, limit)
	})
}

func onLease[T any](o session, ctx context.Context, what string, execute func(*storetest.Model) (T, error)) (T, error) {
	v := o.g.w.store
	s := o.g.w.dice.of(what+" "+o.g.name, now(o.g.w))
	return carry(o, ctx, s, v.drawRead(s), func() (T, error) { return execute(v.model) })
}

// carry carries one statement there and the reply back.
func carry[T any](o session, ctx context.Context, s *stream, verb verb, execute func() (T, error)) (none T, err error) {
	v := o.g.w.store
	there, back := s.between(20*time.Microsecond, 3*time.Millisecond), s.between(20*time.Microsecond, 3*time.Millisecond)
	end := s.between(time.Microsecond, 50*time.Microsecond) // what it takes to notice an end
	if err := o.g.awake(s); err != nil {
		return none, err
	}
	life, cut, up := v.connect()
	if !up {
		time.Sleep(there)
		return none, o.g.returned(s, errRefused)
	}
	if verb.refusal != nil {
		time.Sleep(there + back)
		return none, o.g.returned(s, verb.refusal)
	}
	type result struct {
		value T
		err   error
	}
	reply := make(chan result, 1)
	if !verb.loses {
		o.g.w.others.Go(func() {
			time.Sleep(there + verb.lingers)
			if !v.lives(life) {
				return
			}
			value, err := execute()
			time.Sleep(back)
			if !verb.silent && !verb.reset {
				reply <- result{value, err}
			}
		})
	}
	var broken <-chan time.Time
	if verb.reset {
		broken = time.After(there + back)
	}
	select {
	case r := <-reply:
		return r.value, o.g.returned(s, r.err)
	case <-broken:
		err = errReset
	case <-cut:
		err = errReset
	case <-ctx.Done():
		err = ctx.Err()
	case <-o.g.died:
		return none, errKilled
	}
	time.Sleep(end)
	return none, o.g.returned(s, err)
}

func windowOf(t idempotency.Transition) (window, bool) {
	switch t.(type) {
	case idempotency.Claim:
		return beforeClaim, true
	case idempotency.Complete, idempotency.Release, idempotency.Doubt:
		return answered, true
	case idempotency.Resolve, idempotency.Cancel, idempotency.Acknowledge, idempotency.Import:
	}
	return 0, false
}

func kind(t idempotency.Transition) string {
	switch t := t.(type) {
	case idempotency.Claim:
		return "claim"
	case idempotency.Complete:
		return "complete"
	case idempotency.Release:
		return "release:" + string(t.Cause)
	case idempotency.Doubt:
		return "doubt:" + string(t.Cause)
	case idempotency.Resolve:
		return "resolve"
	case idempotency.Cancel:
		return "cancel"
	case idempotency.Acknowledge:
		return "acknowledge"
	case idempotency.Import:
		return "import"
	}
	return "?"
}

func now(w *world) uint64 { return uint64(time.Since(w.trace.start)) }

func uint64First(id idempotency.OperationID) (n uint64) {
	for _, b := range id[:8] {
		n = n<<8 | uint64(b)
	}
	return n
}
