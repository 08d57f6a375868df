package storetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func testLeases(w *world) {
	w.in("epochs grow", func(w *world) {
		before := w.owner
		w.acquire()
		if w.owner.Epoch <= before.Epoch || w.owner.Instance != before.Instance {
			w.Errorf("%+v after %+v", w.owner, before)
		}
		if err := w.Store.Renew(background, before, Lease); !errors.Is(err, idempotency.ErrLeaseLost) {
			w.Errorf("renewing a former epoch: %v", err)
		}
		if err := w.Store.Renew(background, w.owner, Lease); err != nil {
			w.Errorf("renewing the present one: %v", err)
		}
		if err := w.Store.Renew(background, idempotency.Owner{Instance: [16]byte{9}, Epoch: 1}, Lease); !errors.Is(err, idempotency.ErrLeaseLost) {
			w.Errorf("renewing a lease that never was: %v", err)
		}
	})

	w.in("a new epoch orphans", func(w *world) {
		o := w.operation()
		a := w.granted(w.claim(o))
		w.expect(o.ID(), idempotency.Executing, 1)
		w.acquire()
		r := w.expect(o.ID(), idempotency.Unknown, 1)
		equal(w, "cause", r.Cause, idempotency.CauseOwnerGone)
		equal(w, "revision", r.Revision, 1)
		equal(w, "owner", r.Attempt.Owner, a.Owner)
		if again := w.one(w.claim(o)); again.Applied || again.Record.State != idempotency.Unknown {
			w.Error("an orphaned record was claimed")
		}
	})

	w.in("a lease given back orphans", func(w *world) {
		o := w.operation()
		w.must(w.claim(o))
		if err := w.Store.GiveBack(background, w.owner); err != nil {
			w.Fatal(err)
		}
		if err := w.Store.Renew(background, w.owner, Lease); !errors.Is(err, idempotency.ErrLeaseLost) {
			w.Errorf("renewing a lease that was given back: %v", err)
		}
		if err := w.Store.GiveBack(background, w.owner); err != nil {
			w.Errorf("giving back twice: %v", err)
		}
		equal(w, "cause", w.expect(o.ID(), idempotency.Unknown, 1).Cause, idempotency.CauseOwnerGone)
		w.acquire()
		w.expect(o.ID(), idempotency.Unknown, 1)
	})

	w.in("a former owner gives back nothing of its successor", func(w *world) {
		former := w.owner
		w.acquire()
		o := w.operation()
		w.must(w.claim(o))
		if err := w.Store.GiveBack(background, former); err != nil {
			w.Fatal(err)
		}
		w.expect(o.ID(), idempotency.Executing, 1)
	})

	w.in("time", func(w *world) {
		o := w.operation()
		c := w.claim(o)
		c.Budget = 100 * step
		w.must(c)
		w.passAlive(6)
		w.expect(o.ID(), idempotency.Executing, 1)
		w.Advance(w.T, 4*step)
		if w.LockLease {
			w.Log("this store's leases do not lapse by time")
			w.expect(o.ID(), idempotency.Executing, 1)
			return
		}
		equal(w, "cause", w.expect(o.ID(), idempotency.Unknown, 1).Cause, idempotency.CauseOwnerGone)
		if err := w.Store.Renew(background, w.owner, Lease); !errors.Is(err, idempotency.ErrLeaseLost) {
			w.Errorf("renewing a lapsed lease: %v", err)
		}
		w.expect(o.ID(), idempotency.Unknown, 1)
		w.acquire()
		w.expect(o.ID(), idempotency.Unknown, 1)
	})

	w.in("deadlines", func(w *world) {
		o := w.operation()
		w.must(w.claim(o)) // a minute
		w.passAlive(3)     // nine of eleven minutes
		w.expect(o.ID(), idempotency.Executing, 1)
		w.passAlive(1)
		equal(w, "cause", w.expect(o.ID(), idempotency.Unknown, 1).Cause, idempotency.CauseOverdue)
	})

	w.in("sweep", func(w *world) {
		// Sweep writes what Derive shows, once, for every record, and touches nothing else.
		w.acquire() // so that what the tests before this one left executing is swept now
		if _, err := w.Store.Sweep(background); err != nil {
			w.Fatal(err)
		}
		before := w.inDoubt()
		overdue, orphan, alive := w.operation(), w.operation(), w.operation()
		w.must(w.claim(overdue))
		w.passAlive(4)
		w.sweeps(1)
		w.swept(overdue, idempotency.CauseOverdue)
		late := w.claim(orphan)
		late.Budget = 100 * step
		a := w.granted(late)
		w.acquire()
		w.must(w.claim(alive))
		w.sweeps(1)
		w.sweeps(0)
		w.swept(orphan, idempotency.CauseOwnerGone)
		w.expect(alive.ID(), idempotency.Executing, 1)
		equal(w, "records in doubt", w.inDoubt(), before+2)
		equal(w, "records of nobody in doubt", w.inDoubtOf("nobody", 9), 0)
		mine := w.inDoubtOf(overdue.Caller, 1000)
		equal(w, "one record of a caller in doubt, at most", w.inDoubtOf(overdue.Caller, 1), 1)
		w.must(complete(a))
		equal(w, "records in doubt after an answer", w.inDoubt(), before+1)
		equal(w, "records of a caller in doubt after an answer", w.inDoubtOf(overdue.Caller, 1000), mine-1)
	})
}

