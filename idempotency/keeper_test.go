package idempotency_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// disk is a LocalSpool in memory, with faults, that outlives engines.
type disk struct {
	mu      sync.Mutex
	entries map[idempotency.AttemptID]idempotency.Spooled
	full    error
	hang    chan struct{} // if not nil, a Put waits for its end
	damaged bool          // what is read is
	stuck   bool          // nothing can be removed
	ill     error         // what a Get says
	gets    int
	put     func() // called within Put, before it returns
	news    []idempotency.SpoolNews
}

func newDisk() *disk { return &disk{entries: map[idempotency.AttemptID]idempotency.Spooled{}} }

func (d *disk) Put(s idempotency.Spooled) error {
	d.mu.Lock()
	hang, put := d.hang, d.put
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	if put != nil {
		put()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full != nil {
		return d.full
	}
	d.entries[s.Record.Attempt.ID] = s
	return nil
}

func (d *disk) Get(a idempotency.AttemptID) (idempotency.Spooled, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gets++
	if d.ill != nil {
		return idempotency.Spooled{}, d.ill
	}
	s, ok := d.entries[a]
	switch {
	case !ok:
		return s, idempotency.ErrNotSpooled
	case d.damaged:
		delete(d.entries, a)
		return idempotency.Spooled{}, idempotency.ErrDamaged
	}
	return s, nil
}

func (d *disk) reads() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gets
}

func (d *disk) Remove(a idempotency.AttemptID) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stuck {
		return errBroken
	}
	delete(d.entries, a)
	return nil
}

func (d *disk) List() (list []idempotency.SpooledEntry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.entries {
		list = append(list, s.Entry())
	}
	return list
}

func (d *disk) Spooled(_ idempotency.OperationID, news idempotency.SpoolNews, _ error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.news = append(d.news, news)
}

func (d *disk) set(f func(*disk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

func (d *disk) wants(t *testing.T, entries int, news ...idempotency.SpoolNews) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.entries) != entries {
		t.Errorf("%d entries in the spool, want %d", len(d.entries), entries)
	}
	if !slices.Equal(d.news, news) {
		t.Errorf("the spool's news are %v, want %v", d.news, news)
	}
}

// spooling runs a test on one gateway with a spool.
func spooling(t *testing.T, test func(t *testing.T, g *gateway, d *disk)) {
	t.Helper()
	bubble(t, func(t *testing.T, g *gateway) {
		d := newDisk()
		g.use(t, d)
		test(t, g, d)
	})
}

