package main

import (
	"testing"
	"time"

	"github.com/onceway/onceway/idempotency"
)

func TestRecordCacheIsCleared(t *testing.T) {
	c := newRecordCache()
	r := idempotency.Record{ID: idempotency.OperationID{1}, State: idempotency.Completed, Response: idempotency.NewResponse(200, nil, []byte("made"))}
	c.Put(r, time.Hour)
	if got, ok := c.Get(r.ID); !ok || string(got.Response.Body) != "made" {
		t.Fatalf("%v, %v", got, ok)
	}
	c.Clear()
	if _, ok := c.Get(r.ID); ok {
		t.Error("a record is there after Clear")
	}
	c.Put(r, time.Hour)
	if _, ok := c.Get(r.ID); !ok {
		t.Error("nothing can be put after Clear")
	}
}
