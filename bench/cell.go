package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// cell is one measurement: a target under a workload at a number of connections.
type cell struct {
	Target      target   `json:"target"`
	Workload    workload `json:"workload"`
	Connections int      `json:"connections"`
}

// sample is what one cell gave in one round.
type sample struct {
	cell
	Round     int     `json:"round"`
	Generator string  `json:"generator"` // wrk, or own
	Rate      float64 `json:"rate"`      // answers per second
	outcome
	// Processor time for each answered request, user and system, by part.
	LoadCPU     time.Duration `json:"load_cpu"`
	TargetCPU   time.Duration `json:"target_cpu"`
	BackendCPU  time.Duration `json:"backend_cpu"`
	PostgresCPU time.Duration `json:"postgres_cpu"`
	// Foreign is the share of all cores' time, 0 to 1, that went to processes which are no part of the
	// measurement.
	Foreign float64 `json:"foreign"`
}

// usage is the processor time used so far.
type usage struct{ target, backend, postgres, machine time.Duration }

// farm is everything that runs.
type farm struct {
	starter
	backend *process
	targets map[target]*running
	wrk     string // its path; empty to use our own generator for everything
	keys    keySet // all that cold repeats
	hot     int    // how many of them replay and status repeat
	warmUp  time.Duration
	length  time.Duration
	cells   int // so far; each has a number of its own
	// longBytes is how long the long download is.
	longBytes int
	hurried   bool        // figures mean little
	settings  [][2]string // of the database server, of the command line
}

// measure runs one cell and checks it. Our own load generator, which at least warms up, checks every
// answer; what is left is the backend's own count. For fresh keys the two together prove that each was
// executed exactly once: every answer carries its own distinct key back from the backend, so no key was
// executed less than once, and there were as many executions as keys. What wrk has under way at its end
// may have been executed, too.
func (f *farm) measure(ctx context.Context, c cell, round int) (sample, error) {
	s, err := f.measured(ctx, c, f.load(c), round)
	if err != nil {
		return s, fmt.Errorf("%s, %s, %d connections: %w\n%s", c.Target, c.Workload, c.Connections, err, f.targets[c.Target].tail())
	}
	return s, nil
}

// load returns the instruction for a cell.
func (f *farm) load(c cell) load {
	f.cells++
	l := load{
		Addresses: f.targets[c.Target].addresses, Workload: c.Workload, Cell: strconv.Itoa(f.cells), Connections: c.Connections,
		WarmUp: f.warmUp, Duration: f.length, Keys: f.keys, Expect: c.Target.expects(c.Workload),
	}
	if c.Workload.shape().keys == hotKeys { // the few are the first of the many
		l.Keys.Count = min(l.Keys.Count, f.hot)
	}
	return l
}

func (f *farm) measured(ctx context.Context, c cell, l load, round int) (sample, error) {
	t := f.targets[c.Target]
	if f.profiles != "" {
		l.Profile = filepath.Join(f.profiles, fmt.Sprintf("load-%s-%s-%d.pprof", c.Target, c.Workload, c.Connections))
		if len(t.admin) > 0 && round == 0 {
			defer f.fetchProfile(ctx, t, c)()
		}
	}
	s := sample{cell: c, Round: round, Generator: "own"}
	begin, start := time.Now(), f.usage(t)
	var err error
	unseen := 0 // requests that may have been executed although nobody counted their answers
	if f.wrk == "" || !l.canWrk() {
		s.outcome, err = f.generate(ctx, l)
	} else {
		s.Generator, unseen = "wrk", l.Connections
		s.outcome, err = f.checkThenWrk(ctx, l)
	}
	if err != nil {
		return s, err
	}
	used, elapsed := f.usage(t).since(start), time.Since(begin)
	executed, err := f.count(ctx, l.Cell)
	if err != nil {
		return s, err
	}
	least, most := c.Target.executions(c.Workload, s.Answered), c.Target.executions(c.Workload, s.Answered+unseen)
	if executed < least || executed > most {
		return s, fmt.Errorf("the backend executed %d times, want %d to %d for %d answered requests", executed, least, most, s.Answered)
	}
	n := time.Duration(max(s.Answered, 1))
	s.Rate = float64(s.Measured) / s.measuredFor(l).Seconds()
	s.LoadCPU, s.TargetCPU, s.BackendCPU, s.PostgresCPU = s.CPU/n, used.target/n, used.backend/n, used.postgres/n
	s.Foreign = max(0, float64(used.machine-used.target-used.backend-used.postgres-s.CPU)/float64(elapsed)/float64(runtime.NumCPU()))
	return s, nil
}

