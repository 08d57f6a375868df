package gateway

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// loader is one answer in a file: what load of it does, in a bubble of its own time.
type loader struct {
	done  func() // nil as long as it waits
	after time.Duration
}

func goLoad(ctx context.Context, b *budget, n int64) *loader {
	l, start := new(loader), time.Now()
	go func() {
		done := b.load(ctx, n)
		l.done, l.after = done, time.Since(start)
	}()
	synctest.Wait()
	return l
}

// Answers from files are recorded side by side as far as their bytes allow, in their order.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &budget{limit: 1000, loading: turns{limit: 100}, patience: time.Hour}
		first, second := goLoad(t.Context(), b, 60), goLoad(t.Context(), b, 40)
		if first.done == nil || second.done == nil {
			t.Fatal("what fits has to wait")
		}
		large, small := goLoad(t.Context(), b, 500), goLoad(t.Context(), b, 1)
		second.done()
		synctest.Wait()
		if large.done != nil || small.done != nil {
			t.Error("what does not fit does not wait, or one overtook another")
		}
		first.done()
		synctest.Wait()
		if large.done == nil || small.done != nil {
			t.Fatal("one that is larger than all turns has its turn alone")
		}
		large.done()
		synctest.Wait()
		if small.done == nil {
			t.Fatal("it still waits")
		}
		small.done()
		if held := b.loading.held; held != 0 || b.used.Load() != 0 {
			t.Errorf("%d bytes of turns and %d of the budget are not given back", held, b.used.Load())
		}
	})
}

// However long a store takes for those before it, an answer waits for its turn no longer than patience, its
// attempt's deadline, or the end of a drain. Then it goes over the budget, which counts.
func TestNoTurnInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &budget{limit: 1000, loading: turns{limit: 100}, patience: 5 * time.Second}
		held := goLoad(t.Context(), b, 100)
		deadline, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		drain, giveUp := context.WithCancel(t.Context())
		giveUp()
		waiting := []*loader{
			goLoad(t.Context(), b, 400), goLoad(t.Context(), b, 400), goLoad(t.Context(), b, 400),
			goLoad(deadline, b, 400), goLoad(drain, b, 400),
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, most := range []time.Duration{5 * time.Second, 5 * time.Second, 5 * time.Second, time.Second, 0} {
			if l := waiting[i]; l.done == nil || l.after != most {
				t.Fatalf("answer %d waited for %v, in vain: %v; want %v", i, l.after, l.done == nil, most)
			}
		}
		if b.used.Load() != 2000 || b.takeRequest(1, 0) {
			t.Errorf("what is over the budget does not count: %d", b.used.Load())
		}
		for _, l := range append(waiting, held) {
			l.done()
		}
		if held := b.loading.held; held != 0 || b.used.Load() != 0 {
			t.Errorf("%d bytes of turns and %d of the budget are not given back", held, b.used.Load())
		}
	})
}

// One that gives up lets in what stood behind it.
func TestTurnBehindOneThatGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &budget{limit: 1000, loading: turns{limit: 100}, patience: time.Hour}
		goLoad(t.Context(), b, 60)
		ctx, cancel := context.WithCancel(t.Context())
		goLoad(ctx, b, 50)
		behind := goLoad(t.Context(), b, 40)
		cancel()
		synctest.Wait()
		if behind.done == nil {
			t.Error("it still waits")
			time.Sleep(time.Hour)
			synctest.Wait()
		}
	})
}
