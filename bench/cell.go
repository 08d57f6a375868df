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
	Round int     `json:"round"`
	Rate  float64 `json:"rate"` // answers per second
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
	keys    keySet // all that are primed
	hot     int    // how many of them replay repeats
	warmUp  time.Duration
	length  time.Duration
}

// measure runs one cell and checks it: the load generator has checked every answer, what is left is
// the backend's own count. For fresh keys the two together prove that each was executed exactly once:
// every answer carries its own distinct key back from the backend, so no key was executed less than
// once, and there were as many executions as keys.
func (f *farm) measure(ctx context.Context, c cell, round int) (sample, error) {
	t := f.targets[c.Target]
	l := load{
		Address: t.addr, Workload: c.Workload, Connections: c.Connections,
		WarmUp: f.warmUp, Duration: f.length, Keys: f.keysOf(c.Workload), Expect: c.Target.expects(c.Workload),
	}
	if f.profiles != "" {
		l.Profile = filepath.Join(f.profiles, fmt.Sprintf("load-%s-%s-%d.pprof", c.Target, c.Workload, c.Connections))
		if t.pprof != "" && round == 0 {
			wait := f.fetchProfile(ctx, t, c)
			defer wait()
		}
	}
	before, err := f.count(ctx)
	if err != nil {
		return sample{}, err
	}
	begin, start := time.Now(), f.usage(t)
	o, err := f.generate(ctx, l)
	if err != nil {
		return sample{}, fmt.Errorf("%s, %s, %d connections: %w\n%s", c.Target, c.Workload, c.Connections, err, t.tail())
	}
	used, elapsed := f.usage(t).since(start), time.Since(begin)
	after, err := f.count(ctx)
	if err != nil {
		return sample{}, err
	}
	if want := c.Target.executions(c.Workload, o.Answered); after-before != want {
		return sample{}, fmt.Errorf("%s, %s, %d connections: the backend executed %d times, want %d for %d answered requests",
			c.Target, c.Workload, c.Connections, after-before, want, o.Answered)
	}
	n := time.Duration(max(o.Answered, 1))
	return sample{
		cell: c, Round: round, outcome: o, Rate: float64(o.Measured) / l.Duration.Seconds(),
		LoadCPU: o.CPU / n, TargetCPU: used.target / n, BackendCPU: used.backend / n, PostgresCPU: used.postgres / n,
		Foreign: max(0, float64(used.machine-used.target-used.backend-used.postgres-o.CPU)/float64(elapsed)/float64(runtime.NumCPU())),
	}, nil
}

// keysOf returns the keys of a workload. The few that replay repeats are the first of the many.
func (f *farm) keysOf(w workload) keySet {
	keys := f.keys
	if w == replay {
		keys.Count = min(keys.Count, f.hot)
	}
	return keys
}

// prime gets every key that is to be replayed answered once.
func (f *farm) prime(ctx context.Context, t target) error {
	target := f.targets[t]
	before, err := f.count(ctx)
	if err != nil {
		return err
	}
	o, err := f.generate(ctx, load{Address: target.addr, Workload: prime, Connections: 64, Keys: f.keys, Expect: t.expects(prime)})
	if err != nil {
		return fmt.Errorf("prime %s: %w\n%s", t, err, target.tail())
	}
	after, err := f.count(ctx)
	if err == nil && (o.Answered != f.keys.Count || after-before != f.keys.Count) {
		err = fmt.Errorf("prime %s: %d keys answered, %d executed, want %d", t, o.Answered, after-before, f.keys.Count)
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

// count asks the backend how many requests it has executed.
func (f *farm) count(ctx context.Context) (int, error) {
	b, err := fetch(ctx, "http://"+f.upstream+executionsPath)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(b))
}

func (f *farm) usage(t *running) usage {
	u := usage{target: treeCPU(t.cmd.Process.Pid), backend: treeCPU(f.backend.cmd.Process.Pid), machine: machineCPU()}
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
		b, err := fetch(ctx, t.pprof+"profile?seconds="+strconv.Itoa(seconds))
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

// stop ends everything that was started, the database last.
func (f *farm) stop() {
	for _, t := range f.targets {
		t.stop()
	}
	if f.backend != nil {
		f.backend.stop()
	}
	if f.postgres != nil {
		f.postgres.stop()
	}
}
