package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/onceway/onceway/idempotency"
	"pgregory.net/rapid"
)

// testSearch looks for records in every way there is, and reads every page.
func testSearch(w *world) {
	w.in("nothing", func(w *world) {
		if found := w.search(idempotency.Query{}, 10); len(found) != 0 {
			w.Errorf("an empty store has %d records", len(found))
		}
	})

	alice, bob := idempotency.Caller("alice"), idempotency.Caller("bob")
	w.in("filters", func(w *world) {
		op := func(c idempotency.Caller) idempotency.Operation {
			o := w.operation()
			o.Caller = c
			return o
		}
		claim := func(c idempotency.Caller, route string, trace byte) idempotency.Claim {
			t := w.claim(op(c))
			t.Route, t.Trace.TraceID, t.Budget = route, [16]byte{trace}, 100*step
			return t
		}
		old := w.granted(claim(alice, "orders", 1))
		w.must(complete(old))
		w.passAlive(2)
		executing := w.granted(claim(alice, "refunds", 2))
		unknown := w.granted(claim(bob, "orders", 3))
		w.must(doubt(unknown))
		released := w.granted(claim(bob, "refunds", 3))
		w.must(release(released))
		proved := w.granted(claim(alice, "orders", 4))
		w.must(release(proved))
		w.one(complete(proved))
		forgotten := w.granted(claim(alice, "orders", 5))
		w.must(completeBodiless(forgotten))
		w.passAlive(1)
		tombstone := op(bob)
		forbid := cancel(tombstone)
		forbid.Trace.TraceID = [16]byte{6}
		w.must(forbid)

		all := []idempotency.OperationID{old.Operation, executing.Operation, unknown.Operation, released.Operation, proved.Operation, forgotten.Operation, tombstone.ID()}
		_, some, inDoubt, releases, wrong, gone, tomb := all[0], all[1], all[2], all[3], all[4], all[5], all[6]
		for _, test := range []struct {
			name  string
			query idempotency.Query
			want  []idempotency.OperationID
		}{
			{"all", idempotency.Query{}, all},
			{"completed", idempotency.Query{State: idempotency.Completed}, all[:1]},
			{"executing", idempotency.Query{State: idempotency.Executing}, all[1:2]},
			{"unknown", idempotency.Query{State: idempotency.Unknown}, all[2:3]},
			{"not executed", idempotency.Query{State: idempotency.NotExecuted}, []idempotency.OperationID{releases, wrong}},
			{"cancelled", idempotency.Query{State: idempotency.Cancelled}, []idempotency.OperationID{tomb}},
			{"forgotten", idempotency.Query{State: idempotency.Forgotten}, []idempotency.OperationID{gone}},
			{"caller", idempotency.Query{Caller: &bob}, []idempotency.OperationID{inDoubt, releases, tomb}},
			{"route", idempotency.Query{Route: "refunds"}, []idempotency.OperationID{some, releases}},
			{"no such route", idempotency.Query{Route: "order"}, nil},
			{"trace", idempotency.Query{Trace: [16]byte{3}}, []idempotency.OperationID{inDoubt, releases}},
			{"trace of a cancellation", idempotency.Query{Trace: [16]byte{6}}, []idempotency.OperationID{tomb}},
			{"older", idempotency.Query{OlderThan: 2 * step}, all[:1]},
			{"younger", idempotency.Query{YoungerThan: step / 2}, []idempotency.OperationID{tomb}},
			{"between", idempotency.Query{OlderThan: step / 2, YoungerThan: 2 * step}, all[1:6]},
			{"contradicted", idempotency.Query{Contradicted: true}, []idempotency.OperationID{wrong}},
			{"together", idempotency.Query{State: idempotency.NotExecuted, Caller: &bob, Route: "refunds", Trace: [16]byte{3}}, []idempotency.OperationID{releases}},
			{"contradicted and unknown", idempotency.Query{State: idempotency.Unknown, Contradicted: true}, nil},
			{"contradicted of bob", idempotency.Query{Contradicted: true, Caller: &bob}, nil},
		} {
			for _, limit := range []int{1, 2, 100} {
				found := w.search(test.query, limit)
				if err := sameIDs(found, test.want); err != nil {
					w.Errorf("%s, by %d: %v", test.name, limit, err)
				}
			}
		}
		n, err := w.Store.Contradicted(background)
		if err != nil || n != 1 {
			w.Errorf("%d contradicted records, error %v", n, err)
		}

		for _, r := range w.search(idempotency.Query{}, 3) {
			if r.Response != nil && (r.Response.Replayable || r.Response.Body != nil) {
				w.Error("a search shows a body")
			}
			whole := w.find(r.ID)
			if whole.Response != nil {
				whole.Response = whole.Response.Bodiless()
			}
			if err := sameRecord(r, whole); err != nil {
				w.Error("found by search and by id:", err)
			}
		}

		// What only Derive shows is found as what it shows.
		w.acquire()
		if err := sameIDs(w.search(idempotency.Query{State: idempotency.Unknown}, 10), []idempotency.OperationID{some, inDoubt}); err != nil {
			w.Error("orphaned:", err)
		}
		if err := sameIDs(w.search(idempotency.Query{State: idempotency.Executing}, 10), nil); err != nil {
			w.Error("orphaned:", err)
		}
		w.pass(21 * step)
		if err := sameIDs(w.search(idempotency.Query{State: idempotency.Forgotten}, 10), []idempotency.OperationID{all[0], gone}); err != nil {
			w.Error("body expired:", err)
		}
		if err := sameIDs(w.search(idempotency.Query{State: idempotency.Completed}, 10), nil); err != nil {
			w.Error("body expired:", err)
		}
	})

	w.in("newest first", func(w *world) {
		w.acquire()
		var want []idempotency.OperationID
		for range 5 {
			want = append([]idempotency.OperationID{w.granted(w.claim(w.operation())).Operation}, want...)
			w.passAlive(1)
		}
		found := w.search(idempotency.Query{}, 2)
		for i, id := range want {
			if found[i].ID != id {
				w.Errorf("record %d is another one", i)
			}
		}
	})

	w.in("a needle", func(w *world) {
		// More records than one search looks at: it goes on, and finds what is at the other end.
		needle := w.claim(w.operation())
		needle.Route = "needle"
		w.must(needle)
		const batch = 400
		for range 13 {
			ts := make([]idempotency.Transition, batch)
			for i := range ts {
				ts[i] = w.claim(w.operation())
			}
			w.apply(ts...)
		}
		if err := sameIDs(w.search(idempotency.Query{Route: "needle"}, 10), []idempotency.OperationID{needle.Attempt.Operation}); err != nil {
			w.Error(err)
		}
		if n := len(w.search(idempotency.Query{YoungerThan: step}, 500)); n != 13*batch+1 {
			w.Errorf("%d records, want %d", n, 13*batch+1)
		}
	})

	w.in("cursors of others", func(w *world) {
		for _, c := range []idempotency.Cursor{"-", "x y", "0", "AAAA", "////////////////////////////////"} {
			if _, err := w.Store.Search(background, idempotency.Query{Limit: 1, After: c}); !errors.Is(err, idempotency.ErrCursor) {
				w.Errorf("cursor %q: %v", c, err)
			}
		}
	})
}

