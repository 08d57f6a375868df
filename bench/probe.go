package main

import (
	"bytes"
	"cmp"
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
	"strconv"
	"strings"
	"time"
)

// probe measures something of Onceway on Postgres that is no rate.
type probe struct {
	name  string
	title string
	run   func(*farm, context.Context) ([]figure, error)
}

// figure is one number of one round.
type figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit,omitempty"`
	Value  float64 `json:"value"`
	AtMost float64 `json:"at_most,omitempty"` // the goal, if there is one
}

// probeCommit compares what a lone request pays with what its two commits cost on the same server.
func (f *farm) probeCommit(ctx context.Context) ([]figure, error) {
	commit, err := f.commitLatency(ctx)
	if err != nil {
		return nil, err
	}
	alone := func(t target, addresses ...string) (float64, error) {
		c := cell{t, fresh, 1}
		l := f.load(c)
		if len(addresses) > 0 {
			l.Addresses = addresses
		}
		s, err := f.byOurselves(ctx, c, l)
		return milliseconds(s.P50), err
	}
	direct, err1 := alone(plainProxy, f.upstream)
	proxied, err2 := alone(plainProxy)
	protected, err3 := alone(oncewayPostgres)
	return []figure{
		{Name: "commit of one row by pgbench, p50", Unit: "ms", Value: commit},
		{Name: "added to the backend asked directly, p50", Unit: "ms", Value: protected - direct},
		{Name: "the same beyond two commits", Unit: "ms", Value: protected - direct - 2*commit, AtMost: .15},
		{Name: "added to the plain proxy beyond two commits, p50", Unit: "ms", Value: protected - proxied - 2*commit},
	}, errors.Join(err1, err2, err3)
}

// commitLatency returns the median in milliseconds of a one-row insert on one connection, by pgbench.
func (f *farm) commitLatency(ctx context.Context) (float64, error) {
	server, err := postgresProgram("postgres")
	if err != nil {
		return 0, err
	}
	if err := f.postgres.exec(ctx, "postgres", "create table if not exists commits (id bigserial primary key, at timestamptz not null)"); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(f.dir, "pgbench")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "insert.sql")
	if err := os.WriteFile(script, []byte("insert into commits (at) values (now());\n"), 0o600); err != nil {
		return 0, err
	}
	// The pgbench beside the server is of its version; the one on the path may be a wrapper.
	seconds := strconv.Itoa(max(1, int(f.length.Seconds())))
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(server), "pgbench"), "--no-vacuum", "--client=1", "--time="+seconds, "--protocol=prepared", "--log",
		"--log-prefix="+filepath.Join(dir, "log"), "--file="+script, "--host="+f.postgres.socket, "--username=bench", "postgres")
	if out, err := cmd.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("pgbench: %w\n%s", err, out)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "log.*"))
	if err != nil || len(logs) != 1 {
		return 0, fmt.Errorf("pgbench left %d logs: %v", len(logs), err)
	}
	b, err := os.ReadFile(logs[0])
	if err != nil {
		return 0, err
	}
	return parsePgbench(b)
}

// parsePgbench returns the median latency in milliseconds of pgbench's log, whose lines are: client,
// number, microseconds, script, and when.
func parsePgbench(log []byte) (float64, error) {
	var times []float64
	for line := range strings.Lines(string(log)) {
		f := strings.Fields(line)
		if len(f) < 6 {
			return 0, fmt.Errorf("unexpected line in pgbench's log: %q", line)
		}
		micros, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return 0, fmt.Errorf("unexpected line in pgbench's log: %w", err)
		}
		times = append(times, micros/1000)
	}
	if len(times) == 0 {
		return 0, errors.New("pgbench's log is empty")
	}
	return median(times), nil
}

