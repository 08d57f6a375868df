package idempotency_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// says asks about a record, and is told its state.
func (g *gateway) says(t *testing.T, r idempotency.Request, want idempotency.State) idempotency.Record {
	t.Helper()
	rec, err := g.engine.Await(t.Context(), r.ID, 0, anything)
	if err != nil || rec.State != want {
		t.Errorf("asked about a record: %v, %v; want %v", rec.State, err, want)
	}
	return rec
}

// What was completed, or read, here within the last minute is answered without a look at the store; what is
// another caller's is not.
func TestCompletedRecordsAreRecalled(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		order := request("order")
		other := order
		other.Operation.Caller = "bob"
		other.ID = other.Operation.ID()
		a.begin(t, order, idempotency.Granted).Execution.Complete(answer("made"))
		for _, g := range []*gateway{a, b} {
			first := g.says(t, order, idempotency.Completed)
			looks := g.store.looks()
			for range 3 {
				if rec := g.says(t, order, idempotency.Completed); rec.Revision != first.Revision || string(rec.Response.Body) != "made" {
					t.Errorf("%+v", rec)
				}
			}
			if n := g.store.looks() - looks; n != 0 {
				t.Errorf("%d looks at a record that cannot change", n)
			}
			g.says(t, other, idempotency.Unseen)
			looks = g.store.looks()
			time.Sleep(time.Minute)
			g.says(t, order, idempotency.Completed)
			if n := g.store.looks() - looks; n != 1 {
				t.Errorf("%d looks after a minute", n)
			}
		}
		// Whoever has it and waits for what comes next is not answered with what he has.
		c := b.awaits(t.Context(), order, 10*time.Second, func(r idempotency.Record) bool { return r.State != idempotency.Completed })
		time.Sleep(5 * time.Second)
		a.acknowledge(t, order, idempotency.Forgotten)
		if o := <-c; o.err != nil || o.Record.State != idempotency.Forgotten || o.took > 8*time.Second {
			t.Errorf("%v, %v after %v", o.Record.State, o.err, o.took)
		}
		b.says(t, order, idempotency.Forgotten)
		b.engine.CloseWatches()
	})
}

