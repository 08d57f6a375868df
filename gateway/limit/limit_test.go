package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// world is a set of callers, with a clock and a store of its own.
type world struct {
	*Callers
	t     *testing.T
	at    time.Time
	store map[idempotency.Caller]int // in doubt
	asked int
	err   error
}

func newWorld(t *testing.T, o Options) *world {
	w := &world{t: t, at: time.Unix(1_800_000_000, 0), store: map[idempotency.Caller]int{}}
	o.Now = func() time.Time { return w.at }
	o.InDoubt = func(_ context.Context, who idempotency.Caller, most int) (int, error) {
		w.asked++
		return min(w.store[who], most), w.err
	}
	w.Callers = New(o)
	return w
}

// begins lets a caller begin an attempt, or says which limit refuses; "" for none.
func (w *world) begins(who idempotency.Caller, refusedBy string) *Leave {
	w.t.Helper()
	leave, err := w.Admit(w.t.Context(), who, false)
	exceeded := &Exceeded{}
	errors.As(err, &exceeded)
	if exceeded.Limit != refusedBy || (leave == nil) != (refusedBy != "") {
		w.t.Fatalf("refused by %q, want %q", exceeded.Limit, refusedBy)
	}
	return leave
}

func TestRequestsPerSecond(t *testing.T) {
	w := newWorld(t, Options{PerSecond: 4})
	for range 4 {
		w.begins("a", "").Ended(false)
	}
	w.begins("a", "requests_per_second")
	w.begins("b", "").Ended(true) // has its own
	w.at = w.at.Add(249 * time.Millisecond)
	w.begins("a", "requests_per_second")
	w.at = w.at.Add(time.Millisecond)
	w.begins("a", "").Unused() // a replay, after all
	w.begins("a", "").Ended(false)
	w.begins("a", "requests_per_second")
	w.at = w.at.Add(-time.Hour) // a clock that jumps takes nothing
	w.begins("a", "requests_per_second")
	w.at = w.at.Add(2 * time.Hour)
	for range 4 {
		w.begins("a", "").Ended(false)
	}
	w.begins("a", "requests_per_second")
	if w.asked != 0 {
		t.Error("the store was asked")
	}
}

func TestBurst(t *testing.T) {
	w := newWorld(t, Options{PerSecond: 10, Burst: 20})
	n := 0
	for w.Allow("a") {
		n++
	}
	w.at = w.at.Add(time.Second)
	for w.Allow("a") {
		n++
	}
	if n != 30 || !w.Allow("b") {
		t.Errorf("%d calls", n)
	}
	if none := New(Options{}); none != nil || !none.Allow("a") {
		t.Error("limits where there are none")
	}
	none, err := New(Options{}).Admit(t.Context(), "a", false)
	none.Unused()
	none.Ended(true)
	if err != nil {
		t.Error(err)
	}
}

func TestInFlight(t *testing.T) {
	w := newWorld(t, Options{InFlight: 2, PerSecond: 100})
	one, two := w.begins("a", ""), w.begins("a", "")
	w.begins("a", "in_flight")
	other := w.begins("b", "")
	one.Ended(true)
	three := w.begins("a", "")
	w.begins("a", "in_flight")
	for _, l := range []*Leave{two, three, other} {
		l.Ended(false)
	}
}

func TestUnsettled(t *testing.T) {
	w := newWorld(t, Options{Unsettled: 3})
	w.store["a"] = 1
	one, two := w.begins("a", ""), w.begins("a", "")
	if w.asked != 1 {
		t.Errorf("asked %d times for two attempts", w.asked)
	}
	w.begins("a", "unsettled") // one in doubt, two running
	one.Ended(true)            // and that is counted before the store is asked again
	w.begins("a", "unsettled")
	two.Ended(false)
	w.begins("a", "").Unused()
	w.store["a"] = 2
	w.at = w.at.Add(recountAllowed)
	w.begins("a", "").Unused()
	w.store["a"] = 3
	w.begins("a", "").Unused() // what other gateways do is known within a second
	w.at = w.at.Add(recountAllowed)
	w.begins("a", "unsettled")
	w.store["a"] = 0 // all of them were resolved
	w.begins("a", "unsettled")
	w.at = w.at.Add(recountRefused)
	w.begins("a", "").Unused()
	w.begins("b", "").Unused()

	// An attempt of what is in doubt already makes it no more.
	w.store["c"] = 5
	w.begins("c", "unsettled")
	again, err := w.Admit(t.Context(), "c", true)
	if err != nil {
		t.Error(err)
	}
	again.Ended(false)
}

// A store that cannot count changes nothing, and is not asked by everybody who comes.
func TestUnsettledWithoutAStore(t *testing.T) {
	w := newWorld(t, Options{Unsettled: 1})
	w.store["a"] = 1
	w.begins("a", "unsettled")
	w.err = errors.New("away")
	w.at = w.at.Add(time.Hour)
	asked := w.asked
	for range 5 {
		w.begins("a", "unsettled")
		w.begins("b", "").Unused()
	}
	if n := w.asked - asked; n != 2 {
		t.Errorf("asked %d times for two callers", n)
	}
}

// Of callers that have gone nothing is kept, and of the others nothing is lost.
func TestMemory(t *testing.T) {
	w := newWorld(t, Options{PerSecond: 1, InFlight: 1})
	w.begins("running", "")
	for i := range 100 * sweepAtLeast {
		w.Allow(idempotency.Caller(fmt.Sprint(i)))
		if i%sweepAtLeast == 0 {
			w.at = w.at.Add(time.Second)
		}
	}
	if n := len(w.of); n > 3*sweepAtLeast {
		t.Errorf("%d callers are remembered", n)
	}
	w.begins("running", "in_flight")
	lately := idempotency.Caller(fmt.Sprint(100*sweepAtLeast - 1))
	w.Callers.mu.Lock()
	w.sweep()
	w.Callers.mu.Unlock()
	if w.Allow(lately) {
		t.Error("a caller got more by being forgotten")
	}
}

// Callers who come at once never get more than their limits, and the store is asked once for all of them.
func TestAtOnce(t *testing.T) {
	var asked, running, most atomic.Int64
	cs := New(Options{PerSecond: 1000, InFlight: 3, Unsettled: 100, InDoubt: func(context.Context, idempotency.Caller, int) (int, error) {
		asked.Add(1)
		return 0, nil
	}, Now: func() time.Time { return time.Unix(1, 0) }})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				leave, err := cs.Admit(context.Background(), "a", false)
				if err != nil {
					continue
				}
				now := running.Add(1)
				for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
				}
				running.Add(-1)
				leave.Ended(false)
			}
		})
	}
	all.Wait()
	if most.Load() > 3 || asked.Load() != 1 {
		t.Errorf("%d at once, the store was asked %d times", most.Load(), asked.Load())
	}
	if c := cs.of["a"]; c.running != 0 || c.users != 0 {
		t.Errorf("left: %d running, %d users", c.running, c.users)
	}
}
