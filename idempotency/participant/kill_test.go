package participant

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/internal/pgtest"
)

// victimVariable makes a test binary the backend that will be killed: "STAGE OPERATION ATTEMPT DSN".
const victimVariable = "ONCEWAY_TEST_PARTICIPANT"

// Stages at which a victim stops and waits for its end. At the stage "committing" its database stops it
// (see holdCommits).
var stages = []string{"began", "claimed", "effected", "recorded", "committing", "committed"}

// victim executes one attempt up to a stage, says so, and waits for its end.
func victim() {
	var stage, operation, dsn string
	var n int
	if _, err := fmt.Sscan(os.Getenv(victimVariable), &stage, &operation, &n, &dsn); err != nil {
		panic(err)
	}
	reach := func(at string) {
		if at == stage {
			fmt.Println(at)
			io.Copy(io.Discard, os.Stdin) // ends at the latest with the test process
			os.Exit(0)
		}
	}
	ctx := context.Background()
	id, err := idempotency.ParseOperationID(operation)
	if err != nil {
		panic(err)
	}
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		panic(err)
	}
	s := adapter[pgx.Tx]{Pgx(pool)}
	a := Attempt{id, n}
	tx, err := s.Begin(ctx)
	if err != nil {
		panic(err)
	}
	reach("began")
	if c, err := tx.Claim(a); err != nil || c.Decision != Execute {
		panic(fmt.Sprint(c, err))
	}
	reach("claimed")
	if err := tx.Effect(a); err != nil {
		panic(err)
	}
	reach("effected")
	if err := tx.Record(a, created(a)); err != nil {
		panic(err)
	}
	reach("recorded")
	if err := tx.Commit(); err != nil {
		os.Exit(1) // its database was killed
	}
	reach("committed")
}

// start starts a victim and returns when it has reached its stage.
func startVictim(t *testing.T, w *world, stage string, a Attempt) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), victimVariable+"="+strings.Join([]string{stage, a.Operation.String(), strconv.Itoa(a.N), w.dsn}, " "))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if stage == "committing" {
		until(t, "the commit is held", func() bool { return w.waiting(t) == 1 })
		return cmd
	}
	if line := bufio.NewScanner(out); !line.Scan() || line.Text() != stage {
		t.Fatalf("the victim ended before it was %s", stage)
	}
	return cmd
}

// holdCommits makes every commit with an effect wait, inside Postgres, until let go is called.
func (w *world) holdCommits(t *testing.T) (letGo func()) {
	t.Helper()
	w.exec(t, `
		CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION hold();`)
	conn, err := w.look.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), "SELECT pg_advisory_lock(1)"); err != nil {
		t.Fatal(err)
	}
	letGo = func() {
		_, _ = conn.ExecContext(context.Background(), "SELECT pg_advisory_unlock_all()")
		conn.Close()
	}
	t.Cleanup(letGo)
	return letGo
}

// settle does what a gateway does with an operation in doubt: it probes until it is told, and sends a new
// attempt if the old one is absent. Meanwhile a copy of the old attempt arrives late. In the end there is
// one effect, and everybody has its answer.
func settle(t *testing.T, w *world, doubted Attempt) {
	t.Helper()
	var e idempotency.Envelope
	until(t, "a probe is answered", func() bool {
		var err error
		e, err = w.Fence(t.Context(), doubted.Operation, doubted.N)
		return err == nil
	})
	late := func() {
		t.Helper()
		if _, err := w.Do(t.Context(), doubted, book(doubted)); err != nil {
			t.Error(err)
		}
	}
	late()
	by := doubted.N
	if e.Refuses(doubted.N) {
		w.wantEffects(t, doubted.Operation)
		by++
		w.wantExecuted(t, w.do(t, Attempt{doubted.Operation, by}), Execute, doubted.Operation, by)
		late()
	} else if e.Attempt != doubted.N || e.Response == nil {
		t.Errorf("told %+v", e)
	}
	w.wantExecuted(t, w.do(t, Attempt{doubted.Operation, by}), Replay, doubted.Operation, by)
}

// A backend that is killed at any stage leaves either the effect and its record, or neither.
func TestKilledBackend(t *testing.T) {
	for _, stage := range stages {
		for _, n := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s %d", stage, n), func(t *testing.T) {
				t.Parallel()
				w := newPgx(t)
				a := Attempt{newOperation(), n}
				if n > 1 {
					w.fence(t, a.Operation, n-1)
				}
				letGo := func() {}
				if stage == "committing" {
					letGo = w.holdCommits(t)
				}
				v := startVictim(t, w, stage, a)
				v.Process.Kill()
				v.Wait()
				if stage == "committing" {
					// Postgres does not know yet that its client is gone: the transaction may still commit.
					w.setPatience(1)
					if answer := w.probe(t, a.Operation, HeaderAttempt, strconv.Itoa(n)); answer.StatusCode != 503 {
						t.Errorf("probed with %d while the commit is on its way", answer.StatusCode)
					}
				}
				letGo()
				settle(t, w, a)
				want := n + 1
				if stage == "committing" || stage == "committed" {
					want = n
				}
				w.wantEffects(t, a.Operation, want)
			})
		}
	}
}

// The same when the database dies. It runs with the settings of people in a hurry: a fence that was
// reported must survive even so.
func TestKilledDatabase(t *testing.T) {
	c := pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"wal_writer_delay": "10s", "max_connections": "50"}})
	for _, stage := range stages {
		t.Run(stage, func(t *testing.T) {
			w := onPgx(t, c.NewDatabase(t))
			a := Attempt{newOperation(), 1}
			if stage == "committing" {
				w.holdCommits(t)
			}
			startVictim(t, w, stage, a)
			c.Restart(t, pgtest.Immediate)
			w.look.Close()
			w.look = openSQL(t, "pgx", w.dsn)
			w.subject = w.reopen(t)
			if stage == "committing" {
				w.exec(t, "DROP TRIGGER hold ON effects")
			}
			settle(t, w, a)
			want := 2
			if stage == "committed" {
				want = 1
			}
			w.wantEffects(t, a.Operation, want)
		})
	}
	t.Run("fenced", func(t *testing.T) {
		w := onPgx(t, c.NewDatabase(t), "synchronous_commit", "off")
		var fenced []idempotency.OperationID
		for range 20 {
			fenced = append(fenced, newOperation())
			w.fence(t, fenced[len(fenced)-1], 1)
		}
		c.Restart(t, pgtest.Immediate)
		w.look.Close()
		w.look = openSQL(t, "pgx", w.dsn)
		w.subject = w.reopen(t)
		for _, operation := range fenced {
			if r := w.do(t, Attempt{operation, 1}); r.Decision != Refuse {
				t.Fatalf("a fence was lost: %+v", r)
			}
		}
	})
}
