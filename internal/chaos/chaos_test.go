package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceway/onceway/internal/ledger"
)

// thorough is from when on a run must have met every window.
const thorough = 2 * time.Minute

func TestChaos(t *testing.T) {
	lasts := 15 * time.Second
	if testing.Short() {
		lasts = 5 * time.Second
	}
	if text := os.Getenv("ONCEWAY_CHAOS"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal("ONCEWAY_CHAOS: ", err)
		}
	}
	seed := rand.Uint64()
	if text := os.Getenv("ONCEWAY_CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal("ONCEWAY_CHAOS_SEED: ", err)
		}
	}
	t.Logf("ONCEWAY_CHAOS_SEED=%d ONCEWAY_CHAOS=%v", seed, lasts)
	w := newWorld(t, seed)
	h := &history{began: time.Now(), count: map[string]int{}}
	address := [2]string{w.gateways[0].clients.Addr(), w.gateways[1].clients.Addr()}

	stop := make(chan struct{})
	over := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	var working sync.WaitGroup
	for n := range 12 {
		c := newClient(t, n, h, address)
		working.Go(func() {
			for !over() {
				op := c.newOperation("k-" + strconv.FormatUint(c.random.Uint64(), 36))
				var copies sync.WaitGroup
				if c.random.IntN(5) == 0 {
					twin := newClient(t, n, h, address)
					copies.Go(func() { twin.operate(op, over) })
				}
				c.operate(op, over)
				copies.Wait()
			}
		})
	}
	end := h.began.Add(lasts)
	links := newSchedule(seed, 2, ofLinks, 500*time.Millisecond)
	var striking sync.WaitGroup
	striking.Go(func() {
		for time.Now().Before(end) {
			s := links.next()
			time.Sleep(s.gap)
			w.strikeLink(s)
		}
	})
	processes := newSchedule(seed, 1, ofProcesses, 1500*time.Millisecond)
	for time.Now().Before(end) {
		s := processes.next()
		time.Sleep(s.gap)
		w.strikeProcess(s)
	}
	striking.Wait()
	w.heal()
	healed := time.Now()
	close(stop)
	working.Wait()
	w.gateways[0].gateway.Until(t, "nothing is executing any more", func() bool {
		_, executing := w.records()
		return executing == 0
	})
	settledIn := time.Since(healed)
	spool := w.gateways[spooling].gateway
	spool.Until(t, "the spool is empty", func() bool { return emptySpool.MatchString(spool.AdminGet(t, "/metrics").Body) })
	v := w.judge(h)
	v.print(t, w, h, lasts, settledIn)
	if lasts >= thorough {
		for _, f := range everyFault {
			for _, in := range windows {
				if v.met[f][in] == 0 {
					t.Errorf("%s never met the window %q", f, in)
				}
			}
		}
	}
}

var emptySpool = regexp.MustCompile(`(?m)^onceway_spool_depth(\{[^}]*\})? 0$`)

// verdict is what is counted at the end.
type verdict struct {
	operations int
	executions map[int]int   // operations by how often they were executed
	states     map[phase]int // of their records
	doubted    int           // operations of which somebody was told that nobody knows
	resolved   map[phase]int // and how those ended
	legal      porcupine.CheckResult
	met        map[fault]map[window]int
}

