package e2e

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/pgtest"
	"github.com/onceway/onceway/internal/rig"
)

// patient is an upstream whose own limits are far beyond a pause.
const patient = "timeout: 30s, connect_timeout: 25s"

// stalled is a TLS target that completes no handshake before release: whoever dials it has claimed, and
// cannot have sent a byte of a request.
func stalled(t *testing.T, b *ledger.Backend) (target string, relay *nemesis.Relay, release func()) {
	t.Helper()
	gate := make(chan struct{})
	relay = relayTo(t, strings.TrimPrefix(b.TLS(), "https://"), nemesis.First(nemesis.Plan{Down: nemesis.Flow{Fault: nemesis.Hold, Release: gate}}))
	return "https://" + relay.Addr(), relay, func() { close(gate) }
}

func relayTo(t *testing.T, address string, script nemesis.Script) *nemesis.Relay {
	t.Helper()
	r, err := nemesis.Listen(address, script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// stop pauses a process, and returns when the kernel has stopped all of it.
func stop(t *testing.T, g *rig.Gateway) {
	t.Helper()
	g.Signal(t, syscall.SIGSTOP)
	g.AwaitStopped(t)
}

// Paused between its claim and the first byte for longer than its lease, a gateway sends nothing: others
// have called the attempt unknown. It proves that it did not send, and the retry is executed once.
func TestOurselvesPausedBeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	target, relay, release := stalled(t, b)
	dsn := pgtest.New(t)
	trust := []string{"SSL_CERT_FILE=" + b.CA()}
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{target}, Upstream: patient, Extra: "lease: 2s", Env: trust})
	other := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "lease: 2s"})
	r := rig.Request{Key: newKey(), Body: "a"}
	answer := resent(t, g, r)
	relay.Conn(0).Up.Wait(1) // the handshake has begun
	if now := other.Get(t, recordPath(r.Key)).Record(t); now.State != "executing" {
		t.Errorf("before the pause the record is %s", now.State)
	}
	stop(t, g)
	wantState(t, other, r.Key, "unknown", 1)
	other.Do(t, r).Is(t, stillUnknown)
	release()
	g.Signal(t, syscall.SIGCONT)
	a := <-answer
	if a == nil {
		t.Fatal("no answer")
	}
	a.Is(t, notReached)
	wantState(t, other, r.Key, "not_executed", 1)
	insist(t, other, r).Is(t, executed)
	wantEffects(t, b, r.Key, 1)
	if e := only(t, b, ledger.Effect, r.Key); e.Attempt != "2" {
		t.Errorf("attempt %s was executed", e.Attempt)
	}
	g.Do(t, r).Is(t, replayed)
}

// The same with the embedded store, which nobody else can look at: whether the attempt is sent after the
// pause or not, it is executed at most once, and what the client hears is what the ledger says.
func TestOurselvesPausedBeforeTheFirstByteAlone(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	target, relay, release := stalled(t, b)
	g := rig.Serve(t, rig.Config{Targets: []string{target}, Upstream: patient, Extra: "lease: 500ms", Env: []string{"SSL_CERT_FILE=" + b.CA()}})
	r := rig.Request{Key: newKey(), Body: "a"}
	answer := resent(t, g, r)
	relay.Conn(0).Up.Wait(1)
	stop(t, g)
	outlive(t, 500*time.Millisecond)
	release()
	g.Signal(t, syscall.SIGCONT)
	a := <-answer
	switch {
	case a == nil:
		t.Fatal("no answer")
	case a.Status == 200:
		a.Is(t, executed)
		wantEffects(t, b, r.Key, 1)
	default:
		a.Is(t, notReached)
		wantEffects(t, b, r.Key, 0)
	}
	again := insist(t, g, r)
	if want := replayed; a.Status != 200 {
		again.Is(t, executed)
	} else {
		again.Is(t, want)
	}
	wantEffects(t, b, r.Key, 1)
}

