package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// compare measures the plan, or what the command line leaves of it, and prints its report.
func compare(ctx context.Context, o options) error {
	p, notes := arrange(&o)
	if len(p.groups) == 0 && len(p.probes) == 0 {
		return fmt.Errorf("nothing is left to measure: %s", strings.Join(notes, "; "))
	}
	fmt.Fprintf(os.Stderr, "%d cells and %d probes, %d rounds: about %v\n", len(p.cells()), len(p.probes), o.rounds, p.estimate(o))
	for _, note := range notes {
		fmt.Fprintln(os.Stderr, note)
	}
	f, r, err := begin(ctx, o, notes)
	if err != nil {
		return err
	}
	defer f.end()
	f.hot = o.replayKeys
	f.keys = keySet{Millis: time.Now().UnixMilli(), Seed: 1, Count: o.coldKeys}
	if err := f.startTargets(ctx, o, p, r); err != nil {
		return err
	}
	r.Method = fmt.Sprintf("%d rounds of %v for each cell after %v of warm-up, interleaved; ratios of medians, min–max over rounds; %d replayed keys, %d cold ones",
		o.rounds, o.duration, o.warmUp, o.replayKeys, o.coldKeys)
	for round := range o.rounds {
		if err := f.measureAll(ctx, rotate(p.groups, round), fmt.Sprintf("round %d/%d", round+1, o.rounds), round, r); err != nil {
			return err
		}
		for _, probe := range p.probes {
			fmt.Fprintf(os.Stderr, "round %d/%d: %s\n", round+1, o.rounds, probe.title)
			figures, err := probe.run(f, ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", probe.title, err)
			}
			r.note(probe.title, figures)
		}
	}
	return r.finish(p.groups, o.json)
}

// arrange leaves out what is not installed or cannot be measured, and says what and why.
func arrange(o *options) (p plan, notes []string) {
	p.groups = planned(o.full, o.workloads, o.connections, o.targets)
	absent, advice := missing(append([]string{"wrk"}, strings.Split(joined(p.targets()), ",")...))
	if advice != "" {
		notes = append(notes, advice)
	}
	if slices.Contains(absent, "wrk") {
		o.generator = "own"
	}
	for i := range p.groups {
		p.groups[i] = slices.DeleteFunc(p.groups[i], func(c cell) bool { return slices.Contains(absent, string(c.Target)) })
	}
	p.groups = slices.DeleteFunc(p.groups, func(cells []cell) bool { return len(cells) == 0 })
	for _, probe := range probes {
		if slices.Contains(o.probes, probe.name) {
			p.probes = append(p.probes, probe)
		}
	}
	chosen := func(t target) bool { return len(o.targets) == 0 || slices.Contains(o.targets, t) }
	if len(p.probes) > 0 && !(chosen(oncewayPostgres) && chosen(plainProxy)) {
		p.probes = nil
		notes = append(notes, "no probes: they need the targets postgres and proxy")
	}
	return p, notes
}

// targets returns whom cells and probes need, in the order of everybody.
func (p plan) targets() []target {
	return slices.DeleteFunc(slices.Clone(everybody), func(t target) bool {
		inCells := slices.ContainsFunc(p.cells(), func(c cell) bool { return c.Target == t })
		inProbes := len(p.probes) > 0 && (t == oncewayPostgres || t == plainProxy)
		return !inCells && !inProbes
	})
}

// keysToPrime returns how many keys t has to answer before it can replay them.
func (p plan) keysToPrime(t target, o options) int {
	n := 0
	for _, c := range p.cells() {
		if c.Target == t && t.stores() {
			switch c.Workload.shape().keys {
			case allKeys:
				n = max(n, o.coldKeys)
			case hotKeys:
				n = max(n, o.replayKeys)
			}
		}
	}
	return n
}

// estimate says how long a run takes, to ten seconds: each cell takes a little more than its time,
// because processes start and are looked at.
func (p plan) estimate(o options) time.Duration {
	each := o.duration + o.warmUp + 250*time.Millisecond
	round := time.Duration(len(p.cells()))*each + time.Duration(len(p.probes))*(2*each+time.Second)
	pools := time.Duration(min(o.rounds, 2)*len(o.pools)) * (each + 300*time.Millisecond)
	var primed time.Duration
	for _, t := range everybody {
		primed += time.Duration(p.keysToPrime(t, o)) * 250 * time.Microsecond
	}
	return (time.Duration(o.rounds)*round + pools + primed + 15*time.Second).Round(10 * time.Second)
}