// probeOpen lets requests arrive at half and at four fifths of the rate that the same generator has just
// reached in a closed loop.
func (f *farm) probeOpen(ctx context.Context) ([]figure, error) {
	c := cell{oncewayPostgres, fresh, 256}
	closed, err := f.byOurselves(ctx, c, f.load(c))
	if err != nil {
		return nil, err
	}
	figures := []figure{{Name: "own maximum, closed loop of 256", Unit: "/s", Value: closed.Rate}}
	for _, share := range []float64{.5, .8} {
		l := f.load(c)
		l.Rate, l.Duration = share*closed.Rate, 2*l.Duration
		s, err := f.byOurselves(ctx, c, l)
		if err != nil {
			return nil, err
		}
		for _, q := range []struct {
			name  string
			value time.Duration
		}{{"p50", s.P50}, {"p99", s.P99}, {"p99.9", s.P999}} {
			figures = append(figures, figure{Name: fmt.Sprintf("%s at %.0f %%", q.name, 100*share), Unit: "ms", Value: milliseconds(q.value)})
		}
	}
	return figures, nil
}

// byOurselves measures by our own generator even if there is wrk.
func (f *farm) byOurselves(ctx context.Context, c cell, l load) (sample, error) {
	own := *f
	own.wrk = ""
	s, err := own.measured(ctx, c, l, 0)
	if err != nil {
		err = fmt.Errorf("%s, %s, %d connections: %w", c.Target, c.Workload, c.Connections, err)
	}
	return s, err
}

// probeHotKey sends one request 256 times at once, and counts what the store and the backend had to do
// with it. The backend does not answer before all of them are with the gateway. Looks at the store have no
// metric, so Postgres logs all statements with their parameters, and those that name the operation count.
func (f *farm) probeHotKey(ctx context.Context) ([]figure, error) {
	const duplicates = 256
	f.cells++
	t, err := f.oncewayOnPostgres(ctx, settings{name: fmt.Sprintf("hotkey%d", f.cells), logged: true})
	if err != nil {
		return nil, err
	}
	defer t.stop()
	before, err := metrics(ctx, t.admin[0])
	if err != nil {
		return nil, err
	}
	key := keyStem(time.Now()) + "000000000000"
	cell, states, err := f.burst(ctx, t.addresses[0], duplicates, func(int) string { return key }, func(ctx context.Context) (bool, error) {
		now, err := metrics(ctx, t.admin[0])
		return now.sum("onceway_in_flight") >= duplicates, err
	})
	if err != nil {
		return nil, err
	}
	if states["executed"] != 1 || states["attached"] != duplicates-1 {
		return nil, fmt.Errorf("states of %d duplicates: %v, want 1 executed and the rest attached", duplicates, states)
	}
	after, err1 := metrics(ctx, t.admin[0])
	log, err2 := os.ReadFile(f.postgres.log)
	executed, err3 := f.count(ctx, cell)
	operation, err4 := f.operation(ctx, t.addresses[0], key) // not before the log was read: it is a statement, too
	grown := func(name string, labels ...string) float64 {
		return after.sum(name, labels...) - before.sum(name, labels...)
	}
	return []figure{
		{Name: "executions", Value: float64(executed), AtMost: 1},
		{Name: "claims", Value: grown("onceway_transitions_total", `onceway_state="executing"`), AtMost: 1},
		{Name: "group commits", Value: grown("onceway_commit_batch_size_count"), AtMost: 2},
		{Name: "statements about the operation, by the server's log", Value: float64(statementsAbout(operation, log)), AtMost: 2},
	}, errors.Join(err1, err2, err3, err4)
}

// operation asks a gateway for the id of a key's operation.
func (f *farm) operation(ctx context.Context, addr, key string) (string, error) {
	b, err := fetch(ctx, "http://"+addr+"/_reconcile/v1/requests/"+key)
	if err != nil {
		return "", err
	}
	var record struct{ Operation string }
	if err := json.Unmarshal(b, &record); err != nil || record.Operation == "" {
		return "", fmt.Errorf("record without an operation: %w: %.300s", err, b)
	}
	return record.Operation, nil
}

// statementsAbout counts the statements in Postgres's log that have the operation among their parameters.
func statementsAbout(operation string, log []byte) int {
	n := 0
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte("DETAIL:  parameters: ")) && bytes.Contains(line, []byte(operation)) {
			n++
		}
	}
	return n
}

