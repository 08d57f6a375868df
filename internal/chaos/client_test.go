package chaos

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// operation is what one client wants done once.
type operation struct {
	id      string // Onceway-Operation
	caller  string
	key     string
	body    string
	script  ledger.Script
	mu      sync.Mutex
	final   string // the answer that somebody has seen; empty if nobody has
	doubted bool   // somebody was told that nobody knows
}

// sent is one request of a client for an attempt, for the windows that faults meet.
type sent struct {
	op       *operation
	gateway  int
	from, to time.Time
}

// history is what all clients did and saw.
type history struct {
	began time.Time
	mu    sync.Mutex
	ops   []*operation
	calls []porcupine.Operation
	sent  []sent
	count map[string]int // answers by what they said
}

func (h *history) at(t time.Time) int64 { return int64(t.Sub(h.began)) }

// add notes a request, answered or not, and what it said.
func (h *history) add(client int, op *operation, gateway int, starts bool, from time.Time, said seen, answered bool, what string) {
	to := time.Now()
	said.spools = gateway == spooling
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count[what]++
	if starts {
		h.sent = append(h.sent, sent{op, gateway, from, to})
		start := porcupine.Operation{ClientId: client, Input: call{op.id, true}, Output: seen{}, Call: h.at(from), Return: h.at(to)}
		if !answered {
			start.Return = math.MaxInt64 // it may still be on its way
		}
		h.calls = append(h.calls, start)
	}
	if said.phase != "" {
		h.calls = append(h.calls, porcupine.Operation{ClientId: client, Input: call{op.id, false}, Output: said, Call: h.at(from), Return: h.at(to)})
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	switch said.phase {
	case completed:
		op.final = said.answer
	case inDoubt:
		op.doubted = true
	case unseen, executing, notExecuted:
	}
}

// client is one client: it sends again and asks, as Idempotency-Next says.
type client struct {
	t       testing.TB
	number  int
	random  *rand.Rand
	history *history
	address [2]string
	http    *http.Client
}

func newClient(t testing.TB, number int, h *history, address [2]string) *client {
	return &client{
		t: t, number: number, random: rand.New(rand.NewPCG(rand.Uint64(), 0)), history: h, address: address,
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true, Proxy: nil}, Timeout: patience},
	}
}

// patience is how long a client waits for an answer: less than an attempt may take.
const patience = attemptTimeout * 5 / 6

// callers are few, so that each has many operations, and keys are shared between them.
var callers = []string{"ann", "bob"}

// newOperation is for one of the callers. Most backends just work; some refuse, some lose their connection.
func (c *client) newOperation(key string) *operation {
	op := &operation{caller: callers[c.random.IntN(len(callers))], key: key, body: fmt.Sprintf("amount=%d", c.random.IntN(1000))}
	op.id = idempotency.Operation{Caller: idempotency.Caller(op.caller), Key: idempotency.Key(key)}.ID().String()
	op.script.Pause = c.random.IntN(15)
	switch n := c.random.IntN(100); {
	case n < 3:
		op.script.Pause = 100 + c.random.IntN(400)
	case n < 6:
		op.script.Status, op.script.NoEffect = 429, true
	case n < 8:
		op.script.Status = 503
	case n < 10:
		op.script.Then = ledger.Close
	case n < 12:
		op.script.Then = ledger.Reset
	case n < 13:
		op.script.Then = ledger.Hang
	case n < 20:
		op.script.Status = []int{201, 400, 422, 500}[c.random.IntN(4)]
	}
	c.history.mu.Lock()
	c.history.ops = append(c.history.ops, op)
	c.history.mu.Unlock()
	return op
}

// mostTries is when a client stops caring; what became of its operation is asked at the end.
const mostTries = 60

// operate takes one operation as far as it will go, or until the run is over.
func (c *client) operate(op *operation, over func() bool) {
	for try := 0; try < mostTries && (try == 0 || !over()); try++ {
		switch c.send(op, c.random.IntN(2), "wait=1") {
		case "done":
			if c.random.IntN(3) == 0 {
				c.send(op, c.random.IntN(2), "wait=1")
			}
			return
		case "reconcile":
			for range 4 {
				if c.ask(op, c.random.IntN(2)) == "done" {
					return
				}
			}
			return
		case "stop":
			c.t.Errorf("a client is told to stop: operation %s", op.id)
			return
		}
		if c.random.IntN(8) == 0 {
			c.ask(op, c.random.IntN(2))
		}
		// Retry-After speaks of seconds, and this run is short.
		time.Sleep(time.Duration(5+c.random.IntN(30)) * time.Millisecond)
	}
}

