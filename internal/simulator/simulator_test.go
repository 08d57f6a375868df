package simulator

import (
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	seeds  = flag.Uint64("seeds", 500, "how many worlds TestSimulate runs")
	from   = flag.Uint64("from", 1, "the first seed")
	same   = flag.Uint64("same", 20, "how many worlds TestSameSeedSameRun runs again")
	replay = flag.Uint64("seed", 0, "run this seed alone, and print its trace")
)

// TestSimulate runs many worlds. Each has to keep the invariants, and together they have to see each
// fault in each window that it can hit.
func TestSimulate(t *testing.T) {
	if *replay != 0 {
		r := Run(t, *replay)
		t.Logf("seed %d, trace %s\n%s\n%s", r.Seed, r.Hash, strings.Join(r.Trace, "\n"), strings.Join(r.Violations, "\n"))
		if len(r.Violations) > 0 {
			t.Fail()
		}
		return
	}
	var total tally
	begun := time.Now()
	next := make(chan uint64)
	go func() {
		defer close(next)
		for seed := *from; seed < *from+*seeds; seed++ {
			next <- seed
		}
	}()
	t.Run("worlds", func(t *testing.T) {
		for i := range 2 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				for seed := range next {
					if total.fails() < enough {
						total.add(t, guarded(t, seed))
					}
				}
			})
		}
	})
	t.Logf("%v\n%v\n%.0f worlds/s", &total, &total.visits, float64(total.worlds)/time.Since(begun).Seconds())
	if *seeds >= 500 && !t.Failed() {
		for _, missing := range total.visits.Missing() {
			t.Errorf("never visited: %s", missing)
		}
	}
}

// enough worlds that fail tell what there is to tell.
const enough = 5

// guarded names the seed of a world that ends in a panic.
func guarded(t *testing.T, seed uint64) Report {
	whole := false
	defer func() {
		if !whole {
			fmt.Printf("seed %d did not come to its end\n", seed)
		}
	}()
	r := Run(t, seed)
	whole = true
	return r
}

type tally struct {
	mu                               sync.Mutex
	worlds, shown, effects, resolved int
	failed                           int
	visits                           Visits
	ends                             map[string]int
}

func (a *tally) fails() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

func (a *tally) add(t *testing.T, r Report) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.worlds++
	a.shown += r.Shown
	a.effects += r.Effects
	a.resolved += r.Resolved
	a.visits.Add(r.Visits)
	if a.ends == nil {
		a.ends = map[string]int{}
	}
	for state, n := range r.Ends {
		a.ends[state] += n
	}
	if len(r.Violations) > 0 {
		a.failed++
		t.Errorf("seed %d:\n%s\nto see it again: go test ./internal/simulator -run TestSimulate -v -seed %d", r.Seed,
			strings.Join(r.Violations, "\n"), r.Seed)
	}
}

func (a *tally) String() string {
	return fmt.Sprintf("%d worlds, %d effects, %d records shown, %d settled by the operator; in the end %v",
		a.worlds, a.effects, a.shown, a.resolved, a.ends)
}

// The same seed is the same run, in every detail.
func TestSameSeedSameRun(t *testing.T) {
	for seed := range uint64(*same) {
		first := Run(t, seed+1)
		for range 2 {
			if again := Run(t, seed+1); again.Hash != first.Hash {
				t.Errorf("seed %d: trace %s, and then %s: %s", seed+1, first.Hash, again.Hash, divergence(first.Trace, again.Trace))
			}
		}
	}
}

func divergence(a, b []string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d\n%s\n%s", i, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines and %d", len(a), len(b))
}
