package e2e

import (
	"context"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

func cancellation(key string) rig.Request {
	return rig.Request{Method: http.MethodPut, Path: recordPath(key) + "/cancellation"}
}

func acknowledgement(key string) rig.Request {
	return rig.Request{Method: http.MethodPut, Path: recordPath(key) + "/acknowledgement"}
}

var (
	cancelledNow = rig.Want{Status: 201, State: "cancelled", Next: "stop"}
	cancelled    = rig.Want{Status: 200, State: "cancelled", Next: "stop"}
	isCancelled  = rig.Want{Status: 409, State: "cancelled", Next: "stop", Slug: "cancelled", Record: true}
	acknowledged = rig.Want{Status: 204, State: "forgotten", Next: "done"}
	unseen       = rig.Want{Status: 404, State: "unseen", Next: "resend", Slug: "unseen"}
)

func tooLate(state, next string) rig.Want {
	return rig.Want{Status: 409, State: state, Next: next, Slug: "too-late", Record: true}
}

func notSettled(state, next string) rig.Want {
	return rig.Want{Status: 409, State: state, Next: next, Slug: "not-settled", Record: true}
}

func TestCancellationAndAcknowledgement(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		for name, test := range map[string]func(*testing.T, *rig.Gateway, *ledger.Backend){
			"cancel": cancelKeys, "in flight": cancelInFlight, "old keys": cancelOldKeys, "acknowledge": acknowledgeKeys, "wrong calls": wrongChanges,
		} {
			t.Run(name, func(t *testing.T) { test(t, g, b) })
		}
	})
}

func cancelKeys(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	late := rig.Request{Key: newKey(), Body: "a"}
	call := cancellation(late.Key)
	call.Header = http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	first := g.Do(t, call)
	first.Is(t, cancelledNow)
	if r := first.Record(t); r.TraceID != "0af7651916cd43dd8448eb211c80319c" || r.Key != late.Key || r.State != "cancelled" || r.Attempts != 0 || r.Request != nil {
		t.Errorf("%s", first.Body)
	}
	g.Do(t, cancellation(late.Key)).Is(t, cancelled)
	g.Do(t, late).Is(t, isCancelled) // the original comes late
	g.Do(t, rig.Request{Method: "GET", Path: recordPath(late.Key)}).Is(t, found("cancelled", "stop"))
	wantEffects(t, b, late.Key, 0)

	failed := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	g.Do(t, failed).Is(t, rig.Want{Status: 429, State: "not_executed", Next: "resend"})
	for range 2 {
		g.Do(t, cancellation(failed.Key)).Is(t, cancelled)
	}
	g.Do(t, failed).Is(t, isCancelled)

	made := rig.Request{Key: newKey(), Body: "a"}
	g.Do(t, made).Is(t, executed)
	g.Do(t, cancellation(made.Key)).Is(t, tooLate("completed", "done"))
	g.Do(t, acknowledgement(made.Key)).Is(t, acknowledged)
	g.Do(t, cancellation(made.Key)).Is(t, tooLate("forgotten", "done"))
	lost := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}
	g.Do(t, lost).Is(t, doubted)
	g.Do(t, cancellation(lost.Key)).Is(t, tooLate("unknown", "reconcile"))
}

func cancelInFlight(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := g.Go(t, r)
	b.Await(t, r.Script.After, 1)
	g.Do(t, cancellation(r.Key)).Is(t, tooLate("executing", "wait"))
	g.Do(t, acknowledgement(r.Key)).Is(t, notSettled("executing", "wait"))
	b.Open(t, r.Script.After)
	(<-answer).Is(t, executed)
	wantEffects(t, b, r.Key, 1)
}

// A key that may have been executed and forgotten is never called cancelled.
func cancelOldKeys(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	old := time.Now().Add(-721 * time.Hour)
	dated := cancellation(uuidv7(old))
	g.Do(t, dated).Is(t, keyTooOld)
	undated := cancellation(newKey())
	undated.Header = rig.Header("Idempotency-First-Sent", old.Format(time.RFC3339))
	g.Do(t, undated).Is(t, keyTooOld)
	for _, r := range []rig.Request{dated, undated} {
		g.Get(t, strings.TrimSuffix(r.Path, "/cancellation")).Is(t, unseen)
	}
	undated.Header = rig.Header("Idempotency-First-Sent", "yesterday")
	g.Do(t, undated).Is(t, refused(400, "request-malformed"))
	// A tombstone stands for as long as its key's date would let the original in.
	young := uuidv7(time.Now().Add(12 * time.Hour))
	a := g.Do(t, cancellation(young))
	a.Is(t, cancelledNow)
	if expires := a.Record(t).Times.Expires; expires == nil || time.Until(*expires) < (720+11)*time.Hour {
		t.Errorf("the tombstone stands until %v", expires)
	}
	// With a record the record decides.
	known := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	g.Do(t, known)
	r := cancellation(known.Key)
	r.Header = rig.Header("Idempotency-First-Sent", old.Format(time.RFC3339))
	g.Do(t, r).Is(t, cancelled)
}