func (g *gateway) use(t *testing.T, d *disk) {
	g.engine.UseSpool(d, d)
	t.Cleanup(func() {
		if err := g.engine.CloseSpool(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// another runs one more gateway on g's store, and gives it the spool.
func (g *gateway) another(t *testing.T, d *disk) *gateway {
	t.Helper()
	other := start(t, g.store.Model, idempotency.CommitterOptions{})
	if d != nil {
		other.use(t, d)
	}
	return other
}

// die ends what g does, as a killed process does: nothing of it reaches the store any more.
func (g *gateway) die(t *testing.T) {
	t.Helper()
	g.store.breakBy(failBefore)
	g.committer.Stop()
	if err := g.lease.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (g *gateway) told(t *testing.T, o idempotency.Outcome, body string) {
	t.Helper()
	if o.Err != nil || o.Record.State != idempotency.Completed || o.Record.Response == nil || string(o.Record.Response.Body) != body {
		t.Fatalf("told %v, %v", o.Record.State, o.Err)
	}
}

// The store is gone: the client, whoever waited and whoever asks here gets the answer; others hear that
// nobody knows. Once the store is back the record is completed.
func TestAnswerIsToldFromTheSpool(t *testing.T) {
	for name, fault := range map[string]hook{"refuses connections": failBefore, "swallows": blackHole, "takes back": takeBack, "refuses": refuse} {
		t.Run(name, func(t *testing.T) {
			spooling(t, func(t *testing.T, g *gateway, d *disk) {
				r := request("order")
				claimed := g.begin(t, r, idempotency.Granted)
				waiter := g.begin(t, r, idempotency.Busy)
				g.store.breakBy(fault)
				g.store.set(func(s *faulty) {
					s.find, s.renew = func(context.Context) error { return errBroken }, func() error { return errBroken }
				})
				begun := time.Now()
				g.told(t, claimed.Execution.Complete(answer("made")), "made")
				if took := time.Since(begun); took > storeTimeout {
					t.Errorf("told after %v", took)
				}
				o, settled := g.wait(t, waiter, time.Second)
				if !settled {
					t.Error("the waiter was not told")
				}
				g.told(t, o, "made")
				d.wants(t, 1, idempotency.SpoolKept)
				if g.engine.Running() != 0 {
					t.Error("a drain would wait for an answer that is safe")
				}
				other := g.another(t, nil)
				for range 20 { // past lease, and past what was refused
					replay := g.begin(t, r, idempotency.Replay)
					if string(replay.Record.Response.Body) != "made" || replay.Record.Attempt.N != 1 {
						t.Error("another answer")
					}
					if rec, err := g.engine.Find(t.Context(), r.ID); err != nil || rec.State != idempotency.Completed {
						t.Errorf("the record is %v, %v", rec.State, err)
					}
					if d, err := other.engine.Begin(t.Context(), r); err != nil || d.Ruling != idempotency.Busy && d.Ruling != idempotency.InDoubt {
						t.Errorf("another gateway says %v, %v", d.Ruling, err)
					}
					time.Sleep(3 * time.Second)
				}
				different := r
				different.Fingerprint = printOf(2)
				g.begin(t, different, idempotency.Mismatch)
				g.store.set(func(s *faulty) { s.find, s.renew = nil, nil })
				g.store.breakBy(refuse)
				time.Sleep(5 * time.Second)
				g.begin(t, r, idempotency.Replay)
				g.store.heal()
				time.Sleep(2 * time.Minute)
				if rec := g.store.wants(r.ID, idempotency.Completed); string(rec.Response.Body) != "made" || rec.Contradicted {
					t.Error("the store has another answer")
				}
				d.wants(t, 0, idempotency.SpoolKept, idempotency.SpoolRecorded)
				g.begin(t, r, idempotency.Replay)
				other.begin(t, r, idempotency.Replay)
			})
		})
	}
}

// An answer in the spool is not an attempt that this process has lost track of.
func TestOwnRecordWhoseAnswerIsInTheSpoolIsNotDoubted(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(only[idempotency.Complete](failBefore))
		g.told(t, x.Complete(answer("made")), "made")
		g.reconcile(t)
		g.store.heal()
		time.Sleep(10 * time.Second)
		if n := g.store.applied(is[idempotency.Doubt]); n != 0 {
			t.Errorf("%d doubts", n)
		}
		g.store.wants(request("order").ID, idempotency.Completed)
	})
}

// The store took it, and did not say so: there is nothing to tell but what is stored.
func TestAnswerThatTheStoreTookUnheard(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(only[idempotency.Complete](func(c context.Context, ts []idempotency.Transition, apply next) ([]idempotency.Result, error) {
			_, _ = apply()
			return blackHole(c, ts, apply)
		}))
		g.told(t, x.Complete(answer("made")), "made")
		g.store.heal()
		time.Sleep(10 * time.Second)
		rec := g.store.wants(request("order").ID, idempotency.Completed)
		if rec.Revision != 2 {
			t.Errorf("revision %d", rec.Revision)
		}
		d.wants(t, 0, idempotency.SpoolKept, idempotency.SpoolRecorded)
	})
}

// The store comes back while the disk is at work.
func TestTheStoreComesBackMeanwhile(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		d.set(func(d *disk) {
			d.put = func() {
				g.store.heal()
				time.Sleep(storeTimeout - time.Millisecond)
			}
		})
		g.told(t, x.Complete(answer("made")), "made")
		g.store.wants(request("order").ID, idempotency.Completed)
		time.Sleep(time.Second)
		d.wants(t, 0, idempotency.SpoolKept, idempotency.SpoolRecorded)
		if g.engine.Running() != 0 {
			t.Error("still running")
		}
	})
}

