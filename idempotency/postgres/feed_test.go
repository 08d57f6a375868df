package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/internal/pgtest"
)

// follower reads a caller's feed, and keeps what it has heard.
type follower struct {
	t       *testing.T
	s       *Store
	after   idempotency.Place
	history idempotency.FeedHistory
	heard   map[idempotency.OperationID]int // how often
	held    bool                            // something was held back when it read last
}

func follow(t *testing.T, s *Store) *follower {
	f := &follower{t: t, s: s, heard: map[idempotency.OperationID]int{}}
	f.read()
	return f
}

func (f *follower) read() {
	f.t.Helper()
	for {
		page, err := f.s.Feed(context.Background(), idempotency.FeedQuery{Callers: []idempotency.Caller{"caller"}, After: f.after, History: f.history, Limit: 200})
		if err != nil {
			f.t.Fatal(err)
		}
		for _, c := range page.Changes {
			f.heard[c.Record.ID]++
		}
		f.after, f.history, f.held = page.Next, page.History, len(page.Held) > 0
		if page.End {
			return
		}
	}
}

// naive is how a feed is often built: by a sequence, or by the time of the change, in a table of its own.
type naive struct {
	order string // the column
	last  string
	heard map[string]int
}

func (n *naive) read(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	rows, err := conn.Query(context.Background(),
		fmt.Sprintf("SELECT name, %[1]s::text FROM naive WHERE %[1]s > $1::text::%[2]s ORDER BY %[1]s", n.order, map[string]string{"seq": "bigint", "at": "timestamptz"}[n.order]), n.last)
	if err != nil {
		t.Fatal(err)
	}
	var name, at string
	_, err = pgx.ForEachRow(rows, []any{&name, &at}, func() error {
		n.heard[name]++
		n.last = at
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// alone is a server whose feed nobody else holds up, not even autovacuum.
func alone(t *testing.T) *pgtest.Cluster {
	return pgtest.NewCluster(t, pgtest.Config{Settings: map[string]string{"autovacuum": "off"}})
}

// Two gateways write at once, and the transaction that began first commits last. A reader who goes by a
// sequence or by the time of the change has then gone past what it wrote; the feed waits for it.
func TestWhatCommitsLateIsHeardOf(t *testing.T) {
	ctx := context.Background()
	dsn := alone(t).NewDatabase(t)
	migrate(t, dsn)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	execute(t, admin, "CREATE TABLE naive (seq bigserial, at timestamptz DEFAULT clock_timestamp(), name text)")
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(ctx) })
		registerArrays(conn)
		return conn
	}
	slow, reader := connect(), connect()
	bySequence := &naive{order: "seq", last: "0", heard: map[string]int{}}
	byTime := &naive{order: "at", last: "-infinity", heard: map[string]int{}}
	owner := newOwner(t, s)
	apply(t, s, newClaims(1, owner)) // so that the reader is not at the start, where the feed is not read by its rows
	f := follow(t, s)
	clear(f.heard)

	// A batch whose commit is slow: the gateway's own statements, in a transaction that stays open.
	claim := newClaims(1, owner)[0].(idempotency.Claim)
	tx, err := slow.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var q pgx.Batch
	q.Queue(settingsWithoutJoins)
	queueFirstClaims(&q, new(arena), sameOfClaim(&claim), []idempotency.Claim{claim})
	q.Queue("INSERT INTO naive (name) VALUES ('slow')")
	if err := tx.SendBatch(ctx, &q).Close(); err != nil {
		t.Fatal(err)
	}

	fast := apply(t, s, newClaims(1, owner))[0].Record.ID
	execute(t, admin, "INSERT INTO naive (name) VALUES ('fast')")
	f.read()
	if len(f.heard) != 0 || !f.held {
		t.Errorf("while an earlier transaction is open %d changes are shown; held back: %v", len(f.heard), f.held)
	}
	eventually(t, func() bool {
		lag, err := s.FeedLag(ctx)
		return err == nil && lag > 50*time.Millisecond
	})
	bySequence.read(t, reader)
	byTime.read(t, reader)

	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	f.read()
	if f.heard[fast] != 1 || f.heard[claim.Attempt.Operation] != 1 || f.held {
		t.Errorf("the feed has shown the fast change %d times and the slow one %d times; held back: %v", f.heard[fast], f.heard[claim.Attempt.Operation], f.held)
	}
	if lag, err := s.FeedLag(ctx); err != nil || lag != 0 {
		t.Errorf("lag is %v, error %v", lag, err)
	}
	// This test can see what it is for: the usual readers miss it.
	for _, n := range []*naive{bySequence, byTime} {
		n.read(t, reader)
		if n.heard["fast"] != 1 || n.heard["slow"] != 0 {
			t.Errorf("a reader by %s has heard of the fast change %d times and of the slow one %d times: that it misses it is what this test shows", n.order, n.heard["fast"], n.heard["slow"])
		}
	}
}