func acknowledgeKeys(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Body: ledger.Text("secret")}}
	g.Do(t, r).Is(t, executed)
	g.Do(t, r).Is(t, replayed)
	for range 2 {
		g.Do(t, acknowledgement(r.Key)).Is(t, acknowledged)
	}
	gone := g.Do(t, r)
	gone.Is(t, isForgotten)
	if p := gone.Problem(t).Response; p == nil || p.Status != 200 || p.Digest != digest("secret") {
		t.Errorf("what is left: %s", gone.Body)
	}
	g.Do(t, rig.Request{Method: "GET", Path: recordPath(r.Key) + "/response"}).Is(t, isForgotten)
	rec := g.Do(t, rig.Request{Method: "GET", Path: recordPath(r.Key) + "?include=body"})
	if got := rec.Record(t).Response; got == nil || got.BodyAvailable || got.Body != nil || got.Digest != digest("secret") {
		t.Errorf("%s", rec.Body)
	}
	wantEffects(t, b, r.Key, 1)

	g.Do(t, acknowledgement(newKey())).Is(t, unseen)
	tombstone := newKey()
	g.Do(t, cancellation(tombstone)).Is(t, cancelledNow)
	g.Do(t, acknowledgement(tombstone)).Is(t, rig.Want{Status: 204, State: "cancelled", Next: "stop"})
	failed := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 429, NoEffect: true}}
	g.Do(t, failed)
	g.Do(t, acknowledgement(failed.Key)).Is(t, rig.Want{Status: 204, State: "not_executed", Next: "resend"})
	lost := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Then: ledger.Close}}
	g.Do(t, lost).Is(t, doubted)
	g.Do(t, acknowledgement(lost.Key)).Is(t, notSettled("unknown", "reconcile"))
}

func wrongChanges(t *testing.T, g *rig.Gateway, b *ledger.Backend) {
	for _, what := range []string{"/cancellation", "/acknowledgement"} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			a := g.Do(t, rig.Request{Method: method, Path: recordPath(newKey()) + what, Key: newKey()})
			a.Is(t, refused(405, "method-not-allowed"))
			if a.Header.Get("Allow") != "PUT" {
				t.Errorf("Allow: %q", a.Header.Get("Allow"))
			}
		}
		g.Do(t, rig.Request{Method: "PUT", Path: "/_reconcile/v1/requests/a%20b" + what}).Is(t, refused(400, "key-malformed"))
	}
}

// Nobody cancels or acknowledges what is another's, or learns of it.
func TestChangesOfOtherCallers(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Caller: "{header: {name: X-User-Id}}", Extra: "trusted_proxies: [127.0.0.1/32]"})
		key := newKey()
		alice := rig.Request{Key: key, Body: "a", Header: as("alice")}
		g.Do(t, alice).Is(t, executed)
		for _, call := range []rig.Request{cancellation(key), acknowledgement(key)} {
			g.Do(t, call).Is(t, unauthorised)
		}
		his := acknowledgement(key)
		his.Header = as("bob")
		g.Do(t, his).Is(t, unseen)
		his = cancellation(key)
		his.Header = as("bob")
		g.Do(t, his).Is(t, cancelledNow)
		g.Do(t, alice).Is(t, replayed)
		g.Do(t, rig.Request{Key: key, Body: "a", Header: as("bob")}).Is(t, isCancelled)
		wantEffects(t, b, key, 1)
	})
}

