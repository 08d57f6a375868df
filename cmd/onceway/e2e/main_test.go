// Package e2e looks at the built binary from outside: as clients, backends and operators do. What was
// executed is read from the backend's own ledger, never from what the gateway says.
//
// It needs Go (it builds the binary), and PostgreSQL's server programs; see internal/pgtest.
package e2e

import (
	"crypto/rand"
	"encoding/json"
	"flag"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

func TestMain(m *testing.M) {
	clientMain()
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given { // These tests wait for leases, timeouts and other processes more than they compute.
		flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
	os.Exit(rig.Main(m))
}

// newKey returns a key that nobody has used.
func newKey() string { return "k-" + rand.Text() }

// recordPath is where the record of a key is.
func recordPath(key string) string { return "/_reconcile/v1/requests/" + url.PathEscape(key) }

// record returns the record of a key, once it is not executing any more or after at most 30 s.
func record(t *testing.T, g *rig.Gateway, key string) rig.Record {
	t.Helper()
	path := recordPath(key) + "?wait=30&include=body"
	a := g.Get(t, path)
	for end := time.Now().Add(time.Minute); refusedForNow(a) && time.Now().Before(end); a = g.Get(t, path) {
		time.Sleep(10 * time.Millisecond) // as in resent
	}
	if a.Status != http.StatusOK {
		t.Errorf("record: %d %s", a.Status, a.Body)
		return rig.Record{}
	}
	return a.Record(t)
}

// refusedForNow reports whether the gateway wants a request to come again, and has done nothing about it.
func refusedForNow(a *rig.Answer) bool {
	return a.Header.Get("Idempotency-State") == "rejected" && a.Header.Get("Idempotency-Next") == "resend"
}

// resent sends a request in the background, and again while the gateway refuses it: on a machine that is busy the store
// may not answer in the little time that these tests give it, nor a lease be renewed.
func resent(t *testing.T, g *rig.Gateway, r rig.Request) <-chan *rig.Answer {
	done := make(chan *rig.Answer, 1)
	go func() {
		a, _ := g.Try(t, r)
		for a != nil && refusedForNow(a) && t.Context().Err() == nil {
			time.Sleep(10 * time.Millisecond) // as a client does that is refused
			a, _ = g.Try(t, r)
		}
		done <- a
	}()
	return done
}

// insist is the same in the foreground.
func insist(t *testing.T, g *rig.Gateway, r rig.Request) (a *rig.Answer) {
	t.Helper()
	g.Until(t, "the gateway takes the request", func() bool {
		a = g.Do(t, r)
		return !refusedForNow(a)
	})
	return a
}

// inTime sends requests, each another one, until an attempt was long enough for its first byte to leave, and returns that
// one and its answer: on a machine that is busy the time that these tests give an upstream may be up before. Of those that
// are said not to be executed the backend, if there is one, has none in its ledger in the end.
func inTime(t *testing.T, g *rig.Gateway, b *ledger.Backend, next func() rig.Request) (r rig.Request, a *rig.Answer) {
	t.Helper()
	g.Until(t, "an attempt is sent", func() bool {
		r = next()
		a = insist(t, g, r)
		if a.Header.Get("Idempotency-State") != "not_executed" {
			return true
		}
		a.Is(t, notReached)
		if key := r.Key; b != nil {
			t.Cleanup(func() {
				if n := len(b.Of(t, ledger.Begin, key)); n != 0 {
					t.Errorf("the backend got %d requests of a key that is said not to be executed", n)
				}
			})
		}
		return false
	})
	return r, a
}

// wantState checks the record of a key.
func wantState(t *testing.T, g *rig.Gateway, key, state string, attempts int) rig.Record {
	t.Helper()
	r := record(t, g, key)
	if r.State != state || r.Attempts != attempts {
		t.Errorf("record is %s after %d attempts, want %s after %d", r.State, r.Attempts, state, attempts)
	}
	return r
}

// wantUnseen checks that a key has left no trace: no record, and nothing at the backend.
func wantUnseen(t *testing.T, g *rig.Gateway, b *ledger.Backend, key string) {
	t.Helper()
	g.Get(t, recordPath(key)).Is(t, rig.Want{Status: 404, State: "unseen", Next: "resend", Slug: "unseen"})
	if n := len(b.Of(t, ledger.Begin, key)); n != 0 {
		t.Errorf("the backend got %d requests", n)
	}
}

// wantEffects checks how often a key was executed, and that nothing was sent beyond that.
func wantEffects(t *testing.T, b *ledger.Backend, key string, n int) {
	t.Helper()
	if got, begun := b.Effects(t, key), len(b.Of(t, ledger.Begin, key)); got != n || begun != n {
		t.Errorf("the backend got %d requests and executed %d, want %d", begun, got, n)
	}
}

// only returns the one line that there is.
func only(t *testing.T, b *ledger.Backend, event ledger.Event, key string) ledger.Entry {
	t.Helper()
	all := b.Of(t, event, key)
	if len(all) != 1 {
		t.Fatalf("the ledger has %d lines %s of %s", len(all), event, key)
	}
	return all[0]
}

// The rows of the table of answers that most tests see.
var (
	executed       = rig.Want{Status: 200, State: "executed", Next: "done"}
	replayed       = rig.Want{Status: 200, State: "replayed", Next: "done"}
	doubted        = rig.Want{Status: 502, State: "unknown", Next: "reconcile", Slug: "outcome-unknown", Record: true}
	timedOut       = rig.Want{Status: 504, State: "unknown", Next: "reconcile", Slug: "outcome-unknown", Record: true}
	stillUnknown   = rig.Want{Status: 409, State: "unknown", Next: "reconcile", Slug: "outcome-unknown", Record: true}
	inProgress     = rig.Want{Status: 409, State: "executing", Next: "wait", Slug: "in-progress", Record: true}
	keyReused      = rig.Want{Status: 422, State: "rejected", Next: "stop", Slug: "key-reused", Record: true}
	overloaded     = rig.Want{Status: 503, State: "rejected", Next: "resend", Slug: "overloaded"}
	noStore        = rig.Want{Status: 503, State: "rejected", Next: "resend", Slug: "store-unavailable"}
	notReached     = rig.Want{Status: 503, State: "not_executed", Next: "resend", Slug: "backend-unreachable", Record: true}
	isForgotten    = rig.Want{Status: 410, State: "forgotten", Next: "done", Slug: "response-forgotten", Record: true}
	deadlinePassed = rig.Want{Status: 412, State: "rejected", Next: "stop", Slug: "deadline-passed"}
	keyTooOld      = rig.Want{Status: 412, State: "rejected", Next: "stop", Slug: "key-too-old"}
	damaged        = rig.Want{Status: 500, State: "unknown", Next: "reconcile", Slug: "record-damaged", Record: true}
	unauthorised   = rig.Want{Status: 401, State: "rejected", Next: "stop", Slug: "unauthenticated"}
)

func refused(status int, slug string) rig.Want {
	return rig.Want{Status: status, State: "rejected", Next: "stop", Slug: slug}
}

func with(w rig.Want, status int) rig.Want {
	w.Status = status
	return w
}

// decode reads JSON.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Errorf("%v in %s", err, text)
	}
}