// outlive returns when a clock that also runs during pauses has passed by a lease.
func outlive(t *testing.T, lease time.Duration) {
	t.Helper()
	timer := time.NewTimer(lease + lease/10)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// Paused after the first byte, a gateway wakes up with the answer in its socket: others have called the
// attempt unknown, and its true answer completes it.
func TestOurselvesPausedAfterTheFirstByte(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Upstream: patient, Extra: "lease: 2s"}
	g, other := rig.Serve(t, c), rig.Serve(t, c)
	for _, when := range []string{"before the effect", "after the effect"} {
		t.Run(when, func(t *testing.T) {
			gate := newKey()
			r := rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{Status: 201, Before: gate}}
			if when == "after the effect" {
				r.Script = ledger.Script{Status: 201, After: gate}
			}
			answer := resent(t, g, r)
			b.Await(t, gate, 1)
			stop(t, g)
			wantState(t, other, r.Key, "unknown", 1)
			conn := connect(t, dsn)
			other.Until(t, "the doubt is written", func() bool {
				var state int
				if err := conn.QueryRow(t.Context(), "SELECT state FROM requests WHERE key = $1", r.Key).Scan(&state); err != nil {
					t.Fatal(err)
				}
				return state == 4
			})
			waiting := r
			waiting.Header = rig.Header("Prefer", "wait=0")
			other.Do(t, waiting).Is(t, stillUnknown)
			b.Open(t, gate)
			g.Signal(t, syscall.SIGCONT)
			a := <-answer
			if a == nil {
				t.Fatal("no answer")
			}
			a.Is(t, with(executed, 201))
			again := other.Do(t, r)
			again.Is(t, with(replayed, 201))
			if again.Bytes() != a.Bytes() {
				t.Errorf("the retry got\n%s\nthe first\n%s", again.Bytes(), a.Bytes())
			}
			wantEffects(t, b, r.Key, 1)
			if kinds := evidenceOf(t, dsn, r.Key); kinds != "late-answer" {
				t.Errorf("evidence %q", kinds)
			}
			g.AwaitReady(t)
		})
	}
}

// evidenceOf lists the kinds of evidence that a store has about a key.
func evidenceOf(t *testing.T, dsn, key string) (kinds string) {
	t.Helper()
	conn := connect(t, dsn)
	err := conn.QueryRow(t.Context(), `SELECT COALESCE(string_agg(e.kind, ' ' ORDER BY e.kind), '') FROM evidence e
		JOIN requests r ON r.id = e.operation WHERE r.key = $1`, key).Scan(&kinds)
	if err != nil {
		t.Error(err)
	}
	return kinds
}

// connect looks behind the gateways' backs.
func connect(t *testing.T, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// A gateway that cannot renew, although its store would take everything else, stops claiming before its
// lease lapses, says so, and comes back by itself under a new epoch.
func TestOurselvesNoClaimWithoutRenewal(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Extra: "lease: 2s"})
	settled := rig.Request{Key: newKey(), Body: "a"}
	insist(t, g, settled).Is(t, executed)
	conn := connect(t, dsn)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "SELECT FROM instances FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	g.AwaitNotReady(t)
	var left float64
	if err := tx.QueryRow(t.Context(), "SELECT extract(epoch FROM max(lease_until) - clock_timestamp()) FROM instances").Scan(&left); err != nil {
		t.Fatal(err)
	}
	t.Logf("it stopped %.2f s before its lease lapsed", left)
	key := newKey()
	g.Do(t, rig.Request{Key: key, Body: "a"}).Is(t, noStore)
	g.Do(t, settled).Is(t, replayed)
	wantUnseen(t, g, b, key)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.AwaitReady(t)
	insist(t, g, rig.Request{Key: key, Body: "a"}).Is(t, executed)
	wantEffects(t, b, key, 1)
}

// A killed gateway's record is in doubt as soon as its lease is over, and written down so within a second
// by whoever lives. Its epoch is over for good.
func TestOurselvesKilledAmongTwo(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Upstream: patient, Extra: "lease: 2s"}
	g, other := rig.Serve(t, c), rig.Serve(t, c)
	gate, keys := newKey(), make([]string, 5)
	for i := range keys {
		keys[i] = newKey()
		resent(t, g, rig.Request{Key: keys[i], Body: "a", Script: ledger.Script{After: gate}})
	}
	b.Await(t, gate, len(keys))
	g.Kill(t)
	conn := connect(t, dsn)
	other.Until(t, "the doubt is written", func() bool {
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM requests WHERE state = 4 AND cause = 'owner-gone'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == len(keys)
	})
	var late float64
	if err := conn.QueryRow(t.Context(), `SELECT extract(epoch FROM max(r.unknown_since - i.lease_until)) FROM requests r
		JOIN instances i ON i.id = r.owner AND i.epoch = r.epoch`).Scan(&late); err != nil {
		t.Fatal(err)
	}
	t.Logf("written %.2f s after the lease lapsed", late)
	b.Open(t, gate)
	for _, key := range keys {
		wantState(t, other, key, "unknown", 1)
		other.Do(t, rig.Request{Key: key, Body: "a", Script: ledger.Script{After: gate}}).Is(t, stillUnknown)
		wantEffects(t, b, key, 1)
	}
}

