package idempotency

import "sync"

// flight is one operation that this process is claiming or executing. Duplicates that arrive here
// attach to it without touching the store.
type flight struct {
	// claimed is opened when the claim is confirmed or has failed; then granted, record and err are set.
	claimed latch
	granted bool
	record  Record // as the claim found or made it
	err     error

	// done is opened when the attempt's outcome is committed, or cannot be committed in time; then
	// outcome is set. Only granted flights get here.
	done    latch
	outcome Outcome
}

// Outcome is what an attempt came to, as everybody who waited for it is told.
type Outcome struct {
	Record Record
	// Answer is what the backend said, when it was an answer that is not recorded: proof that it did
	// not execute. Only those who waited on the same gateway get it.
	Answer *Response
	// Err says that the outcome could not be committed in time: nobody may be told more than "unknown".
	Err error
}

// flights is the table of executing operations, in shards so that requests rarely meet at a lock.
type flights [64]flightShard

type flightShard struct {
	mu sync.Mutex
	m  map[OperationID]*flight
}

func newFlights() *flights {
	fs := new(flights)
	for i := range fs {
		fs[i].m = make(map[OperationID]*flight)
	}
	return fs
}

func (fs *flights) shard(id OperationID) *flightShard { return &fs[int(id[0])%len(fs)] }

// join returns the flight of id, and whether the caller has just opened it and has to claim.
func (fs *flights) join(id OperationID) (f *flight, opened bool) {
	s := fs.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.m[id]; f != nil {
		return f, false
	}
	f = new(flight)
	s.m[id] = f
	return f, true
}

// find returns the flight of id, or nil.
func (fs *flights) find(id OperationID) *flight {
	s := fs.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.m[id]
}

// leave removes f from the table; what holds f may go on using it.
func (fs *flights) leave(id OperationID, f *flight) {
	s := fs.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[id] == f {
		delete(s.m, id)
	}
}
