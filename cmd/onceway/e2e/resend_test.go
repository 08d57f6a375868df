package e2e

import (
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// resending is a route whose backend deduplicates by the key.
const resending = "on_unknown: resend"

// attempts returns the numbers of the attempts of a key that the backend got, in order of arrival.
func attempts(t *testing.T, b *ledger.Backend, key string) []string {
	t.Helper()
	var numbers []string
	for _, e := range b.Of(t, ledger.Begin, key) {
		numbers = append(numbers, e.Attempt)
	}
	return numbers
}

func wantAttempts(t *testing.T, b *ledger.Backend, key string, want ...string) {
	t.Helper()
	if got := attempts(t, b, key); !slices.Equal(got, want) {
		t.Errorf("the backend got the attempts %v, want %v", got, want)
	}
}

// An operation in doubt is resolved by the next retry: of fifty at once exactly one executes again, and
// all get its answer.
func TestFiftyRetriesResendOnce(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	check := func(t *testing.T, gs ...*rig.Gateway) {
		r := rig.Request{Key: newKey(), Body: "a", Header: rig.Header("Prefer", "wait=30"), Script: ledger.Script{Then: ledger.Close}}
		gs[0].Do(t, r).Is(t, doubted)
		if rec := wantState(t, gs[0], r.Key, "unknown", 1); rec.Next != "resend" {
			t.Errorf("next is %s: a client that only reads its record would never resolve it", rec.Next)
		}
		// The backend knows the key, and has no second effect.
		r.Script = ledger.Script{NoEffect: true, Status: 201, Body: ledger.Text("the first one's"), After: newKey()}
		var answers []<-chan *rig.Answer
		for i := range crowd {
			answers = append(answers, gs[i%len(gs)].Go(t, r))
		}
		gs[0].Until(t, "all retries are inside", func() bool {
			n := 0
			for _, g := range gs {
				n += inFlight(t, g)
			}
			return n == crowd
		})
		b.Open(t, r.Script.After)
		executions := 0
		for _, done := range answers {
			a := <-done
			if a == nil {
				t.Fatal("no answer")
			}
			state := a.Header.Get("Idempotency-State")
			if state == "executed" {
				executions++
			}
			a.Is(t, rig.Want{Status: 201, State: state, Next: "done"})
			if a.Body != "the first one's" {
				t.Errorf("answered %q", a.Body)
			}
		}
		if executions != 1 {
			t.Errorf("%d of the retries say that they executed", executions)
		}
		wantAttempts(t, b, r.Key, "1", "2")
		if n := b.Effects(t, r.Key); n != 1 {
			t.Errorf("%d effects", n)
		}
		for _, g := range gs {
			wantState(t, g, r.Key, "completed", 2)
			g.Do(t, r).Is(t, with(replayed, 201))
		}
	}
	rig.EachStore(t, func(t *testing.T, dsn string) {
		check(t, rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: resending}))
	})
	t.Run("two gateways", func(t *testing.T) {
		t.Parallel()
		g, other := pair(t, rig.Config{Targets: []string{b.URL()}, Policy: resending})
		check(t, g, other)
	})
}

// A backend that is still at work on the attempt before says so: that is no answer of the operation.
func TestInProgressIsNoAnswer(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: resending})
		for _, status := range []int{409, 425} {
			r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Reset}}
			g.Do(t, r).Is(t, doubted)
			r.Script = ledger.Script{NoEffect: true, Status: status, Body: ledger.Text("busy")}
			for n := 2; n < 4; n++ {
				a := g.Do(t, r)
				a.Is(t, rig.Want{Status: status, State: "unknown", Next: "reconcile"})
				if a.Body != "busy" {
					t.Errorf("%d is not passed through: %q", status, a.Body)
				}
				wantState(t, g, r.Key, "unknown", n)
			}
			r.Script = ledger.Script{NoEffect: true, Status: 201}
			g.Do(t, r).Is(t, with(executed, 201))
			g.Do(t, r).Is(t, with(replayed, 201))
			wantAttempts(t, b, r.Key, "1", "2", "3", "4")
		}
		// Of a first attempt they are answers like any other.
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{NoEffect: true, Status: 409}}
		g.Do(t, r).Is(t, with(executed, 409))
		g.Do(t, r).Is(t, with(replayed, 409))
	})
}

// What proves that a later attempt had no effect says nothing of the one before it.
func TestResendThatWasNotExecuted(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: resending})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}
		g.Do(t, r).Is(t, doubted)
		r.Script = ledger.Script{NoEffect: true, Status: 429}
		g.Do(t, r).Is(t, rig.Want{Status: 429, State: "unknown", Next: "reconcile"})
		wantState(t, g, r.Key, "unknown", 2)
		// A deadline refuses a new attempt, and must not pass for the operation's end.
		r.Header = rig.Header("Idempotency-Deadline", "2020-01-01T00:00:00Z")
		g.Do(t, r).Is(t, stillUnknown)
		wantAttempts(t, b, r.Key, "1", "2")
	})
}

// The gateway that owns attempt 1 sleeps past its lease, and the other executes attempt 2. The first one
// wakes up with its answer: it counts, for everybody, and the second's answer is not shown.
func TestLateAnswerDuringTheSecondAttempt(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g, other := pair(t, rig.Config{Targets: []string{b.URL()}, Policy: resending, Extra: "lease: 2s"})
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, Body: ledger.Text("first"), After: newKey()}}
	first := resent(t, g, r)
	b.Await(t, r.Script.After, 1)
	g.Signal(t, syscall.SIGSTOP)
	other.Until(t, "the first attempt is in doubt", func() bool {
		return strings.Contains(other.Get(t, recordPath(r.Key)).Body, `"state":"unknown"`)
	})
	retry := r
	retry.Script = ledger.Script{NoEffect: true, Status: 201, Body: ledger.Text("second"), After: newKey()}
	second := resent(t, other, retry)
	b.Await(t, retry.Script.After, 1)
	b.Open(t, r.Script.After)
	g.Signal(t, syscall.SIGCONT)
	if a := <-first; a == nil || a.Status != 201 || a.Body != "first" {
		t.Errorf("the first caller got %+v", a)
	}
	wantState(t, other, r.Key, "completed", 2)
	b.Open(t, retry.Script.After)
	if a := <-second; a == nil || a.Body != "first" {
		t.Errorf("the second caller got %+v", a)
	}
	for _, g := range []*rig.Gateway{g, other} {
		a := g.Do(t, r)
		a.Is(t, rig.Want{Status: http.StatusCreated, State: "replayed", Next: "done"})
		if a.Body != "first" {
			t.Errorf("replayed %q", a.Body)
		}
	}
	wantAttempts(t, b, r.Key, "1", "2")
}

// A gateway that died with an attempt under way leaves it to the next retry.
func TestKilledThenResent(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: resending, Extra: "lease: 2s"})
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
		gone := resent(t, g, r)
		b.Await(t, r.Script.After, 1)
		g.Kill(t)
		<-gone
		g.Start(t)
		wantState(t, g, r.Key, "unknown", 1)
		r.Script = ledger.Script{NoEffect: true, Status: 201}
		insist(t, g, r).Is(t, with(executed, 201))
		wantAttempts(t, b, r.Key, "1", "2")
	})
}
