package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sys/unix"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// out is a number of requests that the backend has executed and not answered.
type out struct {
	gate     string
	requests []rig.Request
	answers  []<-chan *rig.Answer
}

func sendOut(t *testing.T, g *rig.Gateway, b *ledger.Backend, n int) *out {
	t.Helper()
	o := &out{gate: newKey()}
	for i := range n {
		r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: o.gate, Status: 201, Header: map[string][]string{"X-Number": {strconv.Itoa(i)}}}}
		o.requests, o.answers = append(o.requests, r), append(o.answers, resent(t, g, r))
	}
	b.Await(t, o.gate, n)
	return o
}

// sent is the number of the one attempt that the backend got: a second one, if the store was too slow for the first.
func sent(t *testing.T, b *ledger.Backend, key string) int {
	t.Helper()
	n, err := strconv.Atoi(only(t, b, ledger.Begin, key).Attempt)
	if err != nil {
		t.Error(err)
	}
	return n
}

// wants checks every answer, which may be nil where the gateway may have died.
func (o *out) wants(t *testing.T, b *ledger.Backend, want rig.Want) []*rig.Answer {
	t.Helper()
	b.Open(t, o.gate)
	answers := make([]*rig.Answer, len(o.answers))
	for i, c := range o.answers {
		if answers[i] = <-c; answers[i] == nil {
			t.Fatal("no answer")
		}
		answers[i].Is(t, want)
	}
	return answers
}

// completed checks that every record gets its answer, that it is the one that was told, if it was, and
// that nothing was executed twice.
func (o *out) completed(t *testing.T, g *rig.Gateway, b *ledger.Backend, told []*rig.Answer) {
	t.Helper()
	for i, r := range o.requests {
		g.Until(t, "the record is completed", func() bool { return g.Get(t, recordPath(r.Key)).Record(t).State == "completed" })
		again := insist(t, g, r)
		again.Is(t, with(replayed, 201))
		if told != nil && again.Bytes() != told[i].Bytes() {
			t.Errorf("told\n%s\nand now\n%s", told[i].Bytes(), again.Bytes())
		}
		wantEffects(t, b, r.Key, 1)
	}
}

// spoolOf is what /readyz?verbose says.
func spoolOf(t *testing.T, g *rig.Gateway) (s struct {
	Depth, Damaged int
	Bytes, Limit   int64
	Oldest         *time.Time
}) {
	t.Helper()
	var verbose struct{ Spool json.RawMessage }
	decode(t, g.AdminGet(t, "/readyz?verbose").Body, &verbose)
	decode(t, string(verbose.Spool), &s)
	return s
}

