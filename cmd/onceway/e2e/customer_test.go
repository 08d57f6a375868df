package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceway/onceway/client"
	"github.com/onceway/onceway/internal/ledger"
	"github.com/onceway/onceway/internal/rig"
)

// customer is a program that uses one of the clients, with an outbox of its own. It gives up a call after callTimeout,
// and comes back soon.
type customer interface {
	start()                    // again: with what is in its outbox
	stop()                     // whatever is under way
	order(r rig.Request)       // begins an intent, which has a key
	unwant(key string)         // wishes that it be cancelled
	calls() int                // how many it has begun, over all starts
	called(n int)              // waits until it has begun so many
	stands(key, state string)  // waits until an intent stands so in the outbox
	outcome(key string) string // waits for it: "executed 201 the answer", "executed" without one, "cancelled", …
	unsettled() int            // how many intents are
}

const callTimeout = 5 * time.Second

// newCustomer makes a customer that believes the gateway to be at an address, and starts it. It ends with the test.
type newCustomer func(t *testing.T, addr string) customer

// goCustomer uses the Go client.
type goCustomer struct {
	t       *testing.T
	addr    string
	options client.Options
	begun   atomic.Int64

	device *device // since the last start
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu       sync.Mutex
	outcomes map[string]chan string
}

func newGoCustomer(t *testing.T, addr string) customer {
	c := &goCustomer{t: t, addr: addr, options: hasty, outcomes: map[string]chan string{}}
	base := &http.Transport{}
	c.options.Outbox, c.options.CallTimeout = client.NewMemory(), callTimeout
	c.options.Base = counted{base, &c.begun}
	c.start()
	t.Cleanup(func() { c.stop(); base.CloseIdleConnections() })
	return c
}

// counted counts the calls.
type counted struct {
	http.RoundTripper
	n *atomic.Int64
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

func (c *goCustomer) start() {
	c.device = newDevice(c.t, c.addr, c.options)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	d, ctx := c.device, c.ctx
	if len(d.Entries()) == 0 {
		return
	}
	c.work.Go(func() {
		err := d.Resume(ctx, func(r client.Result) error { c.tell(r.Entry.Key, r.Outcome, r.Response); return nil })
		if err != nil && ctx.Err() == nil {
			c.t.Error(err)
		}
	})
}

func (c *goCustomer) stop() {
	c.cancel()
	c.work.Wait()
}

func (c *goCustomer) order(r rig.Request) {
	d, ctx := c.device, c.ctx
	c.work.Go(func() {
		resp, err := d.RoundTrip(d.request(ctx, r))
		var unsettled *client.UnsettledError
		var ended *client.EndedError
		switch {
		case err == nil && resp.Header.Get("Idempotency-Next") == "done":
			c.tell(r.Key, client.OutcomeExecuted, resp)
		case err == nil:
			c.tell(r.Key, client.OutcomeRefused, resp)
		case errors.As(err, &ended) && ended.Key == r.Key:
			c.tell(r.Key, ended.Outcome, nil)
		case ctx.Err() != nil && errors.As(err, &unsettled) && unsettled.Key == r.Key && (unsettled.State == client.Doubt || unsettled.State == client.Cancelling): // it was stopped
		default:
			c.t.Errorf("%s: %v", r.Key, err)
		}
	})
}

func (c *goCustomer) unwant(key string) {
	d, ctx := c.device, c.ctx
	c.work.Go(func() {
		outcome, err := d.Cancel(ctx, key) // whoever ordered hears of it, too
		var unsettled *client.UnsettledError
		if err != nil && (ctx.Err() == nil || !errors.As(err, &unsettled) || unsettled.State != client.Cancelling) {
			c.t.Errorf("cancel %s: %q, %v", key, outcome, err)
		}
	})
}

func (c *goCustomer) calls() int { return int(c.begun.Load()) }

func (c *goCustomer) called(n int) {
	c.t.Helper()
	c.until(fmt.Sprint(n, " calls"), func() bool { return c.calls() >= n })
}

func (c *goCustomer) stands(key, state string) {
	c.t.Helper()
	c.until(key+" stands at "+state, func() bool {
		return slices.ContainsFunc(c.device.Entries(), func(e client.Entry) bool { return e.Key == key && string(e.State) == state })
	})
}

func (c *goCustomer) until(what string, so func() bool) {
	c.t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(time.Minute); !so(); <-poll.C {
		if time.Now().After(deadline) {
			c.t.Fatalf("never: %s; in the outbox are %+v", what, c.device.Entries())
		}
	}
}

func (c *goCustomer) unsettled() int {
	c.work.Wait()
	return len(c.device.Entries())
}

func (c *goCustomer) outcome(key string) string {
	c.t.Helper()
	select {
	case outcome := <-c.of(key):
		return outcome
	case <-time.After(time.Minute):
		c.t.Fatalf("%s is not settled; in the outbox are %+v", key, c.device.Entries())
		return ""
	}
}

func (c *goCustomer) tell(key string, o client.Outcome, resp *http.Response) {
	text := string(o)
	if resp != nil {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			c.t.Error(err)
		}
		resp.Body.Close()
		text = fmt.Sprint(text, " ", resp.StatusCode, " ", string(body))
	}
	select {
	case c.of(key) <- text:
	default:
		c.t.Errorf("%s is told twice, at last as %s", key, text)
	}
}

