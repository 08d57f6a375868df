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
	plan, probing, notes := arrange(&o)
	if len(plan) == 0 && len(probing) == 0 {
		return fmt.Errorf("nothing is left to measure: %s", strings.Join(notes, "; "))
	}
	fmt.Fprintf(os.Stderr, "%d cells and %d probes, %d rounds: about %v\n", len(slices.Concat(plan...)), len(probing), o.rounds, estimate(plan, probing, o))
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
	if err := f.startTargets(ctx, o, plan, probing, r); err != nil {
		return err
	}
	r.Method = fmt.Sprintf("%d rounds of %v for each cell after %v of warm-up, interleaved; ratios of medians, min–max over rounds; %d replayed keys, %d cold ones",
		o.rounds, o.duration, o.warmUp, o.replayKeys, o.coldKeys)
	for round := range o.rounds {
		if err := f.measureAll(ctx, rotate(plan, round), fmt.Sprintf("round %d/%d", round+1, o.rounds), round, r); err != nil {
			return err
		}
		for _, p := range probing {
			fmt.Fprintf(os.Stderr, "round %d/%d: %s\n", round+1, o.rounds, p.title)
			figures, err := p.run(f, ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", p.title, err)
			}
			r.note(p.title, figures)
		}
	}
	return r.finish(plan, o.json)
}

// arrange leaves out what is not installed or cannot be measured, and says what and why.
func arrange(o *options) (plan [][]cell, probing []probe, notes []string) {
	plan = planned(o.full, o.workloads, o.connections, o.targets)
	all := targetsOf(plan, nil)
	absent, advice := missing(append([]string{"wrk"}, strings.Split(joined(all), ",")...))
	if advice != "" {
		notes = append(notes, advice)
	}
	if slices.Contains(absent, "wrk") {
		o.generator = "own"
	}
	for i := range plan {
		plan[i] = slices.DeleteFunc(plan[i], func(c cell) bool { return slices.Contains(absent, string(c.Target)) })
	}
	plan = slices.DeleteFunc(plan, func(cells []cell) bool { return len(cells) == 0 })
	for _, p := range probes {
		if slices.Contains(o.probes, p.name) {
			probing = append(probing, p)
		}
	}
	chosen := func(t target) bool { return len(o.targets) == 0 || slices.Contains(o.targets, t) }
	if len(probing) > 0 && !(chosen(oncewayPostgres) && chosen(plainProxy)) {
		probing = nil
		notes = append(notes, "no probes: they need the targets postgres and proxy")
	}
	return plan, probing, notes
}

// targetsOf returns whom plan and probes need, in the order of everybody.
func targetsOf(plan [][]cell, probing []probe) []target {
	var ts []target
	for _, t := range everybody {
		inPlan := slices.ContainsFunc(slices.Concat(plan...), func(c cell) bool { return c.Target == t })
		if inPlan || len(probing) > 0 && (t == oncewayPostgres || t == plainProxy) {
			ts = append(ts, t)
		}
	}
	return ts
}

// keysToPrime returns how many keys t has to answer before it can replay them.
func keysToPrime(t target, plan [][]cell, o options) int {
	n := 0
	for _, c := range slices.Concat(plan...) {
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
func estimate(plan [][]cell, probing []probe, o options) time.Duration {
	cells := time.Duration(len(slices.Concat(plan...)))
	each := o.duration + o.warmUp + 250*time.Millisecond
	round := cells*each + time.Duration(len(probing))*(2*each+time.Second)
	pools := time.Duration(min(o.rounds, 2)*len(o.pools)) * (each + 300*time.Millisecond)
	var primed time.Duration
	for _, t := range everybody {
		primed += time.Duration(keysToPrime(t, plan, o)) * 250 * time.Microsecond
	}
	return (time.Duration(o.rounds)*round + pools + primed + 15*time.Second).Round(10 * time.Second)
}

// begin starts what every command needs, but for the targets, and notes in a report what it is. The
// caller ends the farm.
func begin(ctx context.Context, o options, notes []string) (f *farm, r *report, err error) {
	f = &farm{targets: map[target]*running{}, warmUp: o.warmUp, length: o.duration, longBytes: o.longBytes}
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
	if f.postgres, err = startPostgres(ctx, f.dir); err != nil {
		return err
	}
	r.Postgres, err = f.postgres.describe(ctx)
	return err
}

// startTargets starts whom the plan needs, and lets them answer the keys that will be repeated.
func (f *farm) startTargets(ctx context.Context, o options, plan [][]cell, probing []probe, r *report) error {
	ts := targetsOf(plan, probing)
	if o.generator == "wrk" {
		f.wrk, _ = program{name: "wrk"}.find()
	}
	for _, p := range programs {
		if p.name == "wrk" && f.wrk != "" || slices.Contains(ts, target(p.name)) {
			r.Versions = append(r.Versions, p.describe(ctx))
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
		if n := keysToPrime(t, plan, o); n > 0 {
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
