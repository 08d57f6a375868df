package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// compare runs the whole benchmark and prints its report.
func compare(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp(o.dir, "onceway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil { // the database runs as another user if we are root
		return err
	}
	f := &farm{targets: map[target]*running{}, warmUp: o.warmUp, length: o.duration}
	defer f.stop()
	f.dir, f.access, f.profiles = dir, o.access, o.profiles
	f.hot = o.replayKeys
	f.keys = keySet{Millis: time.Now().UnixMilli(), Seed: 1, Count: o.replayKeys}
	if slices.Contains(o.workloads, cold) {
		f.keys.Count = max(o.coldKeys, o.replayKeys)
	}
	r := &report{Date: time.Now(), Machine: machine()}
	if err := f.setUp(ctx, o, r); err != nil {
		return err
	}
	cells := cellsOf(o.targets, o.workloads, o.connections)
	r.Method = fmt.Sprintf("%d rounds of %v for each cell after %v of warm-up, interleaved; ratios of medians, min–max over rounds; %d replayed keys, %d cold ones",
		o.rounds, o.duration, o.warmUp, o.replayKeys, o.coldKeys)
	for round := range o.rounds {
		for i, c := range rotate(cells, len(o.targets), round) {
			fmt.Fprintf(os.Stderr, "round %d/%d, cell %d/%d: %s %s at %d connections", round+1, o.rounds, i+1, len(cells), c.Workload, c.Target, c.Connections)
			s, err := f.measure(ctx, c, round)
			if err != nil {
				fmt.Fprintln(os.Stderr)
				return err
			}
			fmt.Fprintf(os.Stderr, ": %.0f/s\n", s.Rate)
			r.Samples = append(r.Samples, s)
		}
	}
	r.Rows, r.Others = summarise(cells, r.Samples), others(r.Samples)
	if o.json != "" {
		if err := r.writeJSON(o.json); err != nil {
			return err
		}
	}
	return r.print(os.Stdout)
}

// setUp starts everything that o asks for, and notes in r what it is.
func (f *farm) setUp(ctx context.Context, o options, r *report) error {
	var err error
	if f.self, err = os.Executable(); err != nil {
		return err
	}
	if f.profiles != "" {
		if f.profiles, err = filepath.Abs(f.profiles); err != nil {
			return err
		}
		if err := os.MkdirAll(f.profiles, 0o755); err != nil {
			return err
		}
		r.Profiled = "CPU profiles were taken: do not quote these figures"
	}
	sync, err := syncCost(f.dir)
	if err != nil {
		return err
	}
	r.Storage = fmt.Sprintf("%s, write and fsync of 8 KiB: %v", fileSystem(f.dir), sync.Round(time.Microsecond))
	uses := func(ts ...target) bool {
		return slices.ContainsFunc(ts, func(t target) bool { return slices.Contains(o.targets, t) })
	}
	if uses(oncewayPostgres, oncewaySQLite) {
		if f.gateway = o.gateway; f.gateway == "" {
			if f.gateway, err = buildGateway(ctx, f.dir); err != nil {
				return err
			}
		}
	}
	b, err := f.role(ctx, "backend")
	if err != nil {
		return err
	}
	f.backend, f.upstream = b.process, b.addr
	if uses(oncewayPostgres, usualMiddleware) {
		if f.postgres, err = startPostgres(ctx, f.dir); err != nil {
			return err
		}
		if r.Postgres, err = f.postgres.describe(ctx); err != nil {
			return err
		}
	}
	pool := 0
	if uses(usualMiddleware) {
		if pool, err = f.choosePool(ctx, o.pools, min(o.rounds, 3), r); err != nil {
			return err
		}
	}
	for _, t := range o.targets {
		started, err := f.start(ctx, t, pool)
		if err != nil {
			return err
		}
		f.targets[t] = started
		if t.stores() && slices.ContainsFunc(o.workloads, workload.replays) {
			if err := f.prime(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}
