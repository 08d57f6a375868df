package main

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is the whole instruction for one load generator, as JSON on its standard input.
type load struct {
	Addresses   []string      `json:"addresses"` // connections are spread over them
	Workload    workload      `json:"workload"`
	Cell        string        `json:"cell"` // by which the backend counts
	Connections int           `json:"connections"`
	Rate        float64       `json:"rate"`     // arrivals per second of an open loop; 0: a closed one
	WarmUp      time.Duration `json:"warm_up"`  // not measured, but checked like the rest
	Duration    time.Duration `json:"duration"` // measured
	Keys        keySet        `json:"keys"`     // of workloads that repeat keys
	Expect      expectation   `json:"expect"`
	Profile     string        `json:"profile"` // file for a CPU profile, or empty
}

// expectation is what every single answer must look like.
type expectation struct {
	Status   int    `json:"status"`
	State    string `json:"state"`    // Idempotency-State; empty if there must be none
	Replayed string `json:"replayed"` // Idempotent-Replayed; empty if there must be none
}

// outcome is what a load generator reports, as JSON on its standard output.
type outcome struct {
	Answered int           `json:"answered"` // all requests, warm-up included; every one was answered as expected
	Measured uint64        `json:"measured"` // answered within the measured time
	Elapsed  time.Duration `json:"elapsed"`  // from the first request to the last answer
	P50      time.Duration `json:"p50"`
	P90      time.Duration `json:"p90"`
	P99      time.Duration `json:"p99"`
	P999     time.Duration `json:"p999"`
	Max      time.Duration `json:"max"`
	CPU      time.Duration `json:"cpu"` // of the load generator itself, user and system
}

// run sends the load, one request at a time on each connection: in a closed loop the next as soon as the
// answer is in, in an open one whatever has arrived meanwhile. It stops when the time is over, and waits
// for what is under way, so that every request has been answered. The first wrong answer ends it with an
// error.
func (l load) run(ctx context.Context) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clients := make([]*client, l.Connections)
	sources := l.sources()
	for i := range clients {
		addr := l.Addresses[i%len(l.Addresses)]
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return outcome{}, err
		}
		defer conn.Close()
		clients[i] = newClient(conn, addr, l, sources())
	}
	context.AfterFunc(ctx, func() {
		for _, c := range clients {
			c.conn.SetDeadline(time.Unix(1, 0))
		}
	})
	begin := time.Now()
	cpu := processCPU()
	window := window{from: begin.Add(l.WarmUp), to: begin.Add(l.WarmUp + l.Duration)}
	loop := func(c *client) error { return c.closedLoop(window) }
	var wg sync.WaitGroup
	if l.Rate > 0 {
		arrivals := make(chan time.Time, int(l.Rate*(l.WarmUp+l.Duration).Seconds()*2)+1000) // the schedule never waits for answers
		loop = func(c *client) error { return c.openLoop(arrivals, window) }
		wg.Go(func() {
			defer close(arrivals)
			arrive(ctx, arrivals, l.Rate, begin, window.to)
		})
	}
	for _, c := range clients {
		wg.Go(func() {
			if err := loop(c); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return outcome{}, err
	}
	o := outcome{Elapsed: time.Since(begin), CPU: processCPU() - cpu}
	var all histogram
	for _, c := range clients {
		o.Answered += c.answered
		all.merge(&c.latency)
	}
	o.Measured, o.Max = all.total, all.max
	o.P50, o.P90, o.P99, o.P999 = all.quantile(.5), all.quantile(.9), all.quantile(.99), all.quantile(.999)
	return o, nil
}

// sources returns a function that makes the key source of one more connection.
func (l load) sources() func() keySource {
	switch l.Workload.shape().keys {
	case freshKey:
		return func() keySource { return freshKeys{newRandom()} }
	case eachOnce:
		keys, used := l.Keys.keys(), new(atomic.Int64)
		return func() keySource { return primeKeys{keys, used} }
	case hotKeys, allKeys:
		keys := l.Keys.keys()
		return func() keySource { return replayKeys{keys, newRandom()} }
	default:
		return func() keySource { return noKeys{} }
	}
}

func newRandom() *rand.Rand {
	var seed [16]byte
	crand.Read(seed[:])
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:])))
}

// window is the measured time: an answer counts if it arrives within it.
type window struct{ from, to time.Time }

// arrive writes the instants at which independent users come: the gaps between them are exponentially
// distributed. It closes nothing and never waits for a reader, as arrivals has room for all of them.
func arrive(ctx context.Context, arrivals chan<- time.Time, rate float64, from, to time.Time) {
	random := newRandom()
	for at := from; ctx.Err() == nil; {
		at = at.Add(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
		if at.After(to) {
			return
		}
		time.Sleep(time.Until(at))
		select {
		case arrivals <- at:
		default:
			return // twice as many as there should be in all this time: cannot happen
		}
	}
}

// client is one connection: it owns its request bytes and patches the key in place.
type client struct {
	conn     net.Conn
	in       *reader
	request  []byte
	key      []byte // inside request; empty for requests without one
	source   keySource
	expect   expectation
	timed    bool // ends by the clock, not by the source
	answered int
	latency  histogram
}

func newClient(conn net.Conn, host string, l load, source keySource) *client {
	s := l.Workload.shape()
	c := &client{conn: conn, in: newReader(conn), source: source, expect: l.Expect, timed: s.keys != eachOnce}
	before, after := s.request(host, l.Cell)
	if s.keys == noKey {
		c.request = []byte(before + after)
		return c
	}
	c.request = []byte(before + strings.Repeat("0", keyLength) + after)
	c.key = c.request[len(before) : len(before)+keyLength]
	return c
}

func (c *client) closedLoop(w window) error {
	now := time.Now()
	for c.answered == 0 || !c.timed || now.Before(w.to) { // one at least, however late it began
		if !c.source.next(c.key, now) {
			return nil
		}
		if err := c.exchange(); err != nil {
			return err
		}
		sent := now
		now = time.Now()
		c.answered++
		if now.After(w.from) && now.Before(w.to) {
			c.latency.record(now.Sub(sent))
		}
	}
	return nil
}

// openLoop counts latencies from arrival: whoever had to wait for a free connection, or for a pause of
// the generator, has waited. All who arrived in the measured time count, however late their answer is.
func (c *client) openLoop(arrivals <-chan time.Time, w window) error {
	for at := range arrivals {
		c.source.next(c.key, at)
		if err := c.exchange(); err != nil {
			return err
		}
		c.answered++
		if at.After(w.from) {
			c.latency.record(time.Since(at))
		}
	}
	return nil
}

func (c *client) exchange() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	h, body, err := c.in.next()
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return c.expect.check(&h, body, c.key)
}

// check compares one answer with what it must be. The key must be echoed in the content: an answer
// that belongs to another request is the worst thing an idempotency layer can give.
func (e expectation) check(h *head, body, key []byte) error {
	switch {
	case h.status() != e.Status:
		return fmt.Errorf("status %d, want %d: %.300s", h.status(), e.Status, body)
	case h.length < 0:
		return fmt.Errorf("answer without Content-Length")
	case string(h.state) != e.State:
		return fmt.Errorf("Idempotency-State is %q, want %q: %.300s", h.state, e.State, body)
	case string(h.replayed) != e.Replayed:
		return fmt.Errorf("Idempotent-Replayed is %q, want %q", h.replayed, e.Replayed)
	case len(body) == 0:
		return fmt.Errorf("answer has no content")
	case len(key) > 0 && !bytes.Contains(body, key):
		return fmt.Errorf("answer does not belong to key %s: %.300s", key, body)
	}
	return nil
}
