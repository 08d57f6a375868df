package storetest

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
	"pgregory.net/rapid"
)

// testRandom drives random histories over the store and the Model, and compares after every step what
// both answer, what both would show, and what both keep as evidence.
func testRandom(w *world) {
	var offset atomic.Int64
	model := NewModel(func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }, Lease, w.LockLease)
	advance := w.Advance
	w.Advance = func(t *testing.T, d time.Duration) {
		offset.Add(int64(d))
		advance(t, d)
	}
	rapid.Check(w.T, func(t *rapid.T) {
		m := &machine{world: w, model: model, ops: []idempotency.Operation{w.operation(), w.operation(), w.operation()}}
		m.acquire(t)
		t.Repeat(map[string]func(*rapid.T){
			"":        m.compare,
			"apply":   m.apply,
			"acquire": m.acquire,
			"step":    m.step,
			"leap":    m.leap,
			"sweep":   m.sweep,
			"purge":   m.purge,
			"probes":  m.probes,
			"search":  m.search,
		})
	})
}

// machine is one random history. Its stores are older than it; its operations are its own.
type machine struct {
	*world
	model    *Model
	owners   []idempotency.Owner // of the model; the store has given out the same, one for one
	stored   []idempotency.Owner
	ops      []idempotency.Operation
	attempts []idempotency.Attempt
}

func (m *machine) acquire(t *rapid.T) {
	i := idempotency.Instance{ID: [16]byte{byte(rapid.IntRange(1, 2).Draw(t, "instance"))}}
	a, errA := m.Store.Acquire(background, i, Lease)
	b, errB := m.model.Acquire(background, i, Lease)
	if errA != nil || errB != nil {
		t.Fatal("acquire:", errA, errB)
	}
	m.stored, m.owners = append(m.stored, a), append(m.owners, b)
}

// step lets less than a lease pass, and renews some.
func (m *machine) step(t *rapid.T) {
	m.Advance(m.T, step)
	for i := range m.owners {
		if rapid.Bool().Draw(t, "renew") {
			a, b := m.Store.Renew(background, m.stored[i], Lease), m.model.Renew(background, m.owners[i], Lease)
			// A store may refuse a lease that is about to lapse; then it must lapse in the model too.
			if a != nil && b == nil {
				_ = m.model.GiveBack(background, m.owners[i])
				_ = m.Store.GiveBack(background, m.stored[i])
			} else if (a == nil) != (b == nil) {
				t.Fatalf("renew: store says %v, model says %v", a, b)
			}
		}
	}
}

func (m *machine) leap(t *rapid.T) {
	m.Advance(m.T, time.Duration(rapid.SampledFrom([]int{5, 15, 60, 220}).Draw(t, "steps"))*step)
}

func (m *machine) sweep(t *rapid.T) {
	_, errA := m.Store.Sweep(background)
	_, errB := m.model.Sweep(background)
	if errA != nil || errB != nil {
		t.Fatal("sweep:", errA, errB)
	}
}

func (m *machine) purge(t *rapid.T) {
	_, _, errA := m.Store.Purge(background, 10_000)
	_, _, errB := m.model.Purge(background, 10_000)
	if errA != nil || errB != nil {
		t.Fatal("purge:", errA, errB)
	}
}

// probes takes what is due of the routes of all kinds of claims, for half a step, and puts some of it off.
func (m *machine) probes(t *rapid.T) {
	routes := []string{"claim", "resend", "other", "again", "import", "import claim"}
	a, errA := m.Store.TakeProbes(background, routes, 10_000, step/2)
	b, errB := m.model.TakeProbes(background, routes, 10_000, step/2)
	order := func(a, b idempotency.OperationID) int { return slices.Compare(a[:], b[:]) }
	slices.SortFunc(a, order)
	slices.SortFunc(b, order)
	if errA != nil || errB != nil || !slices.Equal(a, b) {
		t.Fatalf("due are %v %v, want %v %v", a, errA, b, errB)
	}
	for _, o := range m.ops {
		if rapid.Bool().Draw(t, "put off") {
			of := m.attempt(t, o)
			if err := errors.Join(m.Store.PutOffProbe(background, of, step*5/2), m.model.PutOffProbe(background, of, step*5/2)); err != nil {
				t.Fatal("put off:", err)
			}
		}
	}
}

// apply draws a batch of transitions of different operations.
func (m *machine) apply(t *rapid.T) {
	var forStore, forModel []idempotency.Transition
	for _, o := range m.ops {
		if !rapid.Bool().Draw(t, "in the batch") {
			continue
		}
		s, d := m.transition(t, o)
		forStore, forModel = append(forStore, s), append(forModel, d)
	}
	a, errA := applyTo(m.Store, forStore)
	b, errB := m.model.Apply(background, forModel)
	if errA != nil || errB != nil || len(a) != len(b) {
		t.Fatalf("apply: %d results %v, %d results %v", len(a), errA, len(b), errB)
	}
	for i := range b {
		if a[i].Applied != b[i].Applied {
			t.Fatalf("%T on %v: applied %v, want %v", forStore[i], b[i].Record.State, a[i].Applied, b[i].Applied)
		}
		if err := sameRecord(a[i].Record, b[i].Record); err != nil {
			t.Fatalf("%T: %v", forStore[i], err)
		}
		if _, claim := forStore[i].(idempotency.Claim); claim && b[i].Applied {
			m.attempts = append(m.attempts, b[i].Record.Attempt)
		}
	}
}