// begin starts what every command needs, but for the targets, and notes in a report what it is. The
// caller ends the farm.
func begin(ctx context.Context, o options, notes []string) (f *farm, r *report, err error) {
	f = &farm{settings: o.settings, targets: map[target]*running{}, warmUp: o.warmUp, length: o.duration, longBytes: o.longBytes, hurried: o.hurried}
	defer func() {
		if err != nil {
			f.end()
		}
	}()
	if f.dir, err = os.MkdirTemp(o.dir, "onceway-bench-"); err != nil {
		return f, nil, err
	}
	if err := os.Chmod(f.dir, 0o711); err != nil { // the database runs as another user if we are root
		return f, nil, err
	}
	r = &report{Date: time.Now(), Command: strings.Join(os.Args[1:], " "), Machine: machine(), Notes: notes}
	if f.self, err = os.Executable(); err != nil {
		return f, nil, err
	}
	if o.profiles != "" {
		if f.profiles, err = filepath.Abs(o.profiles); err != nil {
			return f, nil, err
		}
		if err := os.MkdirAll(f.profiles, 0o755); err != nil {
			return f, nil, err
		}
		r.Notes = append(r.Notes, "CPU profiles were taken: do not quote these figures")
	}
	sync, err := syncCost(f.dir)
	if err != nil {
		return f, nil, err
	}
	r.Storage = fmt.Sprintf("%s, write and fsync of 8 KiB: %v", fileSystem(f.dir), sync.Round(time.Microsecond))
	f.access = o.access
	if f.gateway = o.gateway; f.gateway == "" {
		if f.gateway, err = buildGateway(ctx, f.dir); err != nil {
			return f, nil, err
		}
	}
	b, err := f.role(ctx, "backend")
	if err != nil {
		return f, nil, err
	}
	f.backend, f.upstream = b.processes[0], b.addresses[0]
	return f, r, nil
}

// end stops everything that was started, the database last, and removes what it wrote.
func (f *farm) end() {
	for _, t := range f.targets {
		t.stop()
	}
	if f.backend != nil {
		f.backend.stop()
	}
	if f.postgres != nil {
		f.postgres.stop()
	}
	if f.dir != "" {
		os.RemoveAll(f.dir)
	}
}

// startDatabase starts Postgres and notes what it is.
func (f *farm) startDatabase(ctx context.Context, r *report) (err error) {
	if f.postgres, err = startPostgres(ctx, f.dir, f.settings); err != nil {
		return err
	}
	if !f.hurried {
		if err := f.postgres.season(ctx); err != nil {
			return err
		}
	}
	r.Postgres, err = f.postgres.describe(ctx)
	return err
}

// startTargets starts whom the plan needs, and lets them answer the keys that will be repeated.
func (f *farm) startTargets(ctx context.Context, o options, p plan, r *report) error {
	ts := p.targets()
	if o.generator == "wrk" {
		f.wrk, _ = program{name: "wrk"}.find()
	}
	for _, program := range programs {
		if program.name == "wrk" && f.wrk != "" || slices.Contains(ts, target(program.name)) {
			r.Versions = append(r.Versions, program.describe(ctx))
		}
	}
	if slices.ContainsFunc([]target{oncewayPostgres, oncewayPair, usualMiddleware}, func(t target) bool { return slices.Contains(ts, t) }) {
		if err := f.startDatabase(ctx, r); err != nil {
			return err
		}
	}
	pool := 0
	if slices.Contains(ts, usualMiddleware) {
		var err error
		if pool, err = f.choosePool(ctx, o.pools, min(o.rounds, 2), r); err != nil {
			return err
		}
	}
	for _, t := range ts {
		started, err := f.start(ctx, t, pool)
		if err != nil {
			return err
		}
		f.targets[t] = started
		if n := p.keysToPrime(t, o); n > 0 {
			if err := f.prime(ctx, t, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// measureAll measures cells one after the other.
func (f *farm) measureAll(ctx context.Context, cells []cell, where string, round int, r *report) error {
	for i, c := range cells {
		fmt.Fprintf(os.Stderr, "%s, cell %d/%d: %s %s at %d connections", where, i+1, len(cells), c.Workload, c.Target, c.Connections)
		s, err := f.measure(ctx, c, round)
		if err != nil {
			fmt.Fprintln(os.Stderr)
			return err
		}
		fmt.Fprintf(os.Stderr, ": %.0f/s\n", s.Rate)
		r.Samples = append(r.Samples, s)
	}
	return nil
}
