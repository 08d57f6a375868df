package e2e

import (
	"context"
	"io"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// Whoever does not fit into max_in_flight is refused before its claim: no record, nothing sent, and the
// same key is executed later. What is settled is answered all the same.
func TestOverloadRefusesBeforeTheClaim(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Upstream: "max_in_flight: 2"})
		settled := rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, settled).Is(t, executed)
		gate := newKey()
		var answers []<-chan *rig.Answer
		for range 2 {
			answers = append(answers, g.Go(t, rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Before: gate}}))
		}
		b.Await(t, gate, 2)
		refused := make([]rig.Request, 20)
		workers(5, len(refused), func(i int) {
			refused[i] = rig.Request{Key: newKey(), Body: "a"}
			g.Do(t, refused[i]).Is(t, overloaded)
		})
		g.Do(t, settled).Is(t, replayed)
		for _, r := range refused {
			wantUnseen(t, g, b, r.Key)
		}
		b.Open(t, gate)
		for _, a := range answers {
			if a := <-a; a == nil {
				t.Error("an attempt that held a slot got no answer")
			} else {
				a.Is(t, executed)
			}
		}
		workers(2, len(refused), func(i int) {
			g.Do(t, refused[i]).Is(t, executed)
			wantEffects(t, b, refused[i].Key, 1)
		})
	})
}

// Bodies of requests that wait take memory: one that does not fit is refused before it is read.
func TestBodyBudgetOfRequests(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "body_budget: 400KiB", Policy: "max_request_body: 200KiB, max_response_body: 100KiB"})
		gate := newKey()
		large := strings.Repeat("x", 200<<10)
		holding := g.Go(t, rig.Request{Key: newKey(), Body: large, Script: ledger.Script{Before: gate}})
		b.Await(t, gate, 1)
		r := rig.Request{Key: newKey(), Body: large}
		head, _, _ := strings.Cut(r.Raw(), "\r\n\r\n")
		g.Send(t, "POST", head+"\r\n\r\n", false).Is(t, overloaded) // not a byte of the body is needed for that
		wantUnseen(t, g, b, r.Key)
		g.Do(t, rig.Request{Key: newKey(), Body: "small"}).Is(t, executed)
		b.Open(t, gate)
		if a := <-holding; a == nil {
			t.Error("no answer")
		} else {
			a.Is(t, executed)
		}
		g.Do(t, r).Is(t, executed) // the memory was given back before the answer
		wantEffects(t, b, r.Key, 1)
	})
}

// Answers count, too. One for which there is no memory is recorded and replayed whole all the same, and the
// process stays small although its clients never read.
func TestBodyBudgetOfAnswers(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		const many, size = 60, 4 << 20
		g := rig.Serve(t, rig.Config{
			Store: dsn, Targets: []string{b.URL()}, Policy: "max_response_body: 4MiB",
			// However slow the machine is: an answer waits for its turn only until its attempt's time is up.
			Extra: "body_budget: 8MiB\nstore_timeout: 5m\ndrain_timeout: 6m", Upstream: "timeout: 5m",
			Env: []string{"TMPDIR=" + t.TempDir(), "GODEBUG=gctrace=1"},
		})
		var whole [size]byte
		for i := range whole {
			whole[i] = ledger.Pattern(int64(i))
		}
		gate, keys := newKey(), make([]string, many)
		script := func(i int) ledger.Script { return ledger.Script{Before: gate, Big: size, Chunked: i%2 == 0} }
		for i := range keys {
			keys[i] = newKey()
			c := g.Dial(t)
			c.SetReadBuffer(4 << 10) // and nobody ever reads
			if _, err := io.WriteString(c, rig.Request{Key: keys[i], Body: "a", Script: script(i)}.Raw()); err != nil {
				t.Fatal(err)
			}
		}
		b.Await(t, gate, many)
		b.Open(t, gate)
		// Not by the records themselves, which have the bodies.
		g.Until(t, "all answers are recorded", func() bool { return moved(t, g, "completed") == many })
		// Of 240 MiB: the budget, the cache of records, and what is on its way to the store.
		if peak := peakLive(g); peak == 0 || peak > 110 {
			t.Errorf("%d answers of %d bytes took %d MB of memory", many, size, peak)
		}
		for i, key := range keys[:4] {
			a := g.Do(t, rig.Request{Key: key, Body: "a", Script: script(i)})
			a.Is(t, replayed)
			if a.Body != string(whole[:]) {
				t.Error("the recorded answer is not what the backend sent")
			}
			wantEffects(t, b, key, 1)
		}
	})
}