// transition draws one, and returns it as the store and as the model get it: the same but for owners
// and dates, which each has of its own.
func (m *machine) transition(t *rapid.T, o idempotency.Operation) (forStore, forModel idempotency.Transition) {
	kind := rapid.SampledFrom([]string{
		"claim", "claim", "claim", "resend", "resend", "other", "again",
		"complete", "complete", "unknowing", "bodiless", "release", "release", "doubt", "doubt",
		"executed", "response", "not executed", "note", "cancel", "acknowledge", "import", "import claim",
	}).Draw(t, "transition")
	switch kind {
	case "claim", "resend", "other", "again", "import", "import claim":
		c := m.claim(o)
		c.Resend = kind == "resend"
		c.Further = rapid.SampledFrom([]bool{false, false, true}).Draw(t, "further")
		if rapid.IntRange(0, 3).Draw(t, "retention") == 0 {
			c.Retention = idempotency.Retention{Response: 24 * time.Hour, Key: 48 * time.Hour} // as of an earlier configuration
		}
		c.Route = kind
		if kind == "other" {
			c.Fingerprint = otherFingerprint
		}
		if kind == "again" {
			c.Attempt.ID = m.attempt(t, o).ID
		}
		i := rapid.IntRange(0, len(m.owners)-1).Draw(t, "owner")
		d := c
		c.Attempt.Owner, d.Attempt.Owner = m.stored[i], m.owners[i]
		if n := rapid.SampledFrom([]int{0, -40, 20}).Draw(t, "key date"); n != 0 {
			c.KeyDate, d.KeyDate = m.now().Add(time.Duration(n)*step), m.model.clock().Add(time.Duration(n)*step)
		}
		switch kind {
		case "import":
			return imported(c, response()), imported(d, response())
		case "import claim":
			return imported(c, nil), imported(d, nil)
		}
		return c, d
	case "complete":
		forStore = complete(m.attempt(t, o))
	case "unknowing":
		forStore = unknowing(complete(m.attempt(t, o)))
	case "bodiless":
		forStore = completeBodiless(m.attempt(t, o))
	case "release":
		forStore = release(m.attempt(t, o))
	case "doubt":
		forStore = doubt(m.attempt(t, o))
	case "executed", "response", "not executed":
		r := resolve(o.ID(), m.attempt(t, o).N, idempotency.VerdictExecuted)
		if kind == "response" {
			r.Response = response()
		}
		if kind == "not executed" {
			r.Verdict = idempotency.VerdictNotExecuted
		}
		forStore = r
	case "note":
		forStore = note(o.ID(), m.attempt(t, o).N)
	case "cancel":
		forStore = cancel(o)
	case "acknowledge":
		forStore = idempotency.Acknowledge{Operation: o.ID()}
	default:
		panic("no such transition: " + kind)
	}
	return forStore, forStore
}

// attempt draws one that o had, most often the last, or one that it never had.
func (m *machine) attempt(t *rapid.T, o idempotency.Operation) idempotency.Attempt {
	id := o.ID()
	of := []idempotency.Attempt{{Operation: id, ID: idempotency.NewAttemptID(), N: 1}}
	for _, a := range m.attempts {
		if a.Operation == id {
			of = append(of, a)
		}
	}
	last := len(of) - 1
	return of[rapid.SampledFrom([]int{last, last, last, rapid.IntRange(0, last).Draw(t, "any")}).Draw(t, "attempt")]
}

func (m *machine) compare(t *rapid.T) {
	ids := make([]idempotency.OperationID, len(m.ops))
	for i, o := range m.ops {
		ids[i] = o.ID()
	}
	a, errA := m.Store.Find(background, ids)
	b, errB := m.model.Find(background, ids)
	if errA != nil || errB != nil || len(a) != len(b) {
		t.Fatalf("find: %d records %v, %d records %v", len(a), errA, len(b), errB)
	}
	for i := range b {
		if err := sameRecord(a[i], b[i]); err != nil {
			t.Fatal(err)
		}
		if err := sameEvidence(m.Evidence(m.T, ids[i]), a[i].Observed, m.model.Evidence(ids[i]), b[i].Observed); err != nil {
			t.Fatal(err)
		}
		history, err := m.Store.History(background, ids[i])
		if err != nil {
			t.Fatal("history:", err)
		}
		if err := sameEvidence(history, a[i].Observed, m.model.Evidence(ids[i]), b[i].Observed); err != nil {
			t.Fatal("history:", err)
		}
	}
}
