package e2e

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

const crowd = 50

// Fifty identical requests at once are one execution and fifty times the same answer, whichever
// gateway they come to.
func TestConcurrentDuplicatesExecuteOnce(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	check := func(t *testing.T, gs ...*rig.Gateway) {
		r := rig.Request{Key: newKey(), Body: `{"amount":1}`, Header: rig.Header("Prefer", "wait=30"), Script: ledger.Script{After: newKey()}}
		var answers []<-chan *rig.Answer
		for i := range crowd {
			answers = append(answers, gs[i%len(gs)].Go(t, r))
		}
		// The one that executes is held until all the others are inside.
		gs[0].Until(t, "all duplicates are inside", func() bool {
			n := 0
			for _, g := range gs {
				n += inFlight(t, g)
			}
			return n == crowd
		})
		b.Open(t, r.Script.After)
		count := map[string]int{}
		var first string
		for i, done := range answers {
			a := <-done
			if a == nil {
				t.Fatal("no answer")
			}
			state := a.Header.Get("Idempotency-State")
			count[state]++
			a.Is(t, rig.Want{Status: 200, State: state, Next: "done"})
			if i == 0 {
				first = a.Bytes()
			} else if a.Bytes() != first {
				t.Errorf("another answer:\n%s\nthe first:\n%s", a.Bytes(), first)
			}
		}
		if count["executed"] != 1 || count["attached"] != crowd-1 {
			t.Errorf("states %v, want 1 executed and %d attached", count, crowd-1)
		}
		for _, g := range gs {
			a := g.Do(t, r)
			a.Is(t, replayed)
			if a.Bytes() != first {
				t.Errorf("the replay is another answer: %s", a.Bytes())
			}
		}
		wantEffects(t, b, r.Key, 1)
	}
	rig.EachStore(t, func(t *testing.T, dsn string) {
		check(t, rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}}))
	})
	t.Run("two gateways", func(t *testing.T) {
		t.Parallel()
		g, other := pair(t, rig.Config{Targets: []string{b.URL()}})
		check(t, g, other)
	})
}

// Without anything that holds them, the fifty race for the claim itself.
func TestRacingDuplicatesExecuteOnce(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g, other := pair(t, rig.Config{Targets: []string{b.URL()}})
	for range 5 {
		r := rig.Request{Key: newKey(), Body: "a", Header: rig.Header("Prefer", "wait=30")}
		var answers []<-chan *rig.Answer
		for i := range crowd {
			answers = append(answers, []*rig.Gateway{g, other}[i%2].Go(t, r))
		}
		bytes, states := map[string]int{}, map[string]int{}
		for _, done := range answers {
			a := <-done
			if a == nil {
				t.Fatal("no answer")
			}
			state := a.Header.Get("Idempotency-State")
			a.Is(t, rig.Want{Status: 200, State: state, Next: "done"})
			bytes[a.Bytes()]++
			states[state]++
		}
		if len(bytes) != 1 || states["executed"] != 1 {
			t.Errorf("%d different answers, states %v: %v", len(bytes), states, bytes)
		}
		wantEffects(t, b, r.Key, 1)
	}
}

// Whoever waited for an attempt gets its outcome, and does not become the next attempt.
func TestWaitersNeverBecomeExecutors(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	for name, c := range map[string]struct {
		script ledger.Script
		want   rig.Want
	}{
		"not executed": {ledger.Script{Status: 429, NoEffect: true, Body: ledger.Text("later"), Header: http.Header{
			"Retry-After": {"3"}, "Set-Cookie": {"a=b"}, "Www-Authenticate": {"Basic"}, "RateLimit": {"x"}, "Access-Control-Allow-Origin": {"https://a.test"},
		}}, rig.Want{Status: 429, State: "not_executed", Next: "resend"}},
		// Nobody but its first caller can have an answer that is too large for memory.
		"not executed, large": {ledger.Script{Status: 429, NoEffect: true, Big: 4096}, rig.Want{Status: 429, State: "not_executed", Next: "resend", Slug: "not-settled", Record: true}},
		"unknown":             {ledger.Script{Then: ledger.Close}, stillUnknown},
		"unknown 503":         {ledger.Script{Status: 503}, stillUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // or the test keeps its place while those below wait for one
			rig.EachStore(t, func(t *testing.T, dsn string) {
				g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Policy: "max_response_body: 1KiB"})
				script := c.script // the other store's test runs beside this one
				script.Before = newKey()
				r := rig.Request{Key: newKey(), Body: "a", Header: rig.Header("Prefer", "wait=30"), Script: script}
				first := g.Go(t, r)
				b.Await(t, script.Before, 1)
				second := g.Go(t, r)
				g.Until(t, "both are inside", func() bool { return inFlight(t, g) == 2 })
				b.Open(t, script.Before)
				one, a := <-first, <-second
				if one == nil || a == nil {
					t.Fatal("no answer")
				}
				for name, values := range script.Header {
					got := []string{one.Header.Get(name), a.Header.Get(name)}
					if slices.Sort(got); got[1] != values[0] || (got[0] != "") != (name == "Retry-After") {
						t.Errorf("%s is %q", name, got)
					}
				}
				if c.want.Status == 409 {
					// A waiter may hear of the doubt as the first caller does, or as a duplicate.
					a.Is(t, with(c.want, a.Status))
				} else {
					a.Is(t, c.want)
				}
				if n := len(b.Of(t, ledger.Begin, r.Key)); n != 1 {
					t.Errorf("%d attempts", n)
				}
			})
		})
	}
}

var inFlightMetric = regexp.MustCompile(`(?m)^onceway_in_flight\{[^}]*onceway_route="all"[^}]*\} (\d+)`)

// inFlight is how many requests of the route a gateway is answering.
func inFlight(t *testing.T, g *rig.Gateway) int {
	found := inFlightMetric.FindStringSubmatch(g.AdminGet(t, "/metrics").Body)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	return n
}