// What is in this gateway's spool was executed: it is too late to cancel it, and its content cannot be
// erased before the store has it.
func TestChangesOfWhatIsInTheSpool(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	g := rig.Serve(t, rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool"})
	o := sendOut(t, g, b, 1)
	key := o.requests[0].Key
	cluster.Stop(pgtest.Immediate)
	told := o.wants(t, b, with(executed, 201))
	g.Do(t, cancellation(key)).Is(t, tooLate("completed", "done"))
	g.Do(t, acknowledgement(key)).Is(t, noStore)
	g.Do(t, cancellation(newKey())).Is(t, noStore)
	g.Do(t, acknowledgement(newKey())).Is(t, noStore)
	cluster.Start(t)
	o.completed(t, g, b, told)
	g.Until(t, "the answer has left the spool", func() bool { return spoolOf(t, g).Depth == 0 })
	insist(t, g, acknowledgement(key)).Is(t, acknowledged)
	insist(t, g, o.requests[0]).Is(t, isForgotten)
}

// What was told of a change holds after a kill: also for an original that comes only then.
func TestChangesSurviveAKill(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		late, made := rig.Request{Key: newKey(), Body: "a"}, rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, made).Is(t, executed)
		g.Do(t, cancellation(late.Key)).Is(t, cancelledNow)
		g.Do(t, acknowledgement(made.Key)).Is(t, acknowledged)
		g.Kill(t)
		g.Start(t)
		g.Do(t, late).Is(t, isCancelled)
		g.Do(t, made).Is(t, isForgotten)
		g.Do(t, cancellation(late.Key)).Is(t, cancelled)
		g.Do(t, acknowledgement(made.Key)).Is(t, acknowledged)
		wantEffects(t, b, late.Key, 0)
		wantEffects(t, b, made.Key, 1)
	})
}

// A store that became another one may have lost the record of a key that is older than that: nobody is told
// that it is cancelled.
func TestCancelWhatTheStoreMayHaveLost(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close(context.Background())
	if tag, err := db.Exec(t.Context(), `UPDATE store_identity SET changed_at = now() - interval '1 minute'`); err != nil || tag.RowsAffected() != 1 {
		t.Fatal(tag, err)
	}
	before := uuidv7(time.Now().Add(-time.Hour))
	for range 2 {
		g.Do(t, cancellation(before)).Is(t, keyTooOld)
	}
	wantUnseen(t, g, b, before)
	g.Do(t, cancellation(uuidv7(time.Now()))).Is(t, cancelledNow)
}

// An original and its cancellation meet, on one gateway or on two: exactly one of them wins, and the
// ledger knows which. ONCEWAY_RACES says how often.
func TestCancellationRacesTheOriginal(t *testing.T) {
	t.Parallel()
	races := 200
	if n, err := strconv.Atoi(os.Getenv("ONCEWAY_RACES")); err == nil && n > 0 {
		races = n
	}
	b := ledger.Start(t)
	oneAndTwo(t, rig.Config{Targets: []string{b.URL()}}, func(t *testing.T, g, other *rig.Gateway) {
		won := map[string]int{}
		effects := map[string]int{} // of each key, as they have to be
		const abreast = 8
		undecided := func() bool { return won["cancellation"] == 0 || won["original"] == 0 }
		for done := 0; done < races || undecided() && done < 20*races; done += abreast {
			type race struct {
				key              string
				original, cancel <-chan *rig.Answer
			}
			var all []race
			for i := range abreast {
				key := newKey()
				call := cancellation(key)
				cancel := other.Go(t, call)
				if i%2 == 1 {
					// A cancellation looks before it writes, so it needs a lead to win now and then.
					time.Sleep(time.Duration(rand.IntN(4000)) * time.Microsecond)
				}
				all = append(all, race{key, g.Go(t, rig.Request{Key: key, Body: "a"}), cancel})
			}
			for _, r := range all {
				original, cancel := <-r.original, <-r.cancel
				if original == nil || cancel == nil {
					t.Fatal("no answer")
				}
				switch {
				case cancel.Status == http.StatusCreated:
					original.Is(t, isCancelled)
					effects[r.key] = 0
					won["cancellation"]++
				default:
					state := cancel.Header.Get("Idempotency-State")
					cancel.Is(t, tooLate(state, map[string]string{"executing": "wait", "completed": "done"}[state]))
					original.Is(t, executed)
					effects[r.key] = 1
					won["original"]++
				}
			}
		}
		begun, done := map[string]int{}, map[string]int{}
		for _, e := range b.Entries(t) {
			switch e.Event {
			case ledger.Begin:
				begun[e.Key]++
			case ledger.Effect:
				done[e.Key]++
			}
		}
		for key, want := range effects {
			if begun[key] != want || done[key] != want {
				t.Errorf("a request was sent %d times and executed %d times, want %d", begun[key], done[key], want)
			}
		}
		t.Logf("won: %v", won)
		if undecided() {
			t.Errorf("no race at all: %v", won)
		}
	})
}