// probeMemory takes the resident memory of a gateway of its own: idle, during a long download, and with
// a thousand requests in flight.
func (f *farm) probeMemory(ctx context.Context) ([]figure, error) {
	const inFlight = 1000
	f.cells++
	t, err := f.oncewayOnPostgres(ctx, settings{name: fmt.Sprintf("memory%d", f.cells), maxInFlight: 2 * inFlight})
	if err != nil {
		return nil, err
	}
	defer t.stop()
	pid := t.processes[0].cmd.Process.Pid
	idle, err := resident(pid)
	if err != nil {
		return nil, err
	}
	begin, peak, err := f.download(ctx, t.addresses[0], pid)
	if err != nil {
		return nil, err
	}
	var full float64
	_, _, err = f.burst(ctx, t.addresses[0], inFlight, func(i int) string { return fmt.Sprintf("memory-%d", i) }, func(ctx context.Context) (bool, error) {
		b, err := fetch(ctx, "http://"+f.upstream+heldPath)
		if string(b) != strconv.Itoa(inFlight) || err != nil {
			return false, err
		}
		full, err = resident(pid)
		return true, err
	})
	return []figure{
		{Name: "idle", Unit: "MiB", Value: idle, AtMost: 40},
		{Name: "1,000 requests of 1 KiB in flight", Unit: "MiB", Value: full, AtMost: 120},
		{Name: fmt.Sprintf("growth within a download of %d MiB", f.longBytes>>20), Unit: "MiB", Value: peak - begin, AtMost: 4},
	}, err
}

// download reads a long answer through a gateway, and returns the resident memory of pid after the first
// MiB and the most from then on, in MiB.
func (f *farm) download(ctx context.Context, addr string, pid int) (begin, peak float64, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/download/%d", addr, f.longBytes), nil)
	if err != nil {
		return 0, 0, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer answer.Body.Close()
	left := int64(f.longBytes)
	for left > 0 {
		n, err := io.CopyN(io.Discard, answer.Body, min(left, 1<<20))
		if err != nil {
			return 0, 0, fmt.Errorf("download with %d bytes left: %w", left-n, err)
		}
		left -= n
		now, err := resident(pid)
		if err != nil {
			return 0, 0, err
		}
		begin, peak = cmp.Or(begin, now), max(peak, now)
	}
	return begin, peak, nil
}

// burst sends n POSTs at once that the backend holds until reached says that enough have arrived. It
// returns the cell by which the backend counted them, and how many answers had which Idempotency-State.
func (f *farm) burst(ctx context.Context, addr string, n int, key func(int) string, reached func(context.Context) (bool, error)) (cell string, states map[string]int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	f.cells++
	cell = strconv.Itoa(f.cells)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	type result struct {
		state string
		err   error
	}
	results := make(chan result, n)
	for i := range n {
		go func() {
			state, err := post(ctx, client, "http://"+addr+"/held", cell, key(i))
			results <- result{state, err}
		}()
	}
	err = poll(ctx, reached)
	if _, released := fetch(ctx, "http://"+f.upstream+releasePath); released != nil || err != nil {
		cancel() // ends the requests, too
		err = errors.Join(err, released)
	}
	states = make(map[string]int)
	for range n {
		r := <-results
		states[r.state]++
		err = errors.Join(err, r.err)
	}
	return cell, states, err
}

func post(ctx context.Context, client *http.Client, url, cell, key string) (state string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body(1<<10)))
	if err != nil {
		return "", err
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}, "Bench-Cell": {cell}}
	answer, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != 201 || !bytes.Contains(b, []byte(key))) {
		err = fmt.Errorf("%s: %.300s", answer.Status, b)
	}
	return answer.Header.Get("Idempotency-State"), err
}

// poll asks every 10 ms until the answer is yes.
func poll(ctx context.Context, reached func(context.Context) (bool, error)) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if yes, err := reached(ctx); yes || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("not all requests arrived: %w", ctx.Err())
		}
	}
}

// exposition is what /metrics answers: Prometheus's text format.
type exposition []byte

func metrics(ctx context.Context, admin string) (exposition, error) {
	return fetch(ctx, admin+"/metrics")
}

// sum adds up the samples of a metric that have all of labels.
func (e exposition) sum(name string, labels ...string) float64 {
	var sum float64
	for line := range strings.Lines(string(e)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || !strings.HasPrefix(rest, "{") && !strings.HasPrefix(rest, " ") {
			continue
		}
		end := strings.LastIndexByte(rest, '}') + 1
		set, value := rest[:end], rest[end:]
		if slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(set, l) }) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err == nil {
			sum += v
		}
	}
	return sum
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