func (c *goCustomer) of(key string) chan string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outcomes[key] == nil {
		c.outcomes[key] = make(chan string, 1)
	}
	return c.outcomes[key]
}

// typescriptCustomers starts a program of Node that plays customers of the TypeScript client: see
// client/typescript/test/customer.ts. It ends with the test.
func typescriptCustomers(t *testing.T) newCustomer {
	t.Helper()
	buildTypeScript(t, lookTool(t, "npm"))
	command := exec.Command(node(), filepath.Join("build", "customer.js"))
	command.Dir, command.Stderr = typescript, os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	p := &nodeProgram{in: json.NewEncoder(in), waiting: map[int]chan reply{}}
	var reading sync.WaitGroup
	reading.Go(func() { p.read(t, out) })
	t.Cleanup(func() {
		in.Close()
		reading.Wait()
		if err := command.Wait(); err != nil {
			t.Error(err)
		}
	})
	return func(t *testing.T, addr string) customer {
		c := &typescriptCustomer{t, p, addr, "customer " + newKey()}
		c.start()
		t.Cleanup(c.stop)
		return c
	}
}

// nodeProgram is such a program.
type nodeProgram struct {
	mu      sync.Mutex
	in      *json.Encoder
	last    int
	waiting map[int]chan reply // nil once it has ended
}

type reply struct {
	ID    int
	Value any
	Error string
}

func (p *nodeProgram) read(t *testing.T, out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var r reply
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Errorf("the program says %q", lines.Text())
			continue
		}
		p.mu.Lock()
		waiter := p.waiting[r.ID]
		delete(p.waiting, r.ID)
		p.mu.Unlock()
		if waiter != nil {
			waiter <- r
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, waiter := range p.waiting {
		waiter <- reply{Error: "the program has ended"}
	}
	p.waiting = nil
}

// do has the program obey a command, and returns its reply.
func (p *nodeProgram) do(customer, what string, with any) reply {
	answer := make(chan reply, 1)
	p.mu.Lock()
	if p.waiting == nil {
		p.mu.Unlock()
		return reply{Error: "the program has ended"}
	}
	p.last++
	p.waiting[p.last] = answer
	err := p.in.Encode(map[string]any{"id": p.last, "customer": customer, "do": what, "with": with})
	p.mu.Unlock()
	if err != nil {
		return reply{Error: err.Error()}
	}
	select {
	case r := <-answer:
		return r
	case <-time.After(2 * time.Minute):
		return reply{Error: "no reply"}
	}
}

// typescriptCustomer uses the TypeScript client.
type typescriptCustomer struct {
	t       *testing.T
	program *nodeProgram
	addr    string
	name    string
}

func (c *typescriptCustomer) do(what string, with any) any {
	c.t.Helper()
	r := c.program.do(c.name, what, with)
	if r.Error != "" {
		c.t.Errorf("%s %v: %s", what, with, r.Error)
	}
	return r.Value
}

func (c *typescriptCustomer) start() {
	c.do("start", map[string]any{"gateway": "http://" + c.addr, "timeout": callTimeout.Milliseconds()})
}

func (c *typescriptCustomer) stop() { c.do("stop", nil) }

func (c *typescriptCustomer) order(r rig.Request) {
	c.do("order", map[string]any{"path": r.Path, "key": r.Key, "body": r.Body, "headers": map[string]string{ledger.Field: r.Script.String()}})
}

func (c *typescriptCustomer) unwant(key string) { c.do("unwant", key) }

func (c *typescriptCustomer) calls() int { return c.number("calls") }

func (c *typescriptCustomer) unsettled() int { return c.number("unsettled") }

func (c *typescriptCustomer) number(what string) int {
	c.t.Helper()
	n, _ := c.do(what, nil).(float64)
	return int(n)
}

func (c *typescriptCustomer) called(n int) { c.do("called", n) }

func (c *typescriptCustomer) stands(key, state string) {
	c.do("stands", map[string]string{"key": key, "state": state})
}

func (c *typescriptCustomer) outcome(key string) string {
	c.t.Helper()
	text, _ := c.do("outcome", key).(string)
	return text
}
