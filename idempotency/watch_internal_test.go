package idempotency

import (
	"testing"
	"time"
)

// Whoever writes does not wait while the watches are walked through.
func TestAWriteDoesNotWaitForWatches(t *testing.T) {
	ws := newWatches(nil, 0, nil)
	id := OperationID{1}
	s := ws.sit(id)
	ws.mu.Lock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		ws.changed(id)
		ws.changed(OperationID{2})
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Error("a write waits for the lock of all watches")
	}
	ws.mu.Unlock()
	<-done
	if !s.w.dirty.Load() {
		t.Error("the change is not noted")
	}
	s.leave()
}