// A gateway that has been heard to say that an answer is forgotten never shows it again, however it came to know,
// and whoever else has just read or made the answer.
func TestForgottenStaysForgotten(t *testing.T) {
	order := request("order")
	for name, learn := range map[string]func(t *testing.T, g *gateway, feed *idempotency.Feed){
		"acknowledgement": func(t *testing.T, g *gateway, _ *idempotency.Feed) { g.acknowledge(t, order, idempotency.Forgotten) },
		"query": func(t *testing.T, g *gateway, _ *idempotency.Feed) {
			recs, err := g.engine.AwaitAll(t.Context(), []idempotency.OperationID{order.ID}, 0, anything)
			if err != nil || recs[0].State != idempotency.Forgotten {
				t.Errorf("%v, %v", recs, err)
			}
		},
		"operator": func(t *testing.T, g *gateway, _ *idempotency.Feed) {
			if rec, err := g.engine.Find(t.Context(), order.ID); err != nil || rec.State != idempotency.Forgotten {
				t.Errorf("%v, %v", rec.State, err)
			}
		},
		"refused transition": func(t *testing.T, g *gateway, _ *idempotency.Feed) {
			res, err := g.committer.Submit(idempotency.Cancel{Operation: order.Operation, Retention: retain}, nil)
			if err != nil || res.Record.State != idempotency.Forgotten {
				t.Errorf("%v, %v", res.Record.State, err)
			}
		},
		"list": func(t *testing.T, g *gateway, feed *idempotency.Feed) {
			r, err := feed.Open(t.Context(), order.Operation.Caller, 0, "")
			if err != nil {
				t.Fatal(err)
			}
			items, _, err := r.Read(t.Context(), 10)
			if err != nil || len(items) != 1 || items[0].Record.State != idempotency.Forgotten {
				t.Errorf("%v, %v", items, err)
			}
		},
		"stream": func(t *testing.T, g *gateway, feed *idempotency.Feed) {
			r, err := feed.Open(t.Context(), order.Operation.Caller, 0, "")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Leave()
			items, _, err := r.Follow(t.Context(), 10, nil)
			if err != nil || len(items) != 1 || items[0].Record.State != idempotency.Forgotten {
				t.Errorf("%v, %v", items, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			pair(t, func(t *testing.T, a, b *gateway) {
				feed := b.engine.NewFeed(b.store.Model, idempotency.FeedOptions{Keep: feedKeep})
				defer feed.Close()
				a.begin(t, order, idempotency.Granted).Execution.Complete(answer("made"))
				late := b.readsLate(t, order)
				b.begin(t, order, idempotency.Replay)
				b.says(t, order, idempotency.Completed)
				time.Sleep(time.Millisecond)
				a.acknowledge(t, order, idempotency.Forgotten)
				learn(t, b, feed)
				b.says(t, order, idempotency.Forgotten)
				time.Sleep(time.Millisecond)
				if rec := late(); rec.State != idempotency.Completed {
					t.Fatalf("read %v", rec.State)
				}
				b.says(t, order, idempotency.Forgotten)
				b.begin(t, order, idempotency.NoBody)
			})
		})
	}
}

// readsLate reads a record now and returns it only when late is called.
func (g *gateway) readsLate(t *testing.T, r idempotency.Request) (late func() idempotency.Record) {
	release, read := make(chan struct{}), make(chan idempotency.Record, 1)
	g.store.set(func(s *faulty) { s.found = func() { <-release } })
	go func() {
		recs, err := g.engine.FindAll(context.WithoutCancel(t.Context()), []idempotency.OperationID{r.ID})
		if err != nil {
			t.Error(err)
		}
		read <- recs[0]
	}()
	synctest.Wait()
	g.store.set(func(s *faulty) { s.found = nil })
	return func() idempotency.Record {
		close(release)
		return <-read
	}
}

// The attempt's own answer is acknowledged before the attempt has heard that it is stored.
func TestAcknowledgedBeforeItsAttemptHears(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		order := request("order")
		x := a.begin(t, order, idempotency.Granted).Execution
		stored, release := make(chan struct{}), make(chan struct{})
		a.store.breakBy(once(only[idempotency.Complete](func(_ context.Context, _ []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			res, err := apply()
			close(stored)
			<-release
			return res, err
		})))
		done := make(chan idempotency.Outcome)
		go func() { done <- x.Complete(answer("made")) }()
		<-stored
		time.Sleep(time.Millisecond)
		b.acknowledge(t, order, idempotency.Forgotten)
		a.says(t, order, idempotency.Forgotten)
		close(release)
		if o := <-done; o.Err != nil || o.Record.State != idempotency.Completed {
			t.Fatalf("%v, %v", o.Record.State, o.Err)
		}
		a.says(t, order, idempotency.Forgotten)
	})
}

// An answer that contradicts a completed record makes another revision of it, which nobody is shown the former after.
func TestContradictedRecordsAreNotRecalled(t *testing.T) {
	pair(t, func(t *testing.T, a, b *gateway) {
		order := request("order")
		a.begin(t, order, idempotency.Granted).Execution.Complete(answer("made"))
		before := b.says(t, order, idempotency.Completed).Revision
		other := idempotency.Attempt{Operation: order.ID, ID: idempotency.NewAttemptID()}
		res, err := a.committer.Submit(idempotency.Complete{Attempt: other, Response: answer("other"), Retention: retain}, nil)
		if err != nil || !res.Record.Contradicted || res.Record.Revision <= before {
			t.Fatalf("%+v, %v", res.Record, err)
		}
		if _, err := b.engine.FindAll(t.Context(), []idempotency.OperationID{order.ID}); err != nil {
			t.Error(err)
		}
		for _, g := range []*gateway{a, b} {
			if rec := g.says(t, order, idempotency.Completed); rec.Revision != res.Record.Revision || string(rec.Response.Body) != "made" {
				t.Errorf("revision %d, %q; want revision %d", rec.Revision, rec.Response.Body, res.Record.Revision)
			}
		}
	})
}
