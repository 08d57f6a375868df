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

// reader is a store whose reads for those who only ask stop at a gate, if it is closed, after they have read.
type reader struct {
	*faulty
	gate chan struct{}
	fail func(ctx context.Context, ids []idempotency.OperationID) error
	read [][]idempotency.OperationID
}

func (s *reader) Ask(ctx context.Context, ids []idempotency.OperationID) ([]idempotency.Record, error) {
	s.mu.Lock()
	s.read = append(s.read, slices.Clone(ids))
	gate, fail := s.gate, s.fail
	s.mu.Unlock()
	if fail != nil {
		if err := fail(ctx, ids); err != nil {
			return nil, err
		}
	}
	records, err := s.Model.Find(ctx, ids)
	if gate != nil {
		<-gate
	}
	return records, err
}

func (s *reader) reads() [][]idempotency.OperationID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.read)
}

func (s *reader) about(id idempotency.OperationID, err func(ctx context.Context) error) {
	s.fail = func(ctx context.Context, ids []idempotency.OperationID) error {
		if slices.Contains(ids, id) {
			return err(ctx)
		}
		return nil
	}
}

// reading runs a test on a gateway that remembers nothing.
func reading(t *testing.T, test func(t *testing.T, g *gateway, s *reader)) {
	t.Helper()
	bubble(t, func(t *testing.T, g *gateway) {
		s := &reader{faulty: g.store}
		g.engine = idempotency.NewEngine(s, g.committer, g.lease, nil)
		test(t, g, s)
	})
}

func anything(idempotency.Record) bool { return true }

// asks is Await without a wait, in a goroutine of its own.
func (g *gateway) asks(t *testing.T, r idempotency.Request) <-chan told {
	return g.awaits(t.Context(), r, 0, anything)
}

// However many ask about different records while a read is on its way, the store is asked a few times.
func TestLookUpsShareReads(t *testing.T) {
	reading(t, func(t *testing.T, g *gateway, s *reader) {
		const many = 1000
		var all []<-chan told
		s.gate = make(chan struct{})
		for i := range many {
			all = append(all, g.asks(t, request(name(i))))
		}
		synctest.Wait()
		close(s.gate)
		for i, c := range all {
			if o := <-c; o.err != nil || o.Record.ID != request(name(i)).ID || o.Record.State != idempotency.Unseen {
				t.Fatalf("%v, %v of %v", o.err, o.Record.State, o.Record.ID)
			}
		}
		if n := len(s.reads()); n > many/32+8 {
			t.Errorf("%d reads for %d look-ups", n, many)
		}
		for _, ids := range s.reads() {
			if len(ids) > 32 {
				t.Errorf("%d records at once", len(ids))
			}
		}
	})
}

// However many ask about one record, it is read a few times, and a lone look-up waits for nobody.
func TestLookUpsOfOneRecord(t *testing.T) {
	reading(t, func(t *testing.T, g *gateway, s *reader) {
		if o := <-g.asks(t, request("order")); o.err != nil || o.took != 0 {
			t.Errorf("%v after %v", o.err, o.took)
		}
		s.set(func(*faulty) { s.gate = make(chan struct{}) })
		first := g.asks(t, request("order"))
		synctest.Wait()
		var rest []<-chan told
		for range 500 {
			rest = append(rest, g.asks(t, request("order")))
		}
		synctest.Wait()
		close(s.gate)
		for _, c := range append(rest, first) {
			if o := <-c; o.err != nil {
				t.Fatal(o.err)
			}
		}
		for _, ids := range s.reads() {
			if len(ids) != 1 {
				t.Errorf("a record was read %d times at once", len(ids))
			}
		}
		if n := len(s.reads()); n > 6 {
			t.Errorf("%d reads of one record", n)
		}
	})
}