// measuredFor returns how long answers counted: wrk stops a little late.
func (s sample) measuredFor(l load) time.Duration {
	if s.Generator == "wrk" {
		return s.Elapsed
	}
	return l.Duration
}

// checkThenWrk lets our own generator warm up, with all its checks, and wrk measure.
func (f *farm) checkThenWrk(ctx context.Context, l load) (outcome, error) {
	warm := l
	warm.WarmUp, warm.Duration = 0, max(l.WarmUp, 100*time.Millisecond)
	checked, err := f.generate(ctx, warm)
	if err != nil {
		return checked, err
	}
	o, err := l.wrk(ctx, f.wrk, f.dir)
	o.Answered += checked.Answered
	o.CPU += checked.CPU
	return o, err
}

// prime gets the first n keys answered once.
func (f *farm) prime(ctx context.Context, t target, n int) error {
	l := f.load(cell{t, prime, 64})
	l.Keys.Count = n
	o, err := f.generate(ctx, l)
	if err != nil {
		return fmt.Errorf("prime %s: %w\n%s", t, err, f.targets[t].tail())
	}
	executed, err := f.count(ctx, l.Cell)
	if err == nil && (o.Answered != n || executed != n) {
		err = fmt.Errorf("prime %s: %d keys answered, %d executed, want %d", t, o.Answered, executed, n)
	}
	return err
}

// generate runs the load generator as a process.
func (f *farm) generate(ctx context.Context, l load) (outcome, error) {
	instruction, err := json.Marshal(l)
	if err != nil {
		return outcome{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.WarmUp+l.Duration+2*time.Minute)
	defer cancel()
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, f.self, "role", "load")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(instruction), &out, &complaint
	if err := cmd.Run(); err != nil {
		return outcome{}, fmt.Errorf("load generator: %w\n%s", err, complaint.Bytes())
	}
	var o outcome
	return o, json.Unmarshal(out.Bytes(), &o)
}

// count asks the backend how many requests of a cell it has executed.
func (f *farm) count(ctx context.Context, cell string) (int, error) {
	b, err := fetch(ctx, "http://"+f.upstream+executionsPath+cell)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(b))
}

func (f *farm) usage(t *running) usage {
	u := usage{target: t.cpu(), backend: treeCPU(f.backend.cmd.Process.Pid), machine: machineCPU()}
	if f.postgres != nil {
		u.postgres = treeCPU(f.postgres.cmd.Process.Pid)
	}
	return u
}

func (u usage) since(start usage) usage {
	return usage{u.target - start.target, u.backend - start.backend, u.postgres - start.postgres, u.machine - start.machine}
}

// fetchProfile begins to take a CPU profile of a gateway that offers one, and returns a function that
// waits for it. A gateway without that address is left alone.
func (f *farm) fetchProfile(ctx context.Context, t *running, c cell) (wait func()) {
	done := make(chan struct{})
	seconds := max(1, int((f.warmUp + f.length).Seconds()))
	go func() {
		defer close(done)
		b, err := fetch(ctx, t.admin[0]+"/debug/pprof/profile?seconds="+strconv.Itoa(seconds))
		if err == nil {
			name := fmt.Sprintf("%s-%s-%d.pprof", c.Target, c.Workload, c.Connections)
			err = os.WriteFile(filepath.Join(f.profiles, name), b, 0o644)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "no profile:", err)
		}
	}()
	return func() { <-done }
}
