package idempotency_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// many are operations of which every third is completed, every third executing, and every third unseen.
func many(t *testing.T, g *gateway, n int) (ids []idempotency.OperationID, running []*idempotency.Execution) {
	for i := range n {
		r := request(name(i))
		ids = append(ids, r.ID)
		switch i % 3 {
		case 0:
			g.begin(t, r, idempotency.Granted).Execution.Complete(answer("made"))
		case 1:
			running = append(running, g.begin(t, r, idempotency.Granted).Execution)
		}
	}
	return ids, running
}

func checkMany(t *testing.T, ids []idempotency.OperationID, records []idempotency.Record, executing idempotency.State) {
	t.Helper()
	if len(records) != len(ids) {
		t.Fatalf("%d records for %d operations", len(records), len(ids))
	}
	for i, r := range records {
		want := []idempotency.State{idempotency.Completed, executing, idempotency.Unseen}[i%3]
		if r.ID != ids[i] || r.State != want || r.Response != nil && r.Response.Body != nil {
			t.Errorf("record %d is of %s and %v with %v, want %v without a body", i, r.ID, r.State, r.Response, want)
		}
	}
}

// Many operations are read in groups, in their order, and no group's bodies are kept while the next is read.
func TestAwaitAllReadsInGroups(t *testing.T) {
	for _, n := range []int{1, 15, 16, 17, 32, 100} {
		bubble(t, func(t *testing.T, g *gateway) {
			ids, running := many(t, g, n)
			before := g.store.looks()
			records, err := g.engine.AwaitAll(t.Context(), ids, 0, settled)
			if err != nil {
				t.Fatal(err)
			}
			checkMany(t, ids, records, idempotency.Executing)
			if looks := g.store.looks() - before; looks != (n+15)/16 {
				t.Errorf("%d looks for %d operations", looks, n)
			}
			for _, x := range running {
				x.Doubt("over")
			}
		})
	}
}

// One group that cannot be read fails the whole: half an answer would pass for all there is.
func TestAwaitAllFailsAsAWhole(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		ids, running := many(t, g, 50)
		for failing := range 4 {
			n := 0
			g.store.set(func(s *faulty) {
				s.find = func(context.Context) error {
					if n++; n == failing+1 {
						return errBroken
					}
					return nil
				}
			})
			records, err := g.engine.AwaitAll(t.Context(), ids, 0, settled)
			if !errors.Is(err, errBroken) || records != nil {
				t.Errorf("look %d failed: %d records, %v", failing, len(records), err)
			}
			if n != failing+1 {
				t.Errorf("look %d failed, and there were %d", failing, n)
			}
		}
		g.store.set(func(s *faulty) { s.find = nil })
		for _, x := range running {
			x.Doubt("over")
		}
	})
}

// A wait for many ends when the last of them is settled, wherever it stands, and shows all as they are then.
func TestAwaitAllWaitsForTheLast(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		ids, running := many(t, g, 50)
		type all struct {
			records []idempotency.Record
			err     error
		}
		done := make(chan all, 1)
		go func() {
			records, err := g.engine.AwaitAll(t.Context(), ids, time.Minute, settled)
			done <- all{records, err}
		}()
		slices.Reverse(running)
		for _, x := range running {
			synctest.Wait()
			if len(done) > 0 {
				t.Fatal("it ended before the last was settled")
			}
			x.Doubt("net")
		}
		got := <-done
		if got.err != nil {
			t.Fatal(got.err)
		}
		checkMany(t, ids, got.records, idempotency.Unknown)
	})
}

// The end of a gateway ends it with what was seen first: the store may be gone.
func TestTheEndOfAWaitForMany(t *testing.T) {
	bubble(t, func(t *testing.T, g *gateway) {
		ids, running := many(t, g, 50)
		work, end := context.WithCancel(t.Context())
		done := make(chan []idempotency.Record, 1)
		go func() {
			records, err := g.engine.AwaitAll(work, ids, time.Minute, settled)
			if err != nil {
				t.Error(err)
			}
			done <- records
		}()
		time.Sleep(time.Second)
		synctest.Wait()
		g.store.set(func(s *faulty) { s.find = func(ctx context.Context) error { <-ctx.Done(); return errBroken } })
		end()
		begun := time.Now()
		checkMany(t, ids, <-done, idempotency.Executing)
		if time.Since(begun) != 0 {
			t.Errorf("after %v", time.Since(begun))
		}
		g.store.set(func(s *faulty) { s.find = nil })
		for _, x := range running {
			x.Doubt("over")
		}
	})
}