// The store refuses the answer while the disk is at work, and takes the doubt in its stead.
func TestTheAnswerIsDoubtedMeanwhile(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		d.set(func(d *disk) {
			d.put = func() {
				g.store.breakBy(only[idempotency.Complete](refuse))
				time.Sleep(storeTimeout - time.Millisecond)
			}
		})
		g.told(t, x.Complete(answer("made")), "made")
		g.store.wants(request("order").ID, idempotency.Unknown)
		g.begin(t, request("order"), idempotency.Replay)
		g.store.heal()
		time.Sleep(2 * time.Minute)
		g.store.wants(request("order").ID, idempotency.Completed)
		d.wants(t, 0, idempotency.SpoolKept, idempotency.SpoolRecorded)
	})
}

// A proof that the store takes late lets the next retry execute.
func TestReleaseWhenTheStoreComesBack(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		if o := x.Release("dial", nil); o.Err == nil || g.engine.Running() != 1 {
			t.Fatalf("told %v, %d running", o.Record.State, g.engine.Running())
		}
		g.store.heal()
		time.Sleep(10 * time.Second)
		d.wants(t, 0, idempotency.SpoolKept, idempotency.SpoolRecorded)
		if g.engine.Running() != 0 {
			t.Error("still running")
		}
		if d := g.begin(t, request("order"), idempotency.Granted); d.Execution.Attempt().N != 2 {
			t.Errorf("attempt %d", d.Execution.Attempt().N)
		} else {
			d.Execution.Doubt("test")
		}
	})
}

// A spool that takes nothing, or not in time, leaves what there is without one: nobody is told more than
// "unknown", nothing waits longer, and the process goes on trying from memory.
func TestASpoolThatDoesNotTake(t *testing.T) {
	for name, spoil := range map[string]func(*disk){
		"full":  func(d *disk) { d.full = idempotency.ErrSpoolFull },
		"hangs": func(d *disk) { d.hang = make(chan struct{}) },
	} {
		for fault, hook := range map[string]hook{"gone": failBefore, "refuses": refuse} {
			t.Run(name+", store "+fault, func(t *testing.T) {
				spooling(t, func(t *testing.T, g *gateway, d *disk) {
					r := request("order")
					x := g.begin(t, r, idempotency.Granted).Execution
					g.store.breakBy(hook)
					d.set(spoil)
					begun := time.Now()
					if o := x.Complete(answer("made")); o.Err == nil {
						t.Fatalf("told %v", o.Record.State)
					}
					if took := time.Since(begun); took > 2*storeTimeout {
						t.Errorf("told after %v", took)
					}
					if g.engine.Running() != 1 {
						t.Error("a drain would not wait")
					}
					g.begin(t, r, idempotency.Busy)
					g.store.breakBy(refuse)
					time.Sleep(5 * time.Second)
					g.store.heal()
					time.Sleep(10 * time.Second)
					g.store.wants(r.ID, idempotency.Completed)
					d.set(func(d *disk) {
						if d.hang != nil {
							close(d.hang)
						}
					})
					time.Sleep(2 * time.Minute)
					d.mu.Lock()
					if len(d.entries) != 0 {
						t.Errorf("%d entries", len(d.entries))
					}
					d.mu.Unlock()
					if g.engine.Running() != 0 {
						t.Error("still running")
					}
					g.begin(t, r, idempotency.Replay)
				})
			})
		}
	}
}