// send sends the operation to a gateway, and returns what to do next.
func (c *client) send(op *operation, gateway int, prefer string) string {
	op.mu.Lock()
	r := rig.Request{Key: op.key, Body: op.body, Script: op.script, Header: rig.Header("X-User-Id", op.caller, "Prefer", prefer)}
	if op.script.NoEffect {
		op.script = ledger.Script{} // a backend that refused for the moment
	}
	op.mu.Unlock()
	from := time.Now()
	a, err := c.do(r, gateway)
	if err != nil {
		c.history.add(c.number, op, gateway, true, from, seen{}, false, "no answer")
		return "resend"
	}
	said, what := c.read(a)
	c.history.add(c.number, op, gateway, true, from, said, true, what)
	return a.Header.Get("Idempotency-Next")
}

// read is what an answer to a protected request says of its operation.
func (c *client) read(a *rig.Answer) (seen, string) {
	state := a.Header.Get("Idempotency-State")
	switch state {
	case "executed", "replayed", "attached":
		return seen{phase: completed, answer: digest(a.Status, a.Body)}, state
	case "executing":
		return seen{phase: executing}, state
	case "not_executed":
		return seen{phase: notExecuted}, state
	case "unknown":
		return seen{phase: inDoubt}, state
	case "rejected":
		return seen{}, "rejected " + slug(a.Body)
	}
	c.t.Errorf("an answer with state %q: %d %.200s", state, a.Status, a.Body)
	return seen{}, "strange"
}

// ask asks for the record, and returns what to do next.
func (c *client) ask(op *operation, gateway int) string {
	from := time.Now()
	a, err := c.do(recordRequest(op), gateway)
	if err != nil {
		c.history.add(c.number, op, gateway, false, from, seen{}, false, "no record")
		return "resend"
	}
	said, rec := recordOf(a)
	if said.phase == "" && a.Header.Get("Idempotency-State") != "rejected" {
		c.t.Errorf("a record of state %q: %d %.200s", rec.State, a.Status, a.Body)
	}
	c.history.add(c.number, op, gateway, false, from, said, true, "record "+string(said.phase))
	return a.Header.Get("Idempotency-Next")
}

func recordRequest(op *operation) rig.Request {
	return rig.Request{Method: http.MethodGet, Path: "/_reconcile/v1/requests/" + op.key + "?wait=1&include=body", Header: rig.Header("X-User-Id", op.caller)}
}

// recordOf is what an answer of the reconciliation API says.
func recordOf(a *rig.Answer) (seen, rig.Record) {
	var rec rig.Record
	_ = json.Unmarshal([]byte(a.Body), &rec)
	switch {
	case a.Status == http.StatusNotFound && a.Header.Get("Idempotency-State") == "unseen":
		return seen{phase: unseen}, rec
	case a.Status != http.StatusOK:
		return seen{}, rec
	}
	switch phase(rec.State) {
	case completed:
		if rec.Response == nil || rec.Response.Body == nil {
			return seen{phase: completed, answer: "without a body"}, rec
		}
		return seen{phase: completed, answer: digest(rec.Response.Status, *rec.Response.Body)}, rec
	case executing, notExecuted, inDoubt:
		return seen{phase: phase(rec.State)}, rec
	case unseen:
	}
	return seen{}, rec
}

func (c *client) do(r rig.Request, gateway int) (*rig.Answer, error) {
	resp, err := c.http.Do(r.HTTP(c.t, c.address[gateway]))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &rig.Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}, nil
}

func digest(status int, body string) string {
	sum := sha256.Sum256([]byte(body))
	return fmt.Sprintf("%d %s", status, hex.EncodeToString(sum[:8]))
}

func slug(body string) string {
	var p rig.Problem
	_ = json.Unmarshal([]byte(body), &p)
	return p.Code
}