// search reads all pages.
func (w *world) search(q idempotency.Query, limit int) []idempotency.Record {
	w.Helper()
	found, err := searchAll(w.Store, q, limit)
	if err != nil {
		w.Fatal("search:", err)
	}
	return found
}

func searchAll(s idempotency.SearchStore, q idempotency.Query, limit int) (found []idempotency.Record, err error) {
	q.Limit = limit
	for range 20_000 {
		page, err := s.Search(background, q)
		if err != nil {
			return nil, err
		}
		if len(page.Records) > limit {
			return nil, fmt.Errorf("a page of %d records", len(page.Records))
		}
		for _, r := range page.Records {
			if !r.Observed.Equal(page.Observed) {
				return nil, fmt.Errorf("observed at %v, on a page of %v", r.Observed, page.Observed)
			}
		}
		found = append(found, page.Records...)
		if page.Next == "" {
			return found, nil
		}
		q.After = page.Next
	}
	return nil, errors.New("the search does not end")
}

func sameIDs(found []idempotency.Record, want []idempotency.OperationID) error {
	ids := map[idempotency.OperationID]bool{}
	for _, r := range found {
		ids[r.ID] = true
	}
	if len(ids) != len(found) {
		return fmt.Errorf("%d records, %d different ones", len(found), len(ids))
	}
	if len(found) != len(want) {
		return fmt.Errorf("%d records, want %d", len(found), len(want))
	}
	for _, id := range want {
		if !ids[id] {
			return fmt.Errorf("%v is missing", id)
		}
	}
	return nil
}

// search compares what store and model find.
func (m *machine) search(t *rapid.T) {
	q := idempotency.Query{
		State: idempotency.State(rapid.IntRange(int(idempotency.Unseen), int(idempotency.Forgotten)).Draw(t, "state")),
		Route: rapid.SampledFrom([]string{"", "", "claim", "resend"}).Draw(t, "route"),
		// Half a step away from any age that a record can have.
		OlderThan:    time.Duration(rapid.SampledFrom([]int{0, 0, 1, 9}).Draw(t, "older")) * step / 2,
		YoungerThan:  time.Duration(rapid.SampledFrom([]int{0, 1, 9, 99}).Draw(t, "younger")) * step / 2,
		Contradicted: rapid.IntRange(0, 3).Draw(t, "contradicted") == 0,
	}
	m.sweep(t) // a search may have to
	a, errA := searchAll(m.Store, q, rapid.SampledFrom([]int{20, 1000}).Draw(t, "limit"))
	b, errB := searchAll(m.model, q, 1000)
	if errA != nil || errB != nil {
		t.Fatal("search:", errA, errB)
	}
	found := map[idempotency.OperationID]idempotency.Record{}
	for _, r := range a {
		found[r.ID] = r
	}
	if len(found) != len(b) || len(a) != len(b) {
		t.Fatalf("search %+v: %d records, %d different ones, want %d", q, len(a), len(found), len(b))
	}
	for _, r := range b {
		if err := sameRecord(found[r.ID], r); err != nil {
			t.Fatalf("search %+v: %v", q, err)
		}
	}
}