// A gateway without a free file descriptor neither dials nor accepts. It says that nothing was sent, or
// nothing at all, and goes on when there are some again.
func TestOutOfFileDescriptors(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	rig.EachStore(t, func(t *testing.T, dsn string) {
		g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}})
		settled := rig.Request{Key: newKey(), Body: "a"}
		g.Do(t, settled).Is(t, executed)
		// A connection of a client that is there already, and a backend that closes its own after each answer.
		last := ledger.Script{Header: map[string][]string{"Connection": {"close"}}}
		g.Do(t, rig.Request{Key: newKey(), Script: last}).Is(t, executed)
		c := g.Dial(t)
		warm := rig.Request{Key: newKey(), Script: last}
		io.WriteString(c, warm.Raw())
		rig.ReadAnswer(t, c, "POST").Is(t, executed)

		var before unix.Rlimit
		if err := unix.Prlimit(g.Pid(), unix.RLIMIT_NOFILE, nil, &before); err != nil {
			t.Fatal(err)
		}
		limit := func(n uint64) {
			if err := unix.Prlimit(g.Pid(), unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: before.Max}, nil); err != nil {
				t.Fatal(err)
			}
		}
		limit(8)
		r := rig.Request{Key: newKey(), Body: "a"}
		io.WriteString(c, r.Raw())
		rig.ReadAnswer(t, c, "POST").Is(t, notReached)
		if n := len(b.Of(t, ledger.Begin, r.Key)); n != 0 {
			t.Errorf("the backend got %d requests", n)
		}
		// A new client's connection waits in the kernel.
		waiting := g.Go(t, settled)

		limit(before.Cur)
		if a := <-waiting; a == nil {
			t.Error("whoever connected meanwhile got no answer")
		} else {
			a.Is(t, replayed)
		}
		again := g.Do(t, r)
		again.Is(t, executed)
		wantState(t, g, r.Key, "completed", 2)
		wantEffects(t, b, r.Key, 1)
	})
}

// A store that takes no claims takes outcomes: these have connections of their own.
func TestOutcomesDoNotWaitBehindClaims(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 20s", Upstream: "max_in_flight: 2000"})
	gate := newKey()
	running := make([]rig.Request, 20)
	answers := make([]<-chan *rig.Answer, len(running))
	for i := range running {
		running[i] = rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Before: gate}}
		answers[i] = g.Go(t, running[i])
	}
	b.Await(t, gate, len(running))

	// Somebody holds the keys that the claims of many others need.
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	blocked := make([]rig.Request, 300)
	for i := range blocked {
		blocked[i] = rig.Request{Key: newKey(), Body: "a"}
	}
	hold := blockClaims(t, conn, blocked)
	var refusedOrDone atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		workers(len(blocked), len(blocked), func(i int) {
			g.Do(t, blocked[i])
			refusedOrDone.Add(1)
		})
	}()
	g.Until(t, "the claims wait", func() bool { return inFlight(t, g) >= len(running)+len(blocked)/2 })
	b.Open(t, gate)
	for _, a := range answers {
		if a := <-a; a == nil {
			t.Error("no answer")
		} else {
			a.Is(t, executed)
		}
	}
	if n := refusedOrDone.Load(); n > int64(len(blocked))/2 {
		t.Errorf("only %d claims still waited, so that nothing was tested", int64(len(blocked))-n)
	}
	hold()
	<-done
}

// blockClaims writes the rows of these requests in a transaction of its own, and returns what ends it.
func blockClaims(t *testing.T, conn *pgx.Conn, requests []rig.Request) (release func()) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids := make([][16]byte, len(requests))
	for i, r := range requests {
		ids[i] = idempotency.Operation{Caller: "anonymous", Key: idempotency.Key(r.Key)}.ID()
	}
	const row = `INSERT INTO requests (id, attempt_id, owner, epoch, revision, first_seen, claimed_at, deadline, settled_at, expires,
		attempt, state, fingerprint_version, caller, key, fingerprint)
		SELECT id, id, id, 0, 1, now(), now(), now(), now(), now(), 0, 5, 0, 'anonymous', 'k', sha256('') FROM unnest($1::uuid[]) id`
	if _, err := tx.Exec(t.Context(), row, ids); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// peakLive is the greatest live heap in MB, as the garbage collector of a gateway has traced it.
func peakLive(g *rig.Gateway) (peak int) {
	for _, found := range liveHeap.FindAllStringSubmatch(g.Output(), -1) {
		n, _ := strconv.Atoi(found[1])
		peak = max(peak, n)
	}
	return peak
}

var liveHeap = regexp.MustCompile(`(?m)^gc \d+ .*->(\d+) MB, `)

// moved is how many records this gateway has moved to a state.
func moved(t *testing.T, g *rig.Gateway, state string) int {
	t.Helper()
	found := regexp.MustCompile(`(?m)^onceway_transitions_total\{[^}]*"` + state + `"[^}]*\} (\d+)`).FindStringSubmatch(g.AdminGet(t, "/metrics").Body)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1])
	return n
}
