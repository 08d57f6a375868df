package gateway

import (
	"context"
	"crypto/sha256"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/onceway/onceway/gateway/upstream"
)

// load brings an answer into memory that was put into a file only because the budget was used up: it is
// to be recorded whole. It holds memory until it is recorded, so it waits for its turn, but not for
// long (see budget.load). done is to be called when it is recorded.
func (e *exchange) load(deadline time.Time, a upstream.Answered) (_ upstream.Answered, done func()) {
	if a.Spill == nil || a.Length > e.b.route.Idempotency.MaxResponseBody {
		return a, func() {}
	}
	ctx, cancel := context.WithDeadline(e.g.work, deadline)
	defer cancel()
	done = e.g.bodies.load(ctx, a.Length)
	body := make([]byte, a.Length)
	if _, err := io.ReadFull(a.Spill.Reader(), body); err != nil || sha256.Sum256(body) != a.Digest {
		done()
		return a, func() {} // our own disk: the answer's digest is recorded, without its body
	}
	a.Body = body
	return a, done
}

// load reserves memory for an answer that is in a file, until done is called. It never refuses, and takes
// at most patience: a store that is slow or away keeps all turns taken, and an answer that waits for one is
// in no store and in no spool. So that its record does not become overdue while the whole answer is here, it
// does not wait beyond its attempt's deadline either, nor when a drain has run out of time, which both
// end ctx. Then it goes over the budget: too much memory for a while is the lesser evil, and as it counts,
// new requests are refused meanwhile.
func (b *budget) load(ctx context.Context, n int64) (done func()) {
	if b.loading.take(ctx, n, b.patience) {
		return func() { b.loading.give(n) }
	}
	b.Overdraw(n)
	return func() { b.Give(n) }
}

// turns bounds the bytes of answers that are in memory only to be recorded. Turns come in the order in
// which they were asked for. One larger than the limit has its turn alone.
type turns struct {
	limit int64

	mu    sync.Mutex
	held  int64
	queue []*turn
}

type turn struct {
	n   int64
	has chan struct{} // closed when it has come
}

// take waits for a turn of n bytes, and reports whether it came in time: within patience, and before ctx
// ended. Only then it is to be given back.
func (t *turns) take(ctx context.Context, n int64, patience time.Duration) bool {
	mine := &turn{n, make(chan struct{})}
	t.mu.Lock()
	t.queue = append(t.queue, mine)
	t.admit()
	t.mu.Unlock()

	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-mine.has:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return !t.leave(mine)
}

// leave takes one out of the queue, unless its turn has come at this very moment.
func (t *turns) leave(left *turn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := slices.Index(t.queue, left)
	if at < 0 {
		return false
	}
	t.queue = slices.Delete(t.queue, at, at+1)
	t.admit() // smaller ones may have stood behind it
	return true
}

func (t *turns) give(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held -= n
	t.admit()
}

// admit lets in from the head of the queue what fits.
func (t *turns) admit() {
	for len(t.queue) > 0 && (t.held == 0 || t.held+t.queue[0].n <= t.limit) {
		next := t.queue[0]
		t.queue = slices.Delete(t.queue, 0, 1)
		t.held += next.n
		close(next.has)
	}
}