// Unknown needs no spool, and a proof that nothing was executed is told by the store only; but it survives.
func TestWhatIsNotToldFromTheSpool(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		doubted := g.begin(t, request("doubted"), idempotency.Granted).Execution
		released := g.begin(t, request("released"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		if o := doubted.Doubt("reset"); o.Err == nil {
			t.Errorf("told %v", o.Record.State)
		}
		d.wants(t, 0)
		if o := released.Release("dial", nil); o.Err == nil {
			t.Fatalf("told %v, and the store may yet say otherwise", o.Record.State)
		}
		d.wants(t, 1, idempotency.SpoolKept)
		g.begin(t, request("released"), idempotency.Busy)
		g.die(t)
		successor := g.another(t, d)
		successor.begin(t, request("released"), idempotency.InDoubt)
		<-successor.engine.DrainSpool()
		g.store.wants(request("released").ID, idempotency.NotExecuted)
		g.store.wants(request("doubted").ID, idempotency.Unknown)
		synctest.Wait()
		d.wants(t, 0, idempotency.SpoolKept, idempotency.SpoolRecorded)
	})
}

// leftBehind is the spool of a gateway that died with answers in it.
func leftBehind(t *testing.T, g *gateway, d *disk, names ...string) {
	t.Helper()
	var all sync.WaitGroup
	var claimed []*idempotency.Execution
	for _, name := range names {
		claimed = append(claimed, g.begin(t, request(name), idempotency.Granted).Execution)
	}
	g.store.breakBy(blackHole)
	for i, x := range claimed {
		all.Go(func() { g.told(t, x.Complete(answer(names[i])), names[i]) })
	}
	all.Wait()
	g.die(t)
	d.set(func(d *disk) { d.news = nil })
}

// A process that comes back answers from the spool at once, and hands over a few at a time.
func TestTheNextProcessHandsOver(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		var names []string
		for i := range 100 {
			names = append(names, name(i))
		}
		leftBehind(t, g, d, names...)
		successor := g.another(t, d)
		successor.begin(t, request(name(7)), idempotency.Replay)
		g.store.wants(request(name(7)).ID, idempotency.Unknown)
		<-successor.engine.DrainSpool()
		for _, batch := range successor.store.recorded() {
			if len(batch) > 16 {
				t.Errorf("%d at once", len(batch))
			}
		}
		for _, n := range names {
			if r := g.store.wants(request(n).ID, idempotency.Completed); string(r.Response.Body) != n || r.Resolution != nil {
				t.Errorf("%s has the answer %q", n, r.Response.Body)
			}
			successor.begin(t, request(n), idempotency.Replay)
		}
		synctest.Wait()
		d.wants(t, 0, slices.Repeat([]idempotency.SpoolNews{idempotency.SpoolRecorded}, 100)...)
	})
}

// The store is there for the start and then gone again: nothing is lost, and nothing needs a restart.
func TestHandingOverIsInterrupted(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		leftBehind(t, g, d, "a", "b", "c")
		successor := g.another(t, d)
		successor.store.breakBy(failBefore)
		done := successor.engine.DrainSpool()
		time.Sleep(5 * time.Minute)
		successor.begin(t, request("b"), idempotency.Replay)
		successor.store.breakBy(refuse)
		<-done
		time.Sleep(5 * time.Minute)
		d.wants(t, 3)
		successor.begin(t, request("c"), idempotency.Replay)
		successor.store.heal()
		time.Sleep(2 * time.Minute)
		for _, n := range []string{"a", "b", "c"} {
			g.store.wants(request(n).ID, idempotency.Completed)
		}
		d.wants(t, 0, slices.Repeat([]idempotency.SpoolNews{idempotency.SpoolRecorded}, 3)...)
	})
}

