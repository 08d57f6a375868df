package storetest

import (
	"slices"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// testInstances checks what operators are told of gateway processes, and above all that a process that
// may hold answers on its own disk is not forgotten.
func testInstances(w *world) {
	owners := func() (all []idempotency.Owner) {
		w.Helper()
		for _, i := range w.instances(100) {
			all = append(all, i.Owner)
		}
		return all
	}

	w.in("a lease", func(w *world) {
		i := w.lease(w.owner)
		if !i.Alive || i.Host != "one" || i.Version != "test" || i.Spool != nil {
			w.Errorf("%+v", i)
		}
		w.span("started", w.now(), i.Started, 0)
		if w.LockLease {
			w.zero("lease until", i.LeaseUntil)
		} else {
			w.span("lease until", i.LeaseUntil, w.now(), Lease)
		}
		former := w.owner
		w.acquire()
		if w.lease(former).Alive || !w.lease(w.owner).Alive {
			w.Error("a new lease did not end the former one")
		}
		if none, err := w.Store.InstanceLeases(background, [16]byte{77}); err != nil || len(none) != 0 {
			w.Errorf("leases of nobody: %+v, %v", none, err)
		}
		if err := w.Store.GiveBack(background, w.owner); err != nil {
			w.Fatal(err)
		}
		if w.lease(w.owner).Alive {
			w.Error("alive after its lease was given back")
		}
	})

	w.in("a process without a spool holds nothing", func(w *world) {
		w.acquire()
		w.holds(false)
		if err := w.Store.GiveBack(background, w.owner); err != nil {
			w.Fatal(err)
		}
		w.holds(false)
		if err := w.Store.NoteSpool(background, [16]byte{77}, &idempotency.SpoolNote{Depth: 1}); err != nil {
			w.Errorf("a note of nobody's spool: %v", err)
		}
	})

	w.in("what is spooled", func(w *world) {
		w.instance = idempotency.Instance{ID: [16]byte{2}, Host: "two", Version: "test", Longest: time.Minute, Spool: &idempotency.SpoolNote{}}
		w.acquire()
		if s := w.lease(w.owner).Spool; s == nil || s.Depth != 0 || !s.Oldest.IsZero() {
			w.Errorf("an empty spool is told as %+v", s)
		}
		w.holds(false)
		w.notes(&idempotency.SpoolNote{Depth: 3, Oldest: w.now().Add(-step)})
		w.holds(true)
		s := w.lease(w.owner).Spool
		equal(w, "depth", s.Depth, 3)
		w.span("oldest", w.now(), s.Oldest, step)

		first := w.owner
		w.instance.Spool = &idempotency.SpoolNote{Depth: 3, Oldest: s.Oldest}
		w.acquire() // the process lost its lease, and has its spool still
		w.holds(true)
		equal(w, "depth under the new lease", w.lease(w.owner).Spool.Depth, 3)
		w.notes(&idempotency.SpoolNote{})
		w.holds(false)
		for _, o := range []idempotency.Owner{first, w.owner} {
			if s := w.lease(o).Spool; s == nil || s.Depth != 0 || !s.Oldest.IsZero() {
				w.Errorf("an emptied spool is told as %+v", s)
			}
		}
		if err := w.Store.GiveBack(background, w.owner); err != nil {
			w.Fatal(err)
		}
		w.holds(true) // what it put there after its last note, nobody knows

		// It comes back with what it put there. Before it can note anything, it lives.
		w.instance.Spool = &idempotency.SpoolNote{Depth: 2, Oldest: w.now().Add(-step)}
		w.acquire()
		w.holds(true)
		now := w.lease(w.owner).Spool
		equal(w, "depth with the lease", now.Depth, 2)
		w.span("oldest with the lease", w.now(), now.Oldest, step)
		w.notes(&idempotency.SpoolNote{})
		w.holds(false)
		w.instance.Spool = &idempotency.SpoolNote{}
		if err := w.Store.GiveBack(background, w.owner); err != nil {
			w.Fatal(err)
		}
	})

	w.in("order", func(w *world) {
		spooling := w.owner
		w.instance = idempotency.Instance{ID: [16]byte{1}, Host: "one", Version: "test", Longest: time.Minute}
		w.pass(step)
		all := owners()
		if len(all) < 2 || all[0] != w.owner || all[1] != spooling {
			w.Errorf("%v, want %v and then %v", all, w.owner, spooling)
		}
		if all := w.instances(1); len(all) != 1 || all[0].Owner != w.owner {
			w.Errorf("the first one is %v, want %v", all, w.owner)
		}
	})

	w.in("long after", func(w *world) {
		spooling := idempotency.Owner{Instance: [16]byte{2}, Epoch: 0}
		for _, i := range w.instances(100) {
			if i.Owner.Instance == spooling.Instance {
				spooling.Epoch = max(spooling.Epoch, i.Owner.Epoch)
			}
		}
		w.forgets(30 * 24 * time.Hour)
		if !slices.Contains(owners(), spooling) {
			w.Error("a process that may hold answers was forgotten")
		}
		if err := w.Store.NoteSpool(background, spooling.Instance, nil); err != nil {
			w.Fatal(err)
		}
		leases, err := w.Store.InstanceLeases(background, spooling.Instance)
		if err != nil || idempotency.MayHoldAnswers(leases) {
			w.Errorf("may hold answers after its spool was emptied: %+v, %v", leases, err)
		}
	})
}

func (w *world) instances(limit int) []idempotency.InstanceRecord {
	w.Helper()
	all, err := w.Store.Instances(background, limit)
	if err != nil {
		w.Fatal("instances:", err)
	}
	return all
}

// lease returns what is known of one lease, which both ways of asking must tell alike.
func (w *world) lease(o idempotency.Owner) (found idempotency.InstanceRecord) {
	w.Helper()
	leases, err := w.Store.InstanceLeases(background, o.Instance)
	if err != nil {
		w.Fatal("leases:", err)
	}
	n := 0
	for _, i := range append(leases, w.instances(100)...) {
		if i.Owner == o {
			found = i
			n++
		}
	}
	if n != 2 {
		w.Fatalf("%v is told of %d times, want once by each way", o, n)
	}
	if leases[0].Owner.Epoch < o.Epoch {
		w.Error("the latest lease does not come first")
	}
	return found
}

func (w *world) notes(s *idempotency.SpoolNote) {
	w.Helper()
	if err := w.Store.NoteSpool(background, w.owner.Instance, s); err != nil {
		w.Fatal("note of a spool:", err)
	}
}

func (w *world) holds(want bool) {
	w.Helper()
	leases, err := w.Store.InstanceLeases(background, w.owner.Instance)
	if err != nil {
		w.Fatal("leases:", err)
	}
	if got := idempotency.MayHoldAnswers(leases); got != want {
		w.Errorf("may hold answers: %v, want %v; %+v", got, want, leases)
	}
}

// forgets lets d pass, and the store remove what it does not keep so long.
func (w *world) forgets(d time.Duration) {
	w.Helper()
	w.pass(d)
	if _, err := w.Store.Sweep(background); err != nil {
		w.Fatal(err)
	}
	if _, _, err := w.Store.Purge(background, 100); err != nil {
		w.Fatal(err)
	}
	w.pass(step)
}