// A transaction of somebody else, in another database and about other things, holds the feed back too; one
// that only reads does not.
func TestForeignTransactionsDelayTheFeed(t *testing.T) {
	ctx := context.Background()
	c := alone(t)
	dsn, elsewhere := c.NewDatabase(t), openAdmin(t, c.NewDatabase(t))
	migrate(t, dsn)
	s := openStore(t, dsn)
	owner := newOwner(t, s)
	f := follow(t, s)
	open := func(sql string) pgx.Tx {
		tx, err := elsewhere.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
		return tx
	}
	reads := open("SELECT count(*) FROM pg_class")
	first := apply(t, s, newClaims(1, owner))[0].Record.ID
	if f.read(); f.heard[first] != 1 {
		t.Errorf("while somebody only reads, a change was shown %d times", f.heard[first])
	}
	writes := open("CREATE TABLE x ()")
	second := apply(t, s, newClaims(1, owner))[0].Record.ID
	if f.read(); f.heard[second] != 0 || !f.held {
		t.Errorf("while somebody writes, a change was shown %d times; held back: %v", f.heard[second], f.held)
	}
	for _, tx := range []pgx.Tx{reads, writes} {
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if f.read(); f.heard[second] != 1 {
		t.Errorf("after it ended, a change was shown %d times", f.heard[second])
	}
}

// Records from before the feed, and those whose contents came from another server, have no place in it. They
// are listed first, also for a caller who has too many of them to look at all.
func TestRecordsFromBeforeTheFeedAreListed(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	older := map[idempotency.OperationID]bool{}
	for i := range 26 {
		for _, r := range apply(t, s, newClaims(100, owner)) {
			older[r.Record.ID] = true
		}
		if i == 20 {
			execute(t, admin, "UPDATE requests SET changed = '0'")
		}
	}
	execute(t, admin, "UPDATE requests SET changed = '9000000000000' WHERE changed <> '0'")
	execute(t, admin, "DELETE FROM changes")
	execute(t, admin, "UPDATE feed SET since = clock_timestamp()")
	ts := newClaims(3, owner)
	apply(t, s, ts)
	f := follow(t, s)
	eventually(t, func() bool { // other tests write on this server
		f.read()
		return len(f.heard) == len(older)+len(ts)
	})
	for id, n := range f.heard {
		if n != 1 {
			t.Errorf("record %v was listed %d times", id, n)
		}
	}
}

// A row of the feed is removed once each of its records has changed again or is gone, and not before.
func TestTheFeedForgetsWhatNobodyNeeds(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	results := apply(t, s, newClaims(3, owner))
	apply(t, s, completions(results[:2], []byte("x")))
	apply(t, s, completions(results[2:], []byte("x")))
	open := apply(t, s, newClaims(1, owner))[0].Record.ID
	rows := func() int64 { return queryOne[int64](t, admin, "SELECT count(*) FROM changes") }
	purge := func() {
		t.Helper()
		for range 2 {
			if _, _, err := s.Purge(context.Background(), 1000); err != nil {
				t.Fatal(err)
			}
		}
	}
	purge()
	if n := rows(); n != 4 {
		t.Fatalf("%d rows while all are young, want 4", n)
	}
	execute(t, admin, "UPDATE changes SET at = at - $1::interval", s.keep.Key+time.Hour)
	purge()
	if n := rows(); n != 3 {
		t.Errorf("%d rows, want 3: that of the first claims has no last change", n)
	}
	advance(t, admin, s.keep.Key+time.Hour)
	purge()
	if n := rows(); n != 1 {
		t.Errorf("%d rows, want 1: that of the record that is still executing", n)
	}
	f := follow(t, s)
	eventually(t, func() bool { f.read(); return f.heard[open] == 1 })
}

// After a failover or a restore the numbers may mean something else, so no place of before is gone on from.
func TestAPlaceIsLostWithTheServer(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	apply(t, s, newClaims(2, newOwner(t, s)))
	f := follow(t, s)
	f.read()
	if n := execute(t, admin, "UPDATE store_identity SET identity = identity || '0', changed_at = clock_timestamp()"); n != 1 {
		t.Fatalf("%d identities", n)
	}
	_, err := s.Feed(context.Background(), idempotency.FeedQuery{Callers: []idempotency.Caller{"caller"}, After: f.after, History: f.history, Limit: 1})
	if !errors.Is(err, idempotency.ErrFeedLost) {
		t.Errorf("error %v", err)
	}
	fresh := follow(t, s)
	eventually(t, func() bool { fresh.read(); return len(fresh.heard) == 2 })
}
