package participant

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
)

// isolations are what a backend's transactions may be by default. The promise is the same in all.
var isolations = []string{"read committed", "repeatable read", "serializable"}

func eachIsolation(t *testing.T, test func(t *testing.T, w *world)) {
	for _, level := range isolations {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			test(t, newPgx(t, "default_transaction_isolation", level))
		})
	}
}

// waiting returns how many sessions of the database wait for a lock.
func (w *world) waiting(t *testing.T) (n int) {
	t.Helper()
	if err := w.look.QueryRow("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// claimed starts a transaction that has claimed and had its effect, and is not committed.
func (w *world) claimed(t *testing.T, a Attempt) transaction {
	t.Helper()
	tx, err := w.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := tx.Claim(a); err != nil || c.Decision != Execute {
		t.Fatalf("%+v, %v", c, err)
	}
	if err := errors.Join(tx.Effect(a), tx.Record(a, created(a))); err != nil {
		t.Fatal(err)
	}
	return tx
}

func (w *world) setPatience(d time.Duration) { w.subject.(adapter[pgx.Tx]).Patience = d }

// A probe waits for the transaction that holds its operation, and says what became of it.
func TestProbeWaitsForTheTransaction(t *testing.T) {
	eachIsolation(t, func(t *testing.T, w *world) {
		w.setPatience(patience)
		for _, commit := range []bool{true, false} {
			for _, rearmed := range []bool{false, true} {
				a := Attempt{newOperation(), 1}
				if rearmed { // there is a row already, and the claim is an UPDATE
					w.fence(t, a.Operation, 1)
					a.N = 2
				}
				tx := w.claimed(t, a)
				told := make(chan idempotency.Envelope)
				go func() {
					e, err := w.Fence(t.Context(), a.Operation, a.N)
					if err != nil {
						t.Error(err)
					}
					told <- e
				}()
				until(t, "the probe waits", func() bool { return w.waiting(t) == 1 })
				if commit {
					if err := tx.Commit(); err != nil {
						t.Fatal(err)
					}
					if e := <-told; e.State != idempotency.EnvelopeExecuted || e.Attempt != a.N || e.Response == nil {
						t.Errorf("told %+v", e)
					}
					w.wantExecuted(t, w.do(t, a), Replay, a.Operation, a.N)
					continue
				}
				tx.Rollback()
				if e := <-told; !e.Refuses(a.N) {
					t.Errorf("told %+v", e)
				}
				if r := w.do(t, a); r.Decision != Refuse {
					t.Errorf("after it was reported absent: %+v", r)
				}
				w.wantEffects(t, a.Operation)
			}
		}
	})
}

// A probe that cannot decide in time says so, and fences nothing.
func TestProbeThatCannotDecide(t *testing.T) {
	eachIsolation(t, func(t *testing.T, w *world) {
		w.setPatience(20 * time.Millisecond)
		a := Attempt{newOperation(), 1}
		tx := w.claimed(t, a)
		for range 2 {
			answer := w.probe(t, a.Operation, HeaderAttempt, "1")
			if answer.StatusCode != 503 || answer.Header.Get("Retry-After") == "" || answer.Header.Get("Onceway-Fenced") != "" {
				t.Errorf("%d %v", answer.StatusCode, answer.Header)
			}
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if e := w.fence(t, a.Operation, 1); e.State != idempotency.EnvelopeExecuted {
			t.Errorf("%+v", e)
		}
	})
}

// An attempt that meets a fence which is not committed yet waits for it, whatever its snapshot.
func TestClaimWaitsForTheFence(t *testing.T) {
	eachIsolation(t, func(t *testing.T, w *world) {
		for _, commit := range []bool{true, false} {
			a := Attempt{newOperation(), 1}
			fence, err := w.look.Begin()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := fence.Exec(Postgres.statements().fence, a.Operation.String(), 1); err != nil {
				t.Fatal(err)
			}
			type outcome struct {
				Result
				error
			}
			done := make(chan outcome)
			go func() {
				r, err := w.Do(t.Context(), a, book(a))
				done <- outcome{r, err}
			}()
			until(t, "the attempt waits", func() bool { return w.waiting(t) == 1 })
			if !commit {
				fence.Rollback()
				if o := <-done; o.error != nil || o.Decision != Execute {
					t.Errorf("after a fence that never was: %+v", o)
				}
				continue
			}
			if err := fence.Commit(); err != nil {
				t.Fatal(err)
			}
			if o := <-done; o.error == nil && o.Decision != Refuse { // a strict level may refuse to decide
				t.Errorf("after the fence: %+v", o)
			}
			w.wantEffects(t, a.Operation)
		}
	})
}

// Copies of one attempt wait for each other: one has the effect, the others get its answer.
func TestCopiesWait(t *testing.T) {
	w := newPgx(t)
	a := Attempt{newOperation(), 1}
	tx := w.claimed(t, a)
	const copies = 8
	results := make(chan Result)
	for range copies {
		go func() {
			r, err := w.Do(t.Context(), a, book(a))
			if err != nil {
				t.Error(err)
			}
			results <- r
		}()
	}
	until(t, "all copies wait", func() bool { return w.waiting(t) == copies })
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for range copies {
		w.wantExecuted(t, <-results, Replay, a.Operation, 1)
	}
}

// word is something that a backend told somebody.
type word struct {
	executed int // the attempt that is said to be executed; 0: none is
	absent   int // attempts up to this one are said never to have an effect
}

// race lets attempts, copies of them and probes of one operation run against each other, and returns all
// that was told. Nothing else is known of the operation than what was told, as for a gateway.
func race(ctx context.Context, w *world, operation idempotency.OperationID, random *rand.Rand) []word {
	var mu sync.Mutex
	var words []word
	told := func(said word) {
		mu.Lock()
		defer mu.Unlock()
		words = append(words, said)
	}
	attempt := func(n int, fate func(effect) (*idempotency.Response, error)) {
		a := Attempt{operation, n}
		r, err := w.Do(ctx, a, func(_ context.Context, effect effect) (*idempotency.Response, error) {
			if err := effect(); err != nil {
				return nil, err
			}
			return fate(effect)
		})
		switch {
		case err != nil:
		case r.Decision == Refuse:
			told(word{absent: n})
		default:
			var by int
			_, _ = fmt.Sscanf(string(r.Response.Body), "effect of attempt %d", &by)
			told(word{executed: by})
		}
	}
	probe := func(n int) bool {
		e, err := w.Fence(ctx, operation, n)
		switch {
		case err != nil:
			return false
		case e.State == idempotency.EnvelopeAbsent:
			told(word{absent: e.Attempt})
		default:
			told(word{executed: e.Attempt})
		}
		return e.Refuses(n)
	}
	// Draw before the goroutines start: a source of random numbers is for one of them.
	fate := func(n int) func(effect) (*idempotency.Response, error) {
		kind := random.IntN(10)
		return func(effect) (*idempotency.Response, error) {
			switch kind {
			case 0:
				return nil, errors.New("mishap")
			case 1:
				return idempotency.NewResponse(429, nil, nil), nil
			}
			return created(Attempt{operation, n}), nil
		}
	}
	pause := func() func() {
		yields := random.IntN(40)
		return func() {
			for range yields {
				runtime.Gosched()
			}
		}
	}
	var all sync.WaitGroup
	for range 1 + random.IntN(2) {
		pause, fate := pause(), fate(1)
		all.Go(func() { pause(); attempt(1, fate) })
	}
	late, second, probeSecond := fate(1), fate(2), random.IntN(2) == 0
	pauseProbe := pause()
	all.Go(func() {
		pauseProbe()
		if !probe(1) {
			return
		}
		var next sync.WaitGroup
		next.Go(func() { attempt(1, late) })
		next.Go(func() { attempt(2, second) })
		if probeSecond {
			next.Go(func() { probe(2) })
		}
		next.Wait()
	})
	all.Wait()
	return words
}

// TestRaces: whatever runs against whatever, at most one effect comes of an operation, nothing that was
// called executed is missing, and nothing that was called absent ever shows.
func TestRaces(t *testing.T) {
	for name, tt := range map[string]struct {
		start func(t *testing.T) *world
		races int
	}{
		"read committed":  {func(t *testing.T) *world { return newPgx(t) }, 1500},
		"repeatable read": {func(t *testing.T) *world { return newPgx(t, "default_transaction_isolation", "repeatable read") }, 400},
		"serializable":    {func(t *testing.T) *world { return newPgx(t, "default_transaction_isolation", "serializable") }, 400},
		"database/sql":    {func(t *testing.T) *world { return newPostgres(t) }, 400},
		"sqlite":          {func(t *testing.T) *world { return newSQLite(t) }, 300},
	} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			w := tt.start(t)
			var executed, absent, rearmed atomic.Int64
			work := make(chan uint64)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for n := range work {
						operation := newOperation()
						words := race(t.Context(), w, operation, rand.New(rand.NewPCG(seed, n)))
						effects := w.attempts(t, operation)
						if err := consistent(words, effects); err != nil {
							t.Errorf("seed %d, race %d: %v: told %+v, effects %v", seed, n, err, words, effects)
						}
						if slices.Contains(effects, 1) {
							executed.Add(1)
						}
						if slices.Contains(words, word{absent: 1}) {
							absent.Add(1)
						}
						if slices.Contains(effects, 2) {
							rearmed.Add(1)
						}
					}
				})
			}
			few, races := int64(tt.races/50), 0
			oneSided := func() bool { return executed.Load() < few || absent.Load() < few || rearmed.Load() < few }
			for races < tt.races || oneSided() && races < 10*tt.races { // who wins is up to the machine
				work <- uint64(races)
				races++
			}
			close(work)
			all.Wait()
			t.Logf("%d races: attempt 1 won %d, the probe won %d, attempt 2 was executed %d times", races, executed.Load(), absent.Load(), rearmed.Load())
			if oneSided() {
				t.Error("one side has hardly ever won: nothing is proven")
			}
		})
	}
}

// consistent checks everything that was told against the ledger, which is complete by now.
func consistent(words []word, effects []int) error {
	if len(effects) > 1 {
		return errors.New("more than one effect")
	}
	for _, said := range words {
		if said.executed != 0 && !slices.Contains(effects, said.executed) {
			return fmt.Errorf("attempt %d was called executed", said.executed)
		}
		if said.absent != 0 && slices.ContainsFunc(effects, func(n int) bool { return n <= said.absent }) {
			return fmt.Errorf("attempt %d was called absent", said.absent)
		}
	}
	return nil
}
