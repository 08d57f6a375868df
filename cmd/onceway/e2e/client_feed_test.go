package e2e

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/onceway/onceway/client"
	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/nemesis"
	"github.com/onceway/onceway/internal/rig"
)

// A device follows the feed while others send. Its connections are cut or fall silent at random bytes, and it is
// switched off at random changes, before or after it has kept them. In the end it knows each record as it is.
func TestClientFollowsTheFeed(t *testing.T) {
	t.Parallel()
	b := ledger.Start(t)
	g := rig.Serve(t, rig.Config{Targets: []string{b.URL()}, Extra: "log: {access: false}"})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	dice := rand.New(rand.NewPCG(seed, 0))
	plans := make([]nemesis.Plan, 3)
	for i := range plans {
		fault := []nemesis.Fault{nemesis.CutFIN, nemesis.CutRST, nemesis.Freeze}[i%3]
		plans[i].Down = nemesis.Flow{After: dice.Int64N(4000), Fault: fault}
	}
	relay := between(t, g.Addr, nemesis.First(plans...))

	var keys []string
	var senders sync.WaitGroup
	send := func(n int) {
		for range n {
			r := rig.Request{Key: newKey(), Body: "a"}
			if dice.IntN(3) == 0 {
				r.Script.Then = ledger.Close
			}
			keys = append(keys, r.Key)
			senders.Go(func() { g.Do(t, r) })
		}
	}
	send(30)
	kept, cursor := map[string]client.Record{}, ""
	complete := func() bool {
		for _, key := range keys {
			if kept[key].State != "completed" && kept[key].State != "unknown" {
				return false
			}
		}
		return true
	}
	off, over := errors.New("switched off"), errors.New("over")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	starts := 0
	follow := func() error {
		starts++
		d := newDevice(t, relay.Addr(), hasty)
		feed := client.Feed{Gateway: "http://" + relay.Addr(), Since: cursor, Silence: 2 * time.Second}
		return d.Follow(ctx, feed, func(ch client.Change) error {
			when := dice.IntN(30)
			if when == 0 {
				return off
			}
			switch cursor = ch.Cursor; ch.Event {
			case client.Changed:
				if before := kept[ch.Record.Key].Revision; ch.Record.Revision < before {
					t.Errorf("revision %d of %s after %d", ch.Record.Revision, ch.Record.Key, before)
				}
				kept[ch.Record.Key] = ch.Record
			case client.Reset:
				t.Error("the cursor has expired")
			case client.Synced:
			}
			if when == 1 {
				return off
			}
			if len(keys) == 30 && len(kept) > 15 {
				send(10) // while it listens
			}
			if ch.CaughtUp && complete() && relay.Accepted() > len(plans) {
				return over
			}
			return nil
		})
	}
	err := off
	for err == off {
		err = follow()
	}
	senders.Wait()
	if err != over {
		t.Fatalf("%v, after %d changes", err, len(kept))
	}
	for _, key := range keys {
		if is := g.Get(t, recordPath(key)).Record(t); kept[key].Revision != is.Revision || kept[key].State != is.State {
			t.Errorf("%s was heard of as %s, revision %d; it is %s, revision %d", key, kept[key].State, kept[key].Revision, is.State, is.Revision)
		}
	}
	t.Logf("%d records, %d connections, %d starts", len(keys), relay.Accepted(), starts)
}