func testOwn(w *world) {
	executing := func(o idempotency.Owner, age time.Duration, limit int) []idempotency.Attempt {
		found, err := w.Store.Executing(background, o, age, limit)
		if err != nil {
			w.Fatal("executing:", err)
		}
		return found
	}
	former := w.owner
	before := w.granted(w.claim(w.operation()))
	w.acquire()
	var own []idempotency.Attempt
	for range 3 {
		c := w.claim(w.operation())
		c.Budget = time.Minute
		own = append(own, w.granted(c))
		w.passAlive(1)
	}
	settled := w.granted(w.claim(w.operation()))
	w.must(complete(settled))
	equal(w, "of the owner", fmt.Sprint(executing(w.owner, 0, 10)), fmt.Sprint(own))
	equal(w, "the oldest", fmt.Sprint(executing(w.owner, 0, 1)), fmt.Sprint(own[:1]))
	equal(w, "old ones", fmt.Sprint(executing(w.owner, 2*step-step/2, 10)), fmt.Sprint(own[:2]))
	equal(w, "of a former epoch", fmt.Sprint(executing(former, 0, 10)), fmt.Sprint([]idempotency.Attempt{before}))
	equal(w, "of nobody", len(executing(idempotency.Owner{Instance: [16]byte{9}, Epoch: 1}, 0, 10)), 0)
}

// testLost is about records that stand for attempts which the store has lost.
func testLost(w *world) {
	w.in("an answer of the attempt itself", func(w *world) {
		c := w.claim(w.operation())
		c.Attempt.N = 1
		w.must(idempotency.Import{Claim: c, Evidence: "test"})
		equal(w, "cause", w.expect(c.Operation.ID(), idempotency.Unknown, 1).Cause, idempotency.CauseLost)
		real := idempotency.Attempt{Operation: c.Attempt.Operation, ID: idempotency.NewAttemptID(), N: 3, Owner: w.owner}
		for range 2 { // applied again it does no more
			w.must(complete(real))
			r := w.expect(c.Operation.ID(), idempotency.Completed, 3)
			equal(w, "attempt", r.Attempt.ID, real.ID)
			equal(w, "contradicted", r.Contradicted, false)
		}
		w.kinds(c.Operation, idempotency.EvidenceImport, idempotency.EvidenceLateAnswer)
	})
	w.in("an answer after a resolution", func(w *world) {
		c := w.claim(w.operation())
		c.Attempt.N = 1
		w.must(idempotency.Import{Claim: c, Evidence: "test"})
		w.must(idempotency.Resolve{Operation: c.Operation.ID(), N: 1, Verdict: idempotency.VerdictNotExecuted, By: "operator:x", Evidence: "test", Retention: Keep})
		real := idempotency.Attempt{Operation: c.Attempt.Operation, ID: idempotency.NewAttemptID(), N: 1, Owner: w.owner}
		w.one(complete(real))
		equal(w, "contradicted", w.expect(c.Operation.ID(), idempotency.NotExecuted, 1).Contradicted, true)
	})
}

func (w *world) kinds(o idempotency.Operation, want ...idempotency.EvidenceKind) {
	w.Helper()
	var got []idempotency.EvidenceKind
	for _, e := range w.Evidence(w.T, o.ID()) {
		got = append(got, e.Kind)
	}
	slices.Sort(got)
	equal(w, "evidence", fmt.Sprint(got), fmt.Sprint(want))
}

func (w *world) sweeps(want int) {
	w.Helper()
	n, err := w.Store.Sweep(background)
	if err != nil {
		w.Fatal("sweep:", err)
	}
	equal(w, "swept records", n, want)
}

func (w *world) swept(o idempotency.Operation, cause idempotency.Cause) {
	w.Helper()
	r := w.expect(o.ID(), idempotency.Unknown, 1)
	equal(w, "cause of a swept record", r.Cause, cause)
	equal(w, "revision of a swept record", r.Revision, 2)
	w.span("swept", r.Observed, r.Settled, 0)
}

func (w *world) inDoubt() int64 {
	w.Helper()
	n, err := w.Store.InDoubt(background)
	if err != nil {
		w.Fatal("in doubt:", err)
	}
	return n
}

func (w *world) inDoubtOf(who idempotency.Caller, most int) int {
	w.Helper()
	n, err := w.Store.InDoubtOf(background, who, most)
	if err != nil {
		w.Fatal("in doubt:", err)
	}
	return n
}
