package postgres

import (
	"context"
	"fmt"
	"testing"
	"time"

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

func purge(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.Purge(context.Background(), 100); err != nil {
		t.Fatal(err)
	}
}

func TestPurgeMakesAndDropsPartitions(t *testing.T) {
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
}

// Rows that came before their partition must neither be lost nor stop the purge, today or ever.
func TestPurgeLeavesADayWithTheDefaultPartition(t *testing.T) {
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
		n, err := s.Purge(context.Background(), 250)
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