// What an operator has said meanwhile stays, and what the spool has is kept as the table of moves says.
func TestRecordsThatMovedOnMeanwhile(t *testing.T) {
	resolve := func(v idempotency.Verdict, r *idempotency.Response) idempotency.Transition {
		return idempotency.Resolve{Operation: request("order").ID, N: 1, Verdict: v, Response: r, By: "operator:bob", Evidence: "the ledger", Retention: retain}
	}
	for _, tt := range []struct {
		name   string
		moved  idempotency.Transition
		again  bool // another attempt was made since
		news   idempotency.SpoolNews
		state  idempotency.State
		ruling idempotency.Ruling
		body   string
	}{
		{"executed, with the same answer", resolve(idempotency.VerdictExecuted, answer("order")), false, idempotency.SpoolRecorded, idempotency.Completed, idempotency.Replay, "order"},
		{"executed, with another answer", resolve(idempotency.VerdictExecuted, answer("by hand")), false, idempotency.SpoolSuperseded, idempotency.Completed, idempotency.Replay, "by hand"},
		{"executed, without an answer", resolve(idempotency.VerdictExecuted, nil), false, idempotency.SpoolRecorded, idempotency.Forgotten, idempotency.NoBody, ""},
		{"not executed", resolve(idempotency.VerdictNotExecuted, nil), false, idempotency.SpoolContradicted, idempotency.NotExecuted, idempotency.InDoubt, ""},
		{"not executed, and executed again", resolve(idempotency.VerdictNotExecuted, nil), true, idempotency.SpoolContradicted, idempotency.Completed, idempotency.Replay, "again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spooling(t, func(t *testing.T, g *gateway, d *disk) {
				leftBehind(t, g, d, "order")
				other := g.another(t, nil)
				if res, err := other.committer.Submit(tt.moved, nil); err != nil || !res.Applied {
					t.Fatalf("%v, %v", res.Applied, err)
				}
				if tt.again {
					other.begin(t, request("order"), idempotency.Granted).Execution.Complete(answer("again"))
				}
				successor := g.another(t, d)
				<-successor.engine.DrainSpool()
				synctest.Wait()
				d.wants(t, 0, tt.news)
				r := g.store.wants(request("order").ID, tt.state)
				if r.Contradicted != (tt.news == idempotency.SpoolContradicted) {
					t.Errorf("contradicted: %v", r.Contradicted)
				}
				kept := slices.ContainsFunc(g.store.Evidence(request("order").ID), func(e idempotency.Evidence) bool {
					return e.Kind == idempotency.EvidenceContradiction && e.N == 1 && e.Response != nil && string(e.Response.Body) == "order"
				})
				if kept != r.Contradicted {
					t.Errorf("the answer is kept as evidence: %v", kept)
				}
				for _, g := range []*gateway{successor, other} {
					if got := g.begin(t, request("order"), tt.ruling); tt.body != "" && string(got.Record.Response.Body) != tt.body {
						t.Errorf("told %q", got.Record.Response.Body)
					}
				}
			})
		})
	}
}

// Once the store has had its say, nobody is answered from an entry that the disk does not let go of.
func TestAnEntryThatStaysIsNotAnAnswer(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		leftBehind(t, g, d, "order")
		other := g.another(t, nil)
		resolve := idempotency.Resolve{Operation: request("order").ID, N: 1, Verdict: idempotency.VerdictNotExecuted, By: "operator:bob", Evidence: "the ledger", Retention: retain}
		if res, err := other.committer.Submit(resolve, nil); err != nil || !res.Applied {
			t.Fatalf("%v, %v", res.Applied, err)
		}
		d.set(func(d *disk) { d.stuck = true })
		successor := g.another(t, d)
		<-successor.engine.DrainSpool()
		successor.begin(t, request("order"), idempotency.InDoubt)
		d.wants(t, 1, idempotency.SpoolContradicted)
	})
}

// A store that lost the claim, as after a failover, gets the answer all the same.
func TestAnswerWhoseClaimWasLost(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		leftBehind(t, g, d, "order")
		empty := start(t, newModel(), idempotency.CommitterOptions{})
		empty.use(t, d)
		<-empty.engine.DrainSpool()
		time.Sleep(time.Second)
		r := empty.store.wants(request("order").ID, idempotency.Completed)
		if string(r.Response.Body) != "order" || r.Attempt.N != 1 || r.Fingerprint != printOf(1) {
			t.Errorf("%+v", r)
		}
		d.wants(t, 0, idempotency.SpoolImported)
		empty.begin(t, request("order"), idempotency.Replay)
	})
}

