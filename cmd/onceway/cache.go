package main

import (
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/onceway/onceway/idempotency"
)

// cachedBytes bounds the memory of completed records that are replayed without a query.
const cachedBytes = 32 << 20

// recordCache is idempotency.Cache on otter, bounded in bytes.
type recordCache struct {
	cache *otter.Cache[idempotency.OperationID, *cachedRecord]
}

// cachedRecord is kept by pointer: the cache copies its values about.
type cachedRecord struct {
	idempotency.Record
	ttl time.Duration
}

func newRecordCache() recordCache {
	return recordCache{otter.Must(&otter.Options[idempotency.OperationID, *cachedRecord]{
		MaximumWeight: cachedBytes,
		Weigher:       weigh,
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[idempotency.OperationID, *cachedRecord]) time.Duration {
			return e.Value.ttl
		}),
	})}
}

func (c recordCache) Get(id idempotency.OperationID) (idempotency.Record, bool) {
	if r, ok := c.cache.GetIfPresent(id); ok {
		return r.Record, true
	}
	return idempotency.Record{}, false
}

func (c recordCache) Put(r idempotency.Record, ttl time.Duration) {
	c.cache.Set(r.ID, &cachedRecord{r, ttl})
}

func (c recordCache) Drop(id idempotency.OperationID) { c.cache.Invalidate(id) }

func (c recordCache) Clear() { c.cache.InvalidateAll() }

// weigh counts the bytes that a record holds; the constant stands for its fixed part and the cache's (measured).
func weigh(_ idempotency.OperationID, c *cachedRecord) uint32 {
	n := 1500 + len(c.Operation.Key) + len(c.Operation.Caller) + len(c.Target) + len(c.Response.Body)
	for name, values := range c.Response.Header {
		n += len(name) + 48
		for _, v := range values {
			n += len(v) + 16
		}
	}
	return uint32(n)
}
