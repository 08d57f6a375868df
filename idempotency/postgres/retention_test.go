package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

const countPartitions = `SELECT count(*) FROM pg_inherits WHERE inhparent = 'payloads'::regclass`

func openKeeping(t *testing.T, dsn string, response time.Duration) *Store {
	t.Helper()
	s, err := Open(context.Background(), dsn, Options{Lease: storetest.Lease, Retention: idempotency.Retention{Response: response, Key: 1000 * time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// awayFromMidnight returns when no partition becomes due, or outlives its day, within the time of a test.
func awayFromMidnight(t *testing.T) {
	now := time.Now().UTC()
	left := now.Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(now)
	if left > 30*time.Second {
		return
	}
	select {
	case <-time.After(left):
	case <-t.Context().Done():
	}
}

func purge(t *testing.T, s *Store) {
	t.Helper()
	if _, _, err := s.Purge(context.Background(), 100); err != nil {
		t.Fatal(err)
	}
}

func TestPurgeMakesAndDropsPartitions(t *testing.T) {
	awayFromMidnight(t)
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	s := openKeeping(t, dsn, 20*24*time.Hour)
	execute(t, admin, "CREATE TABLE payloads_20200101 PARTITION OF payloads FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')")
	execute(t, admin, `INSERT INTO payloads (day, id, attempt_id, fields, body, seal)
		SELECT day, gen_random_uuid(), gen_random_uuid(), '', '', repeat('x', 32)::bytea FROM (VALUES ('2020-01-01'::date), ('2020-01-02')) v (day), generate_series(1, 700)`)
	purge(t, s)
	purge(t, s)
	if n := queryOne[int](t, admin, countPartitions); n != 1+20+daysAhead+1 {
		t.Errorf("%d partitions, want the default one and those of %d days", n, 20+daysAhead+1)
	}
	if n := queryOne[int](t, admin, "SELECT count(*) FROM payloads"); n != 0 {
		t.Errorf("%d bodies outlived their day", n)
	}
	if n := queryOne[int](t, admin, "SELECT count(*) FROM pg_class WHERE relname LIKE 'payloads_2%' AND relkind = 'r' AND NOT relispartition"); n != 0 {
		t.Errorf("%d tables were left behind", n)
	}
	// Those of the migration and those of the purge are alike.
	if n := queryOne[int](t, admin, "SELECT count(DISTINCT (reloptions, (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid))) FROM pg_class c WHERE relname LIKE 'payloads_2%' AND relkind = 'r'"); n != 1 {
		t.Errorf("partitions have %d different settings", n)
	}
}

// Rows that came before their partition must neither be lost nor stop the purge, today or ever.
func TestPurgeLeavesADayWithTheDefaultPartition(t *testing.T) {
	awayFromMidnight(t)
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	s := openKeeping(t, dsn, 24*time.Hour)
	day := queryOne[time.Time](t, admin, "SELECT (now() AT TIME ZONE 'UTC')::date + 3")
	execute(t, admin, "DROP TABLE payloads_"+day.Format("20060102"))
	execute(t, admin, `INSERT INTO payloads (day, id, attempt_id, fields, body, seal) VALUES ($1, gen_random_uuid(), gen_random_uuid(), '', '', repeat('x', 32)::bytea)`, day)
	before := queryOne[int](t, admin, countPartitions)
	purge(t, s)
	purge(t, s)
	if n := queryOne[int](t, admin, countPartitions); n != before {
		t.Errorf("%d partitions, want %d", n, before)
	}
	if n := queryOne[int](t, admin, "SELECT count(*) FROM payloads_default"); n != 1 {
		t.Errorf("%d rows in the default partition", n)
	}
	// Even if the row comes between the look and the change.
	if err := s.alter(t.Context(),
		"CREATE TABLE payloads_x (LIKE payloads INCLUDING ALL)",
		fmt.Sprintf("ALTER TABLE payloads ATTACH PARTITION payloads_x FOR VALUES FROM ('%s') TO ('%s')", day.Format(time.DateOnly), day.AddDate(0, 0, 1).Format(time.DateOnly))); err != nil {
		t.Error(err)
	}
}

// A long read must not make the purge wait, nor the purge hold up what comes after it.
func TestPurgeGivesWay(t *testing.T) {
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	s := openKeeping(t, dsn, 24*time.Hour)
	execute(t, admin, "CREATE TABLE payloads_20200101 PARTITION OF payloads FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')")
	tx, err := admin.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
	if _, err := tx.Exec(context.Background(), "SELECT FROM payloads"); err != nil {
		t.Fatal(err)
	}
	purge(t, s)
	if n := queryOne[int](t, admin, "SELECT count(*) FROM pg_class WHERE relname = 'payloads_20200101'"); n != 1 {
		t.Error("a partition was dropped under a reader")
	}
	if err := tx.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	purge(t, s)
	if n := queryOne[int](t, admin, "SELECT count(*) FROM pg_class WHERE relname = 'payloads_20200101'"); n != 0 {
		t.Error("a partition outlived its day")
	}
}

// A full window of records that have not expired must not hide those behind it, nor an end be missed.
func TestPurgeWalksOn(t *testing.T) {
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	s := openStore(t, dsn)
	owner := newOwner(t, s)
	for range walkWindow/100 + 1 {
		apply(t, s, newClaims(100, owner)) // executing: never purged
	}
	for range 6 {
		apply(t, s, completions(apply(t, s, newClaims(100, owner)), []byte("x")))
	}
	advance(t, admin, storetest.Keep.Key+time.Hour)
	total := 0
	for range 3 {
		n, _, err := s.Purge(context.Background(), 250)
		if err != nil || n > 250 {
			t.Fatalf("purged %d, error %v", n, err)
		}
		total += n
	}
	if total != 600 {
		t.Errorf("purged %d of 600", total)
	}
	if n := queryOne[int](t, admin, "SELECT count(*) FROM requests"); n != walkWindow+100 {
		t.Errorf("%d records are left", n)
	}
}

// What is old but has not expired yet, a whole day of it where clocks may be slow, is not walked through again and
// again, while there is more to remove behind the walk.
func TestPurgeDoesNotWalkThroughWhatCannotHaveExpired(t *testing.T) {
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	s, err := Open(context.Background(), dsn, Options{StoreTimeout: 10 * time.Second, Lease: storetest.Lease, Retention: storetest.Keep, Grace: 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	owner := newOwner(t, s)
	for range 4 {
		apply(t, s, completions(apply(t, s, newClaims(100, owner)), []byte("x")))
	}
	execute(t, admin, "UPDATE requests r SET claimed_at = claimed_at + n * interval '1 ms' FROM (SELECT id, row_number() OVER () AS n FROM requests) o WHERE o.id = r.id")
	advance(t, admin, storetest.Keep.Key+time.Hour)
	purgeOne := func(want int) {
		t.Helper()
		if n, _, err := s.Purge(context.Background(), 1); err != nil || n != want {
			t.Fatalf("purged %d, error %v, want %d", n, err, want)
		}
	}
	expire := func() {
		t.Helper()
		execute(t, admin, `UPDATE requests SET claimed_at = claimed_at - interval '2 days', expires = expires - interval '2 days'
			WHERE id = (SELECT id FROM requests LIMIT 1)`)
	}
	expire()
	for range 3 {
		purgeOne(1)
		purgeOne(0)
		expire()
	}
}

// The walk goes on from where it was, so that each record is read about once, by however many steps they go.
func TestPurgeReadsWhatItRemovesOnce(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	const records = 1500
	for range records / 100 {
		apply(t, s, completions(apply(t, s, newClaims(100, owner)), []byte("x")))
	}
	advance(t, admin, storetest.Keep.Key+time.Hour)
	for left := records; left > 0; {
		n, _, err := s.Purge(context.Background(), 150)
		if err != nil || n == 0 {
			t.Fatalf("purged %d, error %v", n, err)
		}
		left -= n
	}
	s.Close() // a backend that ends has reported its statistics
	var walked int64
	eventually(t, func() bool {
		var deleted int64
		err := admin.QueryRow(context.Background(), `SELECT idx_tup_read, n_tup_del FROM pg_stat_user_indexes i, pg_stat_user_tables t
			WHERE i.indexrelname = 'requests_claimed_at' AND t.relname = 'requests'`).Scan(&walked, &deleted)
		return err == nil && deleted == records
	})
	if walked > 2*records {
		t.Errorf("%d records were read to remove %d", walked, records)
	}
}

// As long as records wait to be removed, most of their feed is still needed: to walk along it then was
// four fifths of a purge's time.
func TestTheFeedIsPurgedAfterTheRecords(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	for range 3 {
		apply(t, s, completions(apply(t, s, newClaims(50, owner)), []byte("x")))
	}
	advance(t, admin, storetest.Keep.Key+time.Hour)
	for _, want := range []int{6, 0} { // rows: those of claims, which no record changed last in, could go at once
		if _, _, err := s.Purge(context.Background(), 100); err != nil {
			t.Fatal(err)
		}
		if n := queryOne[int](t, admin, "SELECT count(*) FROM changes"); n != want {
			t.Errorf("%d rows of the feed, want %d", n, want)
		}
	}
}

// A record can expire on the day of its body, and its key be used again that day.
func TestPurgeRemovesABodyThatHasNotGoneWithItsDay(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	apply(t, s, completions(apply(t, s, newClaims(2, newOwner(t, s))), []byte("x")))
	execute(t, admin, "UPDATE requests SET claimed_at = claimed_at - $1::interval, expires = now() - interval '1 hour'", storetest.Keep.Key+time.Hour)
	if n, _, err := s.Purge(context.Background(), 10); err != nil || n != 2 {
		t.Fatalf("purged %d, error %v", n, err)
	}
	if n := queryOne[int](t, admin, "SELECT count(*) FROM payloads"); n != 0 {
		t.Errorf("%d bodies outlived their records", n)
	}
}

// alterations counts the attempts to change partitions.
type alterations struct{ tried atomic.Int32 }

func (a *alterations) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if strings.HasPrefix(q.SQL, "DROP TABLE") || strings.Contains(q.SQL, "ATTACH PARTITION") {
		a.tried.Add(1)
	}
	return ctx
}

func (a *alterations) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// Each attempt to change partitions holds up, for alterTimeout, whoever comes after it. So as long as somebody reads,
// as a dump does, weeks of them are given up together and tried again only after a while. Requests go on all
// the while. Then it is done at once.
func TestPurgeAfterWeeks(t *testing.T) {
	awayFromMidnight(t)
	ctx := context.Background()
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	execute(t, admin, `DO $$ DECLARE d date; p text; BEGIN
		FOR p IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'payloads'::regclass AND inhrelid <> 'payloads_default'::regclass LOOP
			EXECUTE 'DROP TABLE ' || p;
		END LOOP;
		FOR i IN 1..21 LOOP
			d := (now() AT TIME ZONE 'UTC')::date - i;
			EXECUTE format('CREATE TABLE %I PARTITION OF payloads FOR VALUES FROM (%L) TO (%L)', 'payloads_' || to_char(d, 'YYYYMMDD'), d, d + 1);
		END LOOP;
	END $$`)
	var alterations alterations
	s, err := Open(ctx, dsn, Options{StoreTimeout: 10 * time.Second, Lease: storetest.Lease,
		Retention: idempotency.Retention{Response: 24 * time.Hour, Key: 1000 * time.Hour}, ChoresEvery: time.Hour, Tracer: &alterations})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	owner := newOwner(t, s)
	request := func() { apply(t, s, completions(apply(t, s, newClaims(3, owner)), []byte("x"))) }
	request() // into the default partition
	tx, err := admin.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback(ctx) })
	if _, err := tx.Exec(ctx, "LOCK TABLE payloads IN ACCESS SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		purge(t, s)
		request()
	}
	if n := alterations.tried.Load(); n != 1 {
		t.Errorf("%d attempts to change partitions under a reader, want 1", n)
	}
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	s.chores = pace{}
	purge(t, s)
	if n := queryOne[int](t, admin, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'payloads'::regclass
		AND inhrelid::regclass::text < to_char(now() AT TIME ZONE 'UTC', '"payloads_"YYYYMMDD')`); n != 0 {
		t.Errorf("%d partitions outlived their day", n)
	}
	// The days of what came before the partitions stay with the default one.
	bodies := queryOne[int](t, admin, "SELECT count(*) FROM payloads")
	if n := queryOne[int](t, admin, "SELECT count(DISTINCT day) FROM payloads_default"); bodies != 12 || n != 1 {
		t.Errorf("%d bodies, of %d days in the default partition", bodies, n)
	}
	execute(t, admin, "UPDATE payloads_default SET day = '2020-01-01'")
	s.chores = pace{}
	purge(t, s)
	if n := queryOne[int](t, admin, "SELECT count(*) FROM payloads_default"); n != 0 {
		t.Errorf("%d bodies in the default partition outlived their day", n)
	}
	if n := queryOne[int](t, admin, countPartitions); n != 1+1+daysAhead+1 {
		t.Errorf("%d partitions, want the default one and those of %d days", n, 1+daysAhead+1)
	}
}

// Many orphans of one owner are swept in several transactions, once, by two gateways at once.
func TestTwoGatewaysSweep(t *testing.T) {
	dsn := newDatabase(t)
	a, b := openStore(t, dsn), openStore(t, dsn)
	owner := newOwner(t, a)
	for range 12 {
		apply(t, a, newClaims(100, owner))
	}
	if err := a.GiveBack(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	swept := make(chan int)
	for _, s := range []*Store{a, b} {
		go func() {
			n, err := s.Sweep(context.Background())
			if err != nil {
				t.Error(err)
			}
			swept <- n
		}()
	}
	total := <-swept + <-swept
	n, err := a.Sweep(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if total+n != 1200 {
		t.Errorf("swept %d of 1200", total+n)
	}
	if n, err := a.InDoubt(context.Background()); n != 1200 || err != nil {
		t.Errorf("%d in doubt, error %v", n, err)
	}
}

// An instance's epochs grow also after its row has been purged.
func TestEpochsOutliveTheirRows(t *testing.T) {
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	instance := idempotency.Instance{ID: idempotency.NewAttemptID()}
	first, err := s.Acquire(context.Background(), instance, storetest.Lease)
	if err != nil {
		t.Fatal(err)
	}
	advance(t, admin, 8*24*time.Hour)
	if _, err := s.Sweep(context.Background()); err != nil {
		t.Fatal(err)
	}
	purge(t, s)
	var left int
	if err := admin.QueryRow(context.Background(), "SELECT count(*) FROM instances").Scan(&left); err != nil || left != 0 {
		t.Fatalf("%d rows are left, error %v", left, err)
	}
	second, err := s.Acquire(context.Background(), instance, storetest.Lease)
	if err != nil || second.Epoch <= first.Epoch {
		t.Errorf("epoch %d after %d, error %v", second.Epoch, first.Epoch, err)
	}
}

// A gateway whose clock lags must find the record of a key that it does not yet call too old.
func TestPurgeWaitsForTheGrace(t *testing.T) {
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	cancel := idempotency.Cancel{Operation: idempotency.Operation{Caller: "c", Key: "k"}, Retention: idempotency.Retention{Response: time.Hour, Key: 1000 * time.Hour}}
	if _, err := openKeeping(t, dsn, time.Hour).Apply(context.Background(), []idempotency.Transition{cancel}); err != nil {
		t.Fatal(err)
	}
	execute(t, admin, "UPDATE requests SET claimed_at = now() - interval '2000 hours', expires = now() - interval '1 hour'")
	for _, tt := range []struct {
		grace time.Duration
		left  int
	}{{2 * time.Hour, 1}, {0, 0}} {
		s, err := Open(context.Background(), dsn, Options{Lease: storetest.Lease, Grace: tt.grace, Retention: idempotency.Retention{Response: time.Hour, Key: 1000 * time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		purge(t, s)
		if n := queryOne[int](t, admin, "SELECT count(*) FROM requests"); n != tt.left {
			t.Errorf("with a grace of %v %d records are left, want %d", tt.grace, n, tt.left)
		}
	}
}

// Where bodies are kept for long, those who read or erase one lock the partition of its day, and not hundreds: the server
// has no room for so many locks.
func TestManyPartitionsAreNotOpenedForOneBody(t *testing.T) {
	for _, mode := range []string{"cache_statement", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			dsn := newDatabase(t)
			admin := openAdmin(t, dsn)
			keep := idempotency.Retention{Response: (manyPartitions + 1) * day, Key: 2 * manyPartitions * day}
			s, err := Open(t.Context(), withParameter(dsn, "default_query_exec_mode="+mode), Options{Lease: storetest.Lease, Retention: keep})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			purge(t, s)
			var ts []idempotency.Transition
			for _, r := range apply(t, s, newClaims(3, newOwner(t, s))) {
				ts = append(ts, idempotency.Complete{Attempt: r.Record.Attempt, Response: idempotency.NewResponse(200, nil, []byte("x")), Retention: keep})
			}
			apply(t, s, ts)
			tx, err := admin.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = tx.Rollback(context.Background()) })
			other := queryOne[string](t, admin, "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '5 days', '\"payloads_\"YYYYMMDD')")
			if _, err := tx.Exec(t.Context(), "LOCK TABLE "+other+" IN ACCESS EXCLUSIVE MODE"); err != nil {
				t.Fatal(err)
			}
			ids := []idempotency.OperationID{ts[0].Target(), ts[1].Target(), ts[2].Target()}
			found, err := s.Find(t.Context(), ids)
			if err != nil {
				t.Fatal(err)
			}
			if r := found[1]; r.State != idempotency.Completed || r.Damaged || string(r.Response.Body) != "x" {
				t.Errorf("%v, damaged is %v", r.State, r.Damaged)
			}
			erase := []idempotency.Transition{idempotency.Acknowledge{Operation: ids[0]}, idempotency.Acknowledge{Operation: ids[1]}}
			for range 2 {
				for _, r := range apply(t, s, erase) {
					if !r.Applied || r.Record.State != idempotency.Forgotten {
						t.Errorf("acknowledged, and applied is %v: %v", r.Applied, r.Record.State)
					}
				}
			}
			if err := tx.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := queryOne[int](t, admin, "SELECT count(*) FROM payloads"); n != 1 {
				t.Errorf("%d bodies are left, want 1", n)
			}
		})
	}
}