// judge checks what clients saw, our records and the ledger against each other.
func (w *world) judge(h *history) verdict {
	t := w.t
	v := verdict{executions: map[int]int{}, states: map[phase]int{}, resolved: map[phase]int{}, operations: len(h.ops)}
	entries := w.backend.Entries(t)
	effects := map[string][]ledger.Entry{}
	for _, e := range entries {
		if e.Event == ledger.Effect {
			effects[e.Operation] = append(effects[e.Operation], e)
		}
	}
	asking := newClient(t, 99, h, [2]string{w.gateways[0].gateway.Addr, w.gateways[1].gateway.Addr})
	for i, op := range h.ops {
		said := w.ask(asking, op, i%2)
		if i%10 == 0 {
			// A late answer may come between the two.
			if other := w.ask(asking, op, 1-i%2); other != said {
				if said = w.ask(asking, op, i%2); other != said {
					t.Errorf("operation %s: one gateway says %v, the other %v", op.id, other, said)
				}
			}
		}
		did := effects[op.id]
		v.executions[len(did)]++
		v.states[said.phase]++
		if op.doubted {
			v.doubted++
			v.resolved[said.phase]++
		}
		if len(did) > 1 {
			t.Errorf("I1: operation %s was executed %d times", op.id, len(did))
		}
		switch said.phase {
		case completed:
			if len(did) != 1 {
				t.Errorf("I3: operation %s is completed, and was executed %d times", op.id, len(did))
			} else if want := digest(status(op), body(did[0])); said.answer != want {
				t.Errorf("I3: operation %s has the answer %s, the backend said %s", op.id, said.answer, want)
			}
		case notExecuted, unseen:
			if len(did) != 0 {
				t.Errorf("I4: operation %s is %s, and was executed", op.id, said.phase)
			}
		case executing:
			t.Errorf("I8: operation %s is still executing", op.id)
		case inDoubt:
		default:
			t.Errorf("operation %s: no record", op.id)
		}
		if op.final != "" && said.answer != op.final {
			t.Errorf("I2: operation %s was answered with %s, and now it is %s %s", op.id, op.final, said.phase, said.answer)
		}
	}
	v.legal, _ = porcupine.CheckOperationsVerbose(record, h.calls, 5*time.Minute)
	if v.legal != porcupine.Ok {
		t.Errorf("I6: the history of %d calls is %s", len(h.calls), v.legal)
		for _, calls := range record.Partition(h.calls) {
			if porcupine.CheckOperationsTimeout(record, calls, time.Second) != porcupine.Ok {
				t.Log(describe(calls))
			}
		}
	}
	records, _ := w.records()
	v.met = coverage(w.strikes, h.sent, records, entries)
	return v
}

// ask asks for the record of an operation when there are no faults any more.
func (w *world) ask(c *client, op *operation, gateway int) seen {
	from := time.Now()
	a, err := c.do(recordRequest(op), gateway)
	// The store has a second to answer, and the gateway little more, which may not be enough on this machine.
	for end := from.Add(time.Minute); (err != nil || a.Status == http.StatusServiceUnavailable) && time.Now().Before(end); {
		a, err = c.do(recordRequest(op), gateway)
	}
	if err != nil {
		w.t.Errorf("operation %s: %v", op.id, err)
		return seen{}
	}
	said, _ := recordOf(a)
	if said.phase == "" {
		w.t.Errorf("operation %s: %d %.300s", op.id, a.Status, a.Body)
	}
	c.history.add(c.number, op, gateway, false, from, said, true, "at the end "+string(said.phase))
	return said
}

// status and body are what the ledger answered.
func status(op *operation) int {
	if op.script.Status == 0 {
		return 200
	}
	return op.script.Status
}

func body(e ledger.Entry) string {
	return fmt.Sprintf(`{"execution":%d,"operation":"%s","attempt":"%s"}`+"\n", e.Request, e.Operation, e.Attempt)
}

func describe(calls []porcupine.Operation) string {
	slices.SortFunc(calls, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	fmt.Fprintf(&b, "operation %s\n", calls[0].Input.(call).op)
	for _, c := range calls {
		fmt.Fprintf(&b, "  client %2d, from %v to %v: %s\n", c.ClientId, time.Duration(c.Call), time.Duration(c.Return), record.DescribeOperation(c.Input, c.Output))
	}
	return b.String()
}

// print says what was done and what came of it.
func (v verdict) print(t testing.TB, w *world, h *history, lasted, settledIn time.Duration) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%v of faults: %d operations, %d requests, %d calls checked (%s)", lasted, v.operations, len(h.sent), len(h.calls), v.legal)
	line("executions per operation: %v", v.executions)
	line("records at the end: %v", v.states)
	line("told \"unknown\" once: %d operations, of which ended %v", v.doubted, v.resolved)
	line("in doubt at the end, by cause: %s", w.causes())
	line("nothing executing %v after the faults had healed", settledIn.Round(time.Millisecond))
	what := make([]string, 0, len(h.count))
	for name, n := range h.count {
		what = append(what, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(what)
	line("answers: %s", strings.Join(what, ", "))
	line("%d connections were planned to break or freeze at a random byte", w.bytes)
	line("%-14s %8s   requests that it met:", "fault", "injected")
	line("%-14s %8s   %12s %12s %12s %12s %12s", "", "", windows[0], windows[1], windows[2], windows[3], windows[4])
	for _, f := range everyFault {
		n := 0
		for _, s := range w.strikes {
			if s.fault == f {
				n++
			}
		}
		m := v.met[f]
		line("%-14s %8d   %12d %12d %12d %12d %12d", f, n, m[windows[0]], m[windows[1]], m[windows[2]], m[windows[3]], m[windows[4]])
	}
	t.Log("\n" + b.String())
}
