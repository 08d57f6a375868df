package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/idempotency/storetest"
)

// lock takes rows away until the test ends, or until what it returns is called.
func lock(t *testing.T, admin *pgxpool.Pool, sql string, args ...any) (unlock func()) {
	t.Helper()
	tx, err := admin.Begin(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	unlock = func() { _ = tx.Rollback(context.Background()) }
	t.Cleanup(unlock)
	if _, err := tx.Exec(context.Background(), sql, args...); err != nil {
		t.Fatal(err)
	}
	return unlock
}

// A record that somebody has locked keeps no other from being swept: neither one of its owner, nor one of another
// dead owner, nor one that is overdue. It is swept itself once it is free.
func TestALockedRecordHoldsUpNoOther(t *testing.T) {
	ctx := context.Background()
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	living := newOwner(t, s)
	overdue := apply(t, s, newClaims(3, living))
	execute(t, admin, "UPDATE requests SET claimed_at = now() - interval '1 hour', deadline = now() - interval '30 minutes'")
	var first, second idempotency.OperationID
	for owner := range 3 {
		o := newOwner(t, s)
		results := apply(t, s, newClaims(3, o))
		if owner == 0 {
			// More than one transaction writes, the first of which the sweep comes to.
			results = append(apply(t, s, newClaims(sweepBatch, o)), results...)
		}
		if err := s.GiveBack(ctx, o); err != nil {
			t.Fatal(err)
		}
		first, second = second, results[0].Record.ID
	}
	in := func(state idempotency.State) int {
		return queryOne[int](t, admin, "SELECT count(*) FROM requests WHERE state = $1", int(state))
	}
	const all = 3 + 3*3 + sweepBatch
	locked := []idempotency.OperationID{first, second, overdue[0].Record.ID}
	unlock := lock(t, admin, "SELECT FROM requests WHERE id = ANY($1::uuid[]) FOR UPDATE", uuids(locked))
	for range 2 {
		if _, err := s.Sweep(ctx); !errors.Is(err, errLeft) {
			t.Errorf("the error is %v", err)
		}
		if n := in(idempotency.Unknown); n != all-len(locked) {
			t.Fatalf("%d of %d are written as in doubt, want all but %d", n, all, len(locked))
		}
	}
	// Each is in the feed once: what was locked is not, though a transaction that looked at it wrote others.
	if n := queryOne[int](t, admin, "SELECT count(DISTINCT id) FROM (SELECT unnest(ids) AS id FROM changes c WHERE EXISTS (SELECT FROM requests r WHERE r.changed = c.xid AND r.state = 4)) x"); n != all-len(locked) {
		t.Errorf("%d are in the feed as in doubt", n)
	}
	unlock()
	if n, err := s.Sweep(ctx); n != len(locked) || err != nil {
		t.Errorf("swept %d of %d that were locked, error %v", n, len(locked), err)
	}
	if n := in(idempotency.Unknown); n != all {
		t.Errorf("%d of %d are written as in doubt", n, all)
	}
	if n := queryOne[int](t, admin, "SELECT count(*) FROM instances WHERE NOT swept"); n != 1 {
		t.Errorf("%d owners are not swept, want the living one only", n)
	}
}

// One that runs for long, or is locked, must not keep the walk from what is overdue far behind it, nor be forgotten.
func TestTheWalkGoesPastWhatRuns(t *testing.T) {
	ctx := context.Background()
	dsn := newDatabase(t)
	s, admin := openStore(t, dsn), openAdmin(t, dsn)
	owner := newOwner(t, s)
	age := func(rs []idempotency.Result, claimed, deadline string) {
		for _, r := range rs {
			execute(t, admin, "UPDATE requests SET claimed_at = now() - $2::interval, deadline = now() + $3::interval WHERE id = $1", uuid(r.Record.ID), claimed, deadline)
		}
	}
	locked := apply(t, s, newClaims(1, owner))
	age(locked, "4 hours", "-3 hours")
	age(apply(t, s, newClaims(1, owner)), "3 hours", "1 hour")
	apply(t, s, completions(apply(t, s, newClaims(walkWindow/2, owner)), nil))
	apply(t, s, completions(apply(t, s, newClaims(walkWindow/2, owner)), nil))
	execute(t, admin, "UPDATE requests SET claimed_at = now() - interval '2 hours' + random() * interval '1 minute' WHERE state = 2")
	age(apply(t, s, newClaims(1, owner)), "1 hour", "-30 minutes")

	unlock := lock(t, admin, "SELECT FROM requests WHERE id = $1 FOR UPDATE", uuid(locked[0].Record.ID))
	if n, err := s.Sweep(ctx); n != 1 || !errors.Is(err, errLeft) {
		t.Errorf("swept %d, error %v", n, err)
	}
	unlock()
	if n, err := s.Sweep(ctx); n != 1 || err != nil {
		t.Errorf("swept %d of 1 that was locked, error %v", n, err)
	}
	execute(t, admin, "UPDATE requests SET deadline = now() - interval '1 hour' WHERE state = 1")
	if n, err := s.Sweep(ctx); n != 1 || err != nil {
		t.Errorf("swept %d of 1 that ran, error %v", n, err)
	}
}

// A gateway that is paused in the middle of a transaction gives its locks up all the same.
func TestAPausedTransactionLetsGo(t *testing.T) {
	ctx := context.Background()
	dsn := newDatabase(t)
	admin := openAdmin(t, dsn)
	s, err := Open(ctx, dsn, Options{StoreTimeout: 3 * time.Second, Lease: storetest.Lease})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	id := apply(t, s, newClaims(1, newOwner(t, s)))[0].Record.ID
	err = s.transact(ctx, func(tx pgx.Tx) error {
		if ids, err := collect(tx.Query(ctx, overdueLock, []pgtype.UUID{uuid(id)})); len(ids) != 1 || err != nil {
			t.Errorf("locked %d, error %v", len(ids), err)
		}
		eventually(t, func() bool {
			return execute(t, admin, "SELECT FROM requests WHERE id = $1 FOR UPDATE SKIP LOCKED", uuid(id)) == 1
		})
		return nil
	})
	if err == nil {
		t.Error("it was committed")
	}
}