// A damaged entry is never answered with: the store says what is known.
func TestADamagedEntryIsNotAnAnswer(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		leftBehind(t, g, d, "order")
		successor := g.another(t, d)
		d.set(func(d *disk) { d.damaged = true })
		successor.begin(t, request("order"), idempotency.InDoubt)
		<-successor.engine.DrainSpool()
		d.wants(t, 0, idempotency.SpoolDamaged)
		g.store.wants(request("order").ID, idempotency.Unknown)
	})
}

// An answer's time runs in the spool, too.
func TestAnswersInTheSpoolExpire(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		r := request("order")
		x := g.begin(t, r, idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		g.told(t, x.Complete(answer("made")), "made")
		time.Sleep(retain.Response - time.Minute)
		g.begin(t, r, idempotency.Replay)
		time.Sleep(time.Minute)
		g.begin(t, r, idempotency.NoBody)
	})
}

// An answer too large to keep is recorded as such, and its client gets it.
func TestBodilessAnswerInTheSpool(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		if o := x.Complete(answer("large").Bodiless()); o.Err != nil || o.Record.State != idempotency.Forgotten {
			t.Fatalf("told %v, %v", o.Record.State, o.Err)
		}
		g.begin(t, request("order"), idempotency.NoBody)
		g.store.heal()
		time.Sleep(10 * time.Second)
		g.store.wants(request("order").ID, idempotency.Forgotten)
		d.wants(t, 0, idempotency.SpoolKept, idempotency.SpoolRecorded)
	})
}

// A process that ends while the store is gone hands its answers to its spool.
func TestTheEndOfAProcessWithoutAStore(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		late := g.begin(t, request("late"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		told := make(chan idempotency.Outcome, 1)
		go func() { told <- x.Complete(answer("made")) }()
		synctest.Wait()
		g.committer.Stop()
		g.told(t, <-told, "made")
		g.told(t, late.Complete(answer("late")), "late")
		d.wants(t, 2, idempotency.SpoolKept, idempotency.SpoolKept)
	})
}

// A disk that hangs does not keep the process.
func TestTheEndOfAProcessWhoseDiskHangs(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		d.set(func(d *disk) { d.hang = make(chan struct{}) })
		x.Complete(answer("made"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.engine.CloseSpool(ctx); err == nil {
			t.Error("no error")
		}
		close(d.hang)
	})
}

// Many answers at once, of which the spool takes some: each is told once, as one thing.
func TestManyAnswersWhileTheStoreIsGone(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		var all sync.WaitGroup
		for i := range 50 {
			x := g.begin(t, request(name(i)), idempotency.Granted).Execution
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				g.told(t, x.Complete(answer(name(i))), name(i))
			})
		}
		g.store.breakBy(blackHole)
		all.Wait()
		g.store.heal()
		time.Sleep(time.Minute)
		for i := range 50 {
			g.store.wants(request(name(i)).ID, idempotency.Completed)
		}
		if d.mu.Lock(); len(d.entries) != 0 {
			t.Errorf("%d entries", len(d.entries))
		}
		d.mu.Unlock()
	})
}

// What waits for its next offer when a process ends is left to the next one, for good.
func TestNothingIsOfferedAfterTheSpoolIsClosed(t *testing.T) {
	spooling(t, func(t *testing.T, g *gateway, d *disk) {
		x := g.begin(t, request("order"), idempotency.Granted).Execution
		g.store.breakBy(failBefore)
		g.told(t, x.Complete(answer("made")), "made")
		next := g.another(t, d)
		d.set(func(d *disk) { d.ill = errBroken })
		<-next.engine.DrainSpool()
		first := d.reads()
		time.Sleep(time.Minute)
		if d.reads() == first {
			t.Error("not offered again")
		}
		if err := next.engine.CloseSpool(t.Context()); err != nil {
			t.Fatal(err)
		}
		closed := d.reads()
		time.Sleep(10 * time.Minute)
		if n := d.reads() - closed; n != 0 {
			t.Errorf("read %d times after it was closed", n)
		}
		d.set(func(d *disk) { d.ill = nil })
	})
}
