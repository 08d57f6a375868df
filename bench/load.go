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

// workload is what a load generator sends.
type workload string

const (
	fresh  workload = "fresh"  // POSTs, each with a key of its own
	replay workload = "replay" // POSTs with keys that have been answered before, few enough to be in memory
	cold   workload = "cold"   // the same with so many keys that hardly any is
	get    workload = "get"    // GETs, which no idempotency layer touches
	prime  workload = "prime"  // the POSTs that replay and cold repeat, each once; not measured
)

func (w workload) replays() bool { return w == replay || w == cold }

// load is the whole instruction for one load generator, as JSON on its standard input.
type load struct {
	Address     string        `json:"address"`
	Workload    workload      `json:"workload"`
	Connections int           `json:"connections"`
	WarmUp      time.Duration `json:"warm_up"`  // not measured, but checked like the rest
	Duration    time.Duration `json:"duration"` // measured
	Keys        keySet        `json:"keys"`     // of replay, cold and prime
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
	Max      time.Duration `json:"max"`
	CPU      time.Duration `json:"cpu"` // of the load generator itself, user and system
}

// run sends the load: one request at a time on each connection, the next as soon as the answer is in.
// It stops sending when the time is over, and waits for what is under way, so that every request that
// was sent has been answered. The first wrong answer ends it with an error.
func (l load) run(ctx context.Context) (outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	clients := make([]*client, l.Connections)
	sources := l.sources()
	for i := range clients {
		conn, err := net.Dial("tcp", l.Address)
		if err != nil {
			return outcome{}, err
		}
		defer conn.Close()
		clients[i] = newClient(conn, l, sources())
	}
	context.AfterFunc(ctx, func() {
		for _, c := range clients {
			c.conn.SetDeadline(time.Unix(1, 0))
		}
	})
	begin := time.Now()
	cpu := processCPU()
	window := window{from: begin.Add(l.WarmUp), to: begin.Add(l.WarmUp + l.Duration)}
	var wg sync.WaitGroup
	for _, c := range clients {
		wg.Go(func() {
			if err := c.loop(window); err != nil {
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
	o.P50, o.P90, o.P99 = all.quantile(.5), all.quantile(.9), all.quantile(.99)
	return o, nil
}

// sources returns a function that makes the key source of one more connection.
func (l load) sources() func() keySource {
	switch l.Workload {
	case fresh:
		return func() keySource { return freshKeys{newRandom()} }
	case prime:
		keys, used := l.Keys.keys(), new(atomic.Int64)
		return func() keySource { return primeKeys{keys, used} }
	case replay, cold:
		keys := l.Keys.keys()
		return func() keySource { return replayKeys{keys, newRandom()} }
	case get:
		return func() keySource { return noKeys{} }
	}
	panic("no such workload: " + l.Workload)
}

func newRandom() *rand.Rand {
	var seed [16]byte
	crand.Read(seed[:])
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(seed[:]), binary.LittleEndian.Uint64(seed[8:])))
}

// window is the measured time: an answer counts if it arrives within it.
type window struct{ from, to time.Time }

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

func newClient(conn net.Conn, l load, source keySource) *client {
	c := &client{conn: conn, in: newReader(conn), source: source, expect: l.Expect, timed: l.Workload != prime}
	if l.Workload == get {
		c.request = []byte("GET /orders/1 HTTP/1.1\r\nHost: " + l.Address + "\r\nAccept: application/json\r\n\r\n")
		return c
	}
	body := orderBody()
	headers := fmt.Sprintf("POST /orders HTTP/1.1\r\nHost: %s\r\nAccept: application/json\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\nIdempotency-Key: ", l.Address, len(body))
	c.request = []byte(headers + strings.Repeat("0", keyLength) + "\r\n\r\n" + body)
	c.key = c.request[len(headers) : len(headers)+keyLength]
	return c
}

// orderBody returns the content of every POST: JSON of about 1 KiB.
func orderBody() string {
	var b strings.Builder
	b.WriteString(`{"customer":"c-1029384756","currency":"EUR","items":[`)
	for i := range 12 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"sku":"SKU-%06d","quantity":%d,"price":"%d.99","note":"gift wrapped"}`, 100000+i*7919, i+1, 10+i)
	}
	b.WriteString(`],"address":{"street":"1 Example Street","city":"Exampletown","country":"NL"}}`)
	return b.String()
}

func (c *client) loop(w window) error {
	now := time.Now()
	for !c.timed || now.Before(w.to) {
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

func (c *client) exchange() error {
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	h, body, err := c.in.next()
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if err := c.expect.check(&h, body, c.key); err != nil {
		return err
	}
	return nil
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