func metric(t *testing.T, g *rig.Gateway, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (\S+)$`).FindStringSubmatch(g.AdminGet(t, "/metrics").Body)
	if found == nil {
		return ""
	}
	return found[1]
}

// The store is gone while requests are out. With a spool every client gets its answer, at once and again,
// also from the process that comes after a kill; when the store is back the records are completed.
func TestStoreStopsWhileRequestsAreOut(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	const n = 50
	for _, killed := range []bool{false, true} {
		t.Run(fmt.Sprintf("killed %v", killed), func(t *testing.T) {
			t.Parallel()
			cluster := pgtest.NewCluster(t, pgtest.Config{})
			dsn := cluster.NewDatabase(t)
			g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool\nlease: 2s"})
			other := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 1s"})
			if s := spoolOf(t, g); s.Depth != 0 || s.Oldest != nil || s.Limit != 256<<20 {
				t.Errorf("an empty spool: %+v", s)
			}
			requests := sendOut(t, g, b, n)
			cluster.Stop(pgtest.Immediate)
			told := requests.wants(t, b, with(executed, 201))
			for i, r := range requests.requests[:5] {
				again := g.Do(t, r)
				again.Is(t, with(replayed, 201))
				if again.Bytes() != told[i].Bytes() {
					t.Errorf("replayed from the spool: %s", again.Bytes())
				}
				if record := g.Get(t, recordPath(r.Key)).Record(t); record.State != "completed" || record.Attempts != sent(t, b, r.Key) {
					t.Errorf("the record is %+v", record)
				}
				other.Do(t, r).Is(t, noStore)
			}
			g.Do(t, rig.Request{Key: newKey(), Body: "a"}).Is(t, noStore)
			if s := spoolOf(t, g); s.Depth != n || s.Oldest == nil || s.Bytes == 0 || s.Damaged != 0 {
				t.Errorf("the spool: %+v", s)
			}
			if depth, kept := metric(t, g, "onceway_spool_depth"), metric(t, g, `onceway_spool_outcomes_total{onceway_result="kept"}`); depth != "50" || kept != "50" {
				t.Errorf("metrics: depth %s, kept %s", depth, kept)
			}
			if killed {
				g.Kill(t)
				// Without the store it does not start, and the spool stays as it is.
				g.Launched(t)
				if code := g.Exit(t); code != 4 {
					t.Errorf("without a store, serve exits with %d", code)
				}
			}
			cluster.Start(t)
			if killed {
				g.Revive(t)
			}
			other.AwaitReady(t)
			g.Until(t, "the spool is empty", func() bool { return spoolOf(t, g).Depth == 0 })
			requests.completed(t, g, b, told)
			requests.completed(t, other, b, told)
		})
	}
}

// Without a spool nobody is told more than "unknown", and the gateway goes on trying from memory.
func TestStoreStopsWhileRequestsAreOutWithoutASpool(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	g := rig.Serve(t, rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nlease: 2s"})
	requests := sendOut(t, g, b, 50)
	cluster.Stop(pgtest.Immediate)
	requests.wants(t, b, doubted)
	cluster.Start(t)
	g.AwaitReady(t)
	requests.completed(t, g, b, nil)
	if strings.Contains(g.AdminGet(t, "/readyz?verbose").Body, "spool") {
		t.Error("there is talk of a spool")
	}
}

// kill -9 at each step of the way into the spool: before the fsync, after it, before the answer. What a
// client was told is what everybody gets afterwards; nothing that was confirmed is lost or damaged.
func TestKilledAtEachStepOfTheSpool(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	at := filepath.Join(t.TempDir(), "step")
	die := func(text string) {
		t.Helper()
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	die("")
	g := rig.Serve(t, rig.Config{
		Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool\nlease: 2s",
		Tags: "onceway_testspool", Env: []string{"ONCEWAY_TEST_SPOOL=" + at},
	})
	for _, step := range []string{"written", "synced", "renamed", "durable"} {
		for _, visit := range []int{1, 5} {
			requests := sendOut(t, g, b, 8)
			die(step + " " + strconv.Itoa(visit))
			cluster.Stop(pgtest.Immediate)
			b.Open(t, requests.gate)
			<-g.Exited()
			die("")
			cluster.Start(t)
			g.Revive(t)
			told, completed := 0, 0
			for i, r := range requests.requests {
				answer, now := <-requests.answers[i], insist(t, g, r)
				state := record(t, g, r.Key).State
				if state == "completed" {
					completed++
					now.Is(t, with(replayed, 201))
				} else {
					now.Is(t, stillUnknown)
				}
				if answer != nil {
					told++
					answer.Is(t, with(executed, 201))
					if now.Bytes() != answer.Bytes() {
						t.Errorf("%s %d: told\n%s\nand now\n%s", step, visit, answer.Bytes(), now.Bytes())
					}
				}
				wantEffects(t, b, r.Key, 1)
			}
			if step == "durable" && completed < visit {
				t.Errorf("%d entries were durable, and %d are completed", visit, completed)
			}
			if s := spoolOf(t, g); s.Damaged != 0 || s.Depth != 0 {
				t.Errorf("%s %d: the spool is %+v", step, visit, s)
			}
			t.Logf("killed at %s number %d: %d of 8 told, %d completed", step, visit, told, completed)
		}
	}
}

// kill -9 at any moment of an outage: what a client was told is what everybody gets afterwards, and what
// nobody was told is completed or unknown.
func TestKilledWhileTheStoreIsGone(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	g := rig.Serve(t, rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool\nlease: 2s"})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	states := map[string]int{}
	for round := range 6 {
		requests := sendOut(t, g, b, 20)
		cluster.Stop(pgtest.Immediate)
		b.Open(t, requests.gate)
		time.Sleep(980*time.Millisecond + time.Duration(random.Int64N(int64(200*time.Millisecond)))) // no synchronisation: the moment is the fault
		g.Kill(t)
		cluster.Start(t)
		g.Revive(t) // its store_timeout may be too short to find the store
		for i, r := range requests.requests {
			told, now := <-requests.answers[i], insist(t, g, r)
			state := record(t, g, r.Key).State
			switch {
			case told != nil && told.Status == 201:
				now.Is(t, with(replayed, 201))
				if now.Bytes() != told.Bytes() {
					t.Errorf("round %d: told\n%s\nand now\n%s", round, told.Bytes(), now.Bytes())
				}
				state = "told, " + state
			case state == "completed":
				now.Is(t, with(replayed, 201))
			default:
				now.Is(t, stillUnknown)
			}
			states[state]++
			wantEffects(t, b, r.Key, 1)
		}
		if d := spoolOf(t, g); d.Damaged != 0 {
			t.Errorf("%d damaged entries", d.Damaged)
		}
	}
	t.Logf("what became of 120 requests: %v", states)
}

// An entry that has changed on the disk is put aside and alarmed, and nobody is answered with it.
func TestADamagedSpoolEntryIsNotAnswered(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	g := rig.Serve(t, rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool\nlease: 2s"})
	requests := sendOut(t, g, b, 2)
	cluster.Stop(pgtest.Immediate)
	requests.wants(t, b, with(executed, 201))
	g.Kill(t)
	entries, _ := filepath.Glob(filepath.Join(filepath.Dir(g.File()), "spool", "*.entry"))
	if len(entries) != 2 {
		t.Fatalf("%d entries", len(entries))
	}
	content, err := os.ReadFile(entries[0])
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(entries[0], content, 0o600); err != nil {
		t.Fatal(err)
	}
	cluster.Start(t)
	g.Revive(t)
	states := map[string]int{}
	for _, r := range requests.requests {
		state := record(t, g, r.Key).State
		states[state]++
		if state == "unknown" {
			insist(t, g, r).Is(t, stillUnknown)
		} else {
			insist(t, g, r).Is(t, with(replayed, 201))
		}
		wantEffects(t, b, r.Key, 1)
	}
	if states["unknown"] != 1 || states["completed"] != 1 || spoolOf(t, g).Damaged != 1 {
		t.Errorf("records are %v, %+v", states, spoolOf(t, g))
	}
	g.AwaitOutput(t, "does not match its digest")
}

// A spool is one process's, and one store's.
func TestASpoolIsNotShared(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dir := filepath.Join(t.TempDir(), "spool")
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	config := func(dsn string) rig.Config {
		return rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: " + dir}
	}
	g := rig.Serve(t, config(cluster.NewDatabase(t)))
	second := rig.New(t, config(cluster.NewDatabase(t)))
	refused := func(says string) {
		t.Helper()
		from, code := 0, 4
		for try := 0; code == 4 && try < 20; try++ { // its store_timeout may be too short to find the store
			from = len(second.Output())
			second.Launched(t)
			code = second.Exit(t)
		}
		if said := second.Output()[from:]; code != 1 || !strings.Contains(said, says) {
			t.Errorf("exit %d\n%s\nwant 1, %q", code, said, says)
		}
	}
	refused("is used by another onceway process (pid " + strconv.Itoa(g.Pid()) + ")")
	requests := sendOut(t, g, b, 1)
	cluster.Stop(pgtest.Immediate)
	told := requests.wants(t, b, with(executed, 201))
	g.Kill(t)
	cluster.Start(t)
	refused("holds 1 outcomes for another store")
	g.Revive(t)
	requests.completed(t, g, b, told)
	g.Kill(t)
	second.Revive(t) // an empty one may change its store
}

// A full spool leaves what there is without one, and says so.
func TestAFullSpool(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	g := rig.Serve(t, rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool\nspool_limit: 100"})
	requests := sendOut(t, g, b, 3)
	cluster.Stop(pgtest.Immediate)
	requests.wants(t, b, doubted)
	if refused := metric(t, g, `onceway_spool_outcomes_total{onceway_result="refused"}`); refused != "3" {
		t.Errorf("%s refused", refused)
	}
	g.AwaitOutput(t, "raise spool_limit")
	cluster.Start(t)
	g.AwaitReady(t)
	requests.completed(t, g, b, nil)
}

// SQLite's file is locked by something that should not.
func TestABlockedSQLite(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	for _, spool := range []bool{false, true} {
		t.Run(fmt.Sprintf("spool %v", spool), func(t *testing.T) {
			t.Parallel()
			store, extra := filepath.Join(t.TempDir(), "onceway.db"), "store_timeout: 1s"
			if spool {
				extra += "\nspool: spool"
			}
			g := rig.Serve(t, rig.Config{Store: "sqlite:" + store, Targets: []string{b.URL()}, Extra: extra})
			requests := sendOut(t, g, b, 10)
			db, err := sql.Open("sqlite", "file:"+store)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			conn, err := db.Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
				t.Fatal(err)
			}
			g.Do(t, rig.Request{Key: newKey(), Body: "a"}).Is(t, noStore)
			var told []*rig.Answer
			if spool {
				told = requests.wants(t, b, with(executed, 201))
				g.Do(t, requests.requests[0]).Is(t, with(replayed, 201))
				if d := spoolOf(t, g).Depth; d != 10 {
					t.Errorf("%d in the spool", d)
				}
			} else {
				requests.wants(t, b, doubted)
			}
			if _, err := conn.ExecContext(context.Background(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			if spool {
				g.Until(t, "the spool is empty", func() bool { return spoolOf(t, g).Depth == 0 })
			}
			requests.completed(t, g, b, told)
		})
	}
}

// SQLite's disk is full, and the spool lies on another one.
func TestSpoolBesideAFullSQLite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("needs a file system of its own, and may not mount one: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Store: "sqlite:" + filepath.Join(dir, "onceway.db"), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool"})
	requests := sendOut(t, g, b, 10)
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for page := make([]byte, 4096); err == nil; {
		_, err = filler.Write(page)
	}
	told := requests.wants(t, b, with(executed, 201))
	g.Do(t, requests.requests[0]).Is(t, with(replayed, 201))
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	filler.Close()
	g.Until(t, "the spool is empty", func() bool { return spoolOf(t, g).Depth == 0 })
	requests.completed(t, g, b, told)
}

// Operators see in the store what a gateway holds, as soon as it can say so, until nothing is left.
func TestTheStoreKnowsOfTheSpool(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool\nlease: 2s"})
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	noted := func(what, want string) {
		t.Helper()
		g.Until(t, what, func() bool {
			var got string
			const query = `SELECT string_agg(DISTINCT coalesce(spool_depth::text, 'none') || ' ' || (spool_oldest IS NOT NULL)::text, ', ') FROM instances`
			if err := conn.QueryRow(t.Context(), query).Scan(&got); err != nil {
				t.Fatal(err)
			}
			return got == want
		})
	}
	noted("it is noted that there is a spool", "0 false")
	requests := sendOut(t, g, b, 4)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE requests IN EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	told := requests.wants(t, b, with(executed, 201))
	noted("it is noted what is in the spool", "4 true")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	noted("it is noted that nothing is in the spool any more", "0 false")
	requests.completed(t, g, b, told)
	g.Kill(t)
	g.Start(t) // the same instance under another lease
	noted("it is noted that there is a spool again", "0 false")
	g.Signal(t, unix.SIGTERM)
	if code := g.Exit(t); code != 0 {
		t.Errorf("exit %d", code)
	}
	var left string
	if err := conn.QueryRow(t.Context(), "SELECT string_agg(DISTINCT coalesce(spool_depth::text, 'none') || ' ' || id::text, ', ') FROM instances").Scan(&left); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(left, "none ") || strings.Contains(left, ",") {
		t.Errorf("after the end: %s", left)
	}
}

// An operator does not wait for the gateway that has the answers on its disk: what was settled stays, and an
// answer that proves it wrong is kept beside it.
func TestRecordsOfASpoolThatWereSettledMeanwhile(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	c := rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Admin: rig.Tokens("alice"), Extra: "store_timeout: 1s\nlease: 2s"}
	other := rig.Serve(t, c)
	c.Extra += "\nspool: spool"
	g := rig.Serve(t, c)
	requests := sendOut(t, g, b, 4)
	cluster.Stop(pgtest.Immediate)
	told := requests.wants(t, b, with(executed, 201))
	g.Kill(t)
	cluster.Start(t)
	other.AwaitReady(t)
	for i, body := range []string{
		`"outcome":"not_executed"`, `"outcome":"executed"`, `"outcome":"executed","response":{"status":200,"headers":{},"body":"by hand","body_encoding":"utf-8"}`,
	} {
		key := requests.requests[i].Key
		wantState(t, other, key, "unknown", sent(t, b, key))
		wantProblem(t, resolve(t, other, "alice", key, `{"evidence":"e",`+body+`}`), 409, "owner-may-hold-answers")
		if a := resolve(t, other, "alice", key, `{"evidence":"e","acknowledge_spool":true,`+body+`}`); a.Status != 200 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
	}
	g.Revive(t)
	g.Until(t, "the spool is empty", func() bool { return spoolOf(t, g).Depth == 0 })
	for _, g := range []*rig.Gateway{g, other} {
		insist(t, g, requests.requests[0]).Is(t, stillUnknown)
		insist(t, g, requests.requests[1]).Is(t, isForgotten)
		if a := insist(t, g, requests.requests[2]); a.Status != 200 || a.Body != "by hand" || a.Header.Get("Idempotency-Resolved") != "operator" {
			t.Errorf("%d %s", a.Status, a.Body)
		}
		if a := insist(t, g, requests.requests[3]); a.Bytes() != told[3].Bytes() {
			t.Errorf("told\n%s\nand now\n%s", told[3].Bytes(), a.Bytes())
		}
	}
	rec := shown(t, other, requests.requests[0].Key)
	if !rec.Contradicted || len(rec.Contradictions) != 1 || rec.Contradictions[0].Response.Status != 201 {
		t.Errorf("%+v", rec)
	}
	g.AwaitOutput(t, "an answer contradicts its record")
	g.AwaitOutput(t, "was settled otherwise")
	for _, r := range requests.requests {
		wantEffects(t, b, r.Key, 1)
	}
}

// A drain while the store is gone leaves the answers to the next process.
func TestDrainWithoutAStoreLeavesTheSpool(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	cluster := pgtest.NewCluster(t, pgtest.Config{})
	g := rig.Serve(t, rig.Config{Store: cluster.NewDatabase(t), Targets: []string{b.URL()}, Extra: "store_timeout: 1s\nspool: spool"})
	requests := sendOut(t, g, b, 10)
	cluster.Stop(pgtest.Immediate)
	g.Signal(t, unix.SIGTERM)
	told := requests.wants(t, b, with(executed, 201))
	g.Exit(t)
	cluster.Start(t)
	g.Revive(t)
	requests.completed(t, g, b, told)
}