// A record that somebody has locked keeps none of the others from being written down as in doubt, whichever gateway
// left them; the operator hears of it, and it follows once it is free.
func TestOurselvesKilledWithALockedRecord(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	c := rig.Config{Store: dsn, Targets: []string{b.URL()}, Upstream: patient, Extra: "lease: 2s"}
	dead, living := []*rig.Gateway{rig.Serve(t, c), rig.Serve(t, c)}, rig.Serve(t, c)
	gate, keys := newKey(), make([]string, 6)
	for i := range keys {
		keys[i] = newKey()
		resent(t, dead[i%2], rig.Request{Key: keys[i], Body: "a", Script: ledger.Script{After: gate}})
	}
	b.Await(t, gate, len(keys))
	conn := connect(t, dsn)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Of the owner that a sweep comes to first.
	if _, err := tx.Exec(t.Context(), "SELECT FROM requests WHERE id = (SELECT id FROM requests ORDER BY owner LIMIT 1) FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	for _, g := range dead {
		g.Kill(t)
	}
	written := func(want int) func() bool {
		return func() bool {
			var n int
			if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM requests WHERE state = 4 AND cause = 'owner-gone'").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n >= want
		}
	}
	living.Until(t, "the doubt about the others is written", written(len(keys)-1))
	living.Until(t, "the operator is told", func() bool { return strings.Contains(living.Output(), "locked by another session") })
	if written(len(keys))() {
		t.Error("the locked record was written")
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tx, err = conn.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	living.Until(t, "the doubt about all is written", written(len(keys)))
	b.Open(t, gate)
	for _, key := range keys {
		wantState(t, living, key, "unknown", 1)
	}
}

// A row that executes in a living gateway's name, and of which that gateway knows nothing, does not wait
// for its deadline: its owner doubts it.
func TestOurselvesForgottenAttemptIsDoubted(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	dsn := pgtest.New(t)
	g := rig.Serve(t, rig.Config{Store: dsn, Targets: []string{b.URL()}, Upstream: patient, Extra: "lease: 1s"})
	stray, running := newKey(), rig.Request{Key: newKey(), Body: "a", Script: ledger.Script{After: newKey()}}
	answer := resent(t, g, running)
	b.Await(t, running.Script.After, 1)
	// As a claim that was committed long after everybody had given it up.
	tag, err := connect(t, dsn).Exec(t.Context(), `INSERT INTO requests (id, attempt_id, owner, epoch, revision, first_seen, claimed_at, deadline, expires,
			attempt, state, fingerprint_version, caller, key, fingerprint)
		SELECT gen_random_uuid(), gen_random_uuid(), owner, epoch, 1, now(), now(), now() + interval '1 hour', expires, 1, 1, fingerprint_version, caller, $1, fingerprint
		FROM requests WHERE key = $2`, stray, running.Key)
	if err != nil || tag.RowsAffected() != 1 {
		t.Fatal(err)
	}
	conn := connect(t, dsn)
	g.Until(t, "it is doubted", func() bool {
		var cause string
		if err := conn.QueryRow(t.Context(), "SELECT cause FROM requests WHERE key = $1", stray).Scan(&cause); err != nil {
			t.Fatal(err)
		}
		return cause == "not-tracked-by-its-owner"
	})
	b.Open(t, running.Script.After)
	if a := <-answer; a == nil {
		t.Error("no answer")
	} else {
		a.Is(t, executed)
	}
	if n, err := strconv.Atoi(only(t, b, ledger.Effect, running.Key).Attempt); n != 1 || err != nil {
		t.Errorf("attempt %d, %v", n, err)
	}
}