// A read that began before somebody came may have seen less than he has been told. It does not answer him.
func TestALookUpIsNotAnsweredByAnEarlierRead(t *testing.T) {
	reading(t, func(t *testing.T, g *gateway, s *reader) {
		order := request("order")
		x := g.begin(t, order, idempotency.Granted).Execution
		s.set(func(*faulty) { s.gate = make(chan struct{}) })
		early := g.asks(t, order)
		synctest.Wait()
		for range 7 {
			g.asks(t, order)
		}
		time.Sleep(10 * time.Millisecond) // they have read, and were not told; with so many on their way nothing begins for one more
		x.Complete(answer("made"))
		late := g.asks(t, order)
		synctest.Wait()
		close(s.gate)
		if o := <-early; o.Record.State != idempotency.Executing {
			t.Errorf("who came before the answer saw %v", o.Record.State)
		}
		if o := <-late; o.Record.State != idempotency.Completed {
			t.Errorf("who came after the answer saw %v", o.Record.State)
		}
	})
}

// What makes a read fail is told to whom it concerns.
func TestAFailingLookUpFailsAlone(t *testing.T) {
	reading(t, func(t *testing.T, g *gateway, s *reader) {
		s.about(request("bad").ID, func(context.Context) error { return errBroken })
		s.gate = make(chan struct{})
		var good []<-chan told
		for i := range 8 { // so many that one more waits for company, whichever is taken first
			good = append(good, g.asks(t, request("first "+name(i))))
		}
		synctest.Wait()
		bad := g.asks(t, request("bad"))
		synctest.Wait()
		for i := range 20 {
			good = append(good, g.asks(t, request(name(i))))
		}
		synctest.Wait()
		close(s.gate)
		for _, c := range good {
			if o := <-c; o.err != nil {
				t.Errorf("%v for a record with which nothing is wrong", o.err)
			}
		}
		if o := <-bad; !errors.Is(o.err, errBroken) {
			t.Errorf("%v", o.err)
		}
	})
}

// A read that hangs holds those it has taken, for their own time, and no others.
func TestAReadThatHangs(t *testing.T) {
	reading(t, func(t *testing.T, g *gateway, s *reader) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		s.fail = func(ctx context.Context, ids []idempotency.OperationID) error {
			if slices.Contains(ids, request("hangs").ID) || slices.Contains(ids, request("company").ID) {
				return hang(ctx)
			}
			return nil
		}
		stuck := g.asks(t, request("hangs"))
		for range 2 { // in one read or in two, as they come; so one of four is left for others
			g.asks(t, request("company"))
		}
		time.Sleep(10 * time.Millisecond) // all of them have been taken
		for i := range 3 {
			if o := <-g.asks(t, request(name(i))); o.err != nil || o.took > 10*time.Millisecond {
				t.Errorf("%v after %v", o.err, o.took)
			}
		}
		if o := <-stuck; !errors.Is(o.err, context.DeadlineExceeded) || o.took != storeTimeout {
			t.Errorf("%v after %v", o.err, o.took)
		}
		// All of them: who comes meanwhile has his own time, and what he waited for was not begun for him.
		s.set(func(*faulty) {
			s.fail = func(ctx context.Context, _ []idempotency.OperationID) error { return hang(ctx) }
		})
		for i := range 4 {
			g.asks(t, request(name(i)))
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		begun := len(s.reads())
		if o := <-g.asks(t, request("late")); o.err == nil || o.took > storeTimeout {
			t.Errorf("%v after %v", o.err, o.took)
		}
		if n := len(s.reads()); n > begun+1 {
			t.Errorf("%d reads at once of a store that hangs", n)
		}
		time.Sleep(2 * storeTimeout)
		s.set(func(*faulty) { s.fail = nil })
		if o := <-g.asks(t, request("after")); o.err != nil || o.took != 0 {
			t.Errorf("%v after %v", o.err, o.took)
		}
	})
}

// Whoever goes is waited for by nobody, and leaves nothing.
func TestWhoAsksAndGoes(t *testing.T) {
	reading(t, func(t *testing.T, g *gateway, s *reader) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		s.fail = func(ctx context.Context, _ []idempotency.OperationID) error { <-ctx.Done(); return ctx.Err() }
		begun := time.Now()
		if _, err := g.engine.Find(ctx, request("order").ID); err != nil {
			t.Error(err) // that is another way to read
		}
		s.set(func(f *faulty) { f.find = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() } })
		if _, err := g.engine.Find(ctx, request("order").ID); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 50*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		time.Sleep(storeTimeout)
	})
}
