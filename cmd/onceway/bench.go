package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
)

// benchFlags say how a store is measured.
type benchFlags struct {
	duration time.Duration // of each row
	requests []int         // at a time, one row each
	body     int           // bytes of each answer
	json     bool
}

func (f benchFlags) check() error {
	for _, n := range f.requests {
		if n < 1 || n > 4096 {
			return fmt.Errorf("--requests %d: each is from 1 to 4096", n)
		}
	}
	switch {
	case len(f.requests) == 0:
		return errors.New("--requests needs at least one number")
	case f.duration < 10*time.Millisecond || f.duration > 10*time.Minute:
		return fmt.Errorf("--duration %v: it is from 10ms to 10m", f.duration)
	case f.body < 0 || f.body > 1<<20:
		return fmt.Errorf("--body %d: it is from 0 to 1048576 bytes", f.body)
	}
	return nil
}

func newBenchCommand() *cobra.Command {
	var f benchFlags
	cmd := newStoreCommand("bench", "Measure what a store can carry, and what a protected request will cost",
		func(cmd *cobra.Command, c *config.Config) error {
			if err := f.check(); err != nil {
				return &usageError{err}
			}
			report, err := benchStore(cmd.Context(), c, f)
			if err != nil {
				return err
			}
			if f.json {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(report)
			}
			return printBench(cmd.OutOrStdout(), report)
		})
	cmd.Long = "Measure the store as the gateway uses it: what two durable commits cost a lone request, and how many requests a\n" +
		"second it takes when many share their commits. Nothing of yours is read or written: on Postgres it works in a\n" +
		"schema of its own, for which the user needs CREATE on the database, with SQLite in a file beside the one named.\n" +
		"Both are removed afterwards. A store in use is slowed down meanwhile."
	cmd.Flags().DurationVar(&f.duration, "duration", 3*time.Second, "how long each row is measured")
	cmd.Flags().IntSliceVar(&f.requests, "requests", []int{1, 16, 64, 256}, "how many requests are under way at a time, a row each")
	cmd.Flags().IntVar(&f.body, "body", 300, "bytes of each stored answer")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return cmd
}

// benchReport is what was measured. Durations are in microseconds.
type benchReport struct {
	Store    string     `json:"store"`
	Version  string     `json:"version"` // of Onceway
	Cores    int        `json:"cores"`   // of this machine, which may not be the store's
	Seconds  float64    `json:"seconds"` // of each row
	Body     int        `json:"body"`    // bytes of each answer
	Bare     benchRow   `json:"bare_insert"`
	Requests []benchRow `json:"requests"`
}

// benchRow is one row: the time of a bare insert, or what the store adds to a protected request.
type benchRow struct {
	AtATime   int     `json:"at_a_time"`
	PerSecond float64 `json:"per_second"`
	Commits   float64 `json:"commits_per_second"`
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
}

// benchStore measures a store that is like the configured one.
func benchStore(ctx context.Context, c *config.Config, f benchFlags) (report benchReport, err error) {
	report = benchReport{Store: storeTitle(c.Store), Version: version(), Cores: runtime.NumCPU(), Seconds: f.duration.Seconds(), Body: f.body}
	own, remove, err := newBenchStore(ctx, c)
	if err != nil {
		return report, storeFailure(err)
	}
	defer func() {
		if e := remove(); e != nil {
			err = errors.Join(err, storeFailure(fmt.Errorf("what was measured in is still there: %w", e)))
		}
	}()
	if report.Bare, err = benchBare(ctx, own.Store, f.duration); err != nil {
		return report, storeFailure(err)
	}
	store, err := openStore(ctx, own, true, nil)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if _, _, err := store.Purge(ctx, 1); err != nil { // makes the room where answers are kept
		return report, storeFailure(err)
	}
	for _, n := range f.requests {
		row, err := benchRequests(ctx, store, c, f, n)
		if err != nil {
			return report, storeFailure(err)
		}
		report.Requests = append(report.Requests, row)
	}
	return report, nil
}

// benchRequests lets n requests at a time be claimed and completed, in the batches that they make.
func benchRequests(ctx context.Context, store *openedStore, c *config.Config, f benchFlags, n int) (benchRow, error) {
	owner, err := store.Acquire(ctx, idempotency.Instance{ID: idempotency.NewAttemptID(), Longest: time.Minute}, f.duration+time.Hour)
	if err != nil {
		return benchRow{}, err
	}
	var commits counter
	options := store.committer
	options.Observer = &commits
	committer := idempotency.NewCommitter(store, options)
	defer committer.Stop()
	w := benchWork{committer: committer, owner: owner, keep: c.Retention, body: make([]byte, f.body)}
	took, elapsed, err := measure(ctx, n, f.duration, w.request)
	return rowOf(n, took, elapsed, float64(commits.n.Load())/elapsed.Seconds()), err
}

// benchWork is what a gateway writes of requests that are all new and all answered.
type benchWork struct {
	committer *idempotency.Committer
	owner     idempotency.Owner
	keep      idempotency.Retention
	body      []byte
}

func (w benchWork) request() error {
	id := idempotency.NewAttemptID()
	op := idempotency.Operation{Caller: "bench", Key: idempotency.Key(fmt.Sprintf("%x", id))}
	claimed, err := w.committer.Submit(idempotency.Claim{
		Attempt:     idempotency.Attempt{Operation: op.ID(), ID: id, Owner: w.owner},
		Operation:   op,
		Fingerprint: idempotency.Fingerprinted{Method: "POST", Target: "/orders", Body: w.body}.Fingerprint(),
		Method:      "POST", TargetURI: "/orders", Route: "bench", Budget: time.Minute, Retention: w.keep,
	}, nil)
	if err != nil {
		return err
	}
	done, err := w.committer.Submit(idempotency.Complete{
		Attempt:   claimed.Record.Attempt,
		Response:  idempotency.NewResponse(201, map[string][]string{"Content-Type": {"application/json"}}, w.body),
		Retention: w.keep,
	}, nil)
	if err == nil && !(claimed.Applied && done.Applied) {
		err = fmt.Errorf("a new key was not granted, or its answer not taken: the record is %v", done.Record.State)
	}
	return err
}

// counter counts commits.
type counter struct{ n atomic.Int64 }

func (c *counter) Batched(string, int, time.Duration, error) { c.n.Add(1) }
func (*counter) Moved(idempotency.State, int)                {}
func (*counter) Contradicted(idempotency.OperationID)        {}

// measure calls f from n goroutines for d, from each of them at least once, and returns how long each call took.
func measure(ctx context.Context, n int, d time.Duration, f func() error) (took []time.Duration, elapsed time.Duration, err error) {
	for range 3 { // the first calls connect and prepare
		if err := f(); err != nil {
			return nil, 0, err
		}
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	var mu sync.Mutex
	start := time.Now()
	for range n {
		all.Go(func() {
			var own []time.Duration
			for ctx.Err() == nil && (len(own) == 0 || time.Since(start) < d) { // one at least, however late it began
				before := time.Now()
				if err := f(); err != nil {
					stop(err)
					break
				}
				own = append(own, time.Since(before))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	all.Wait()
	return took, time.Since(start), context.Cause(ctx)
}

func rowOf(n int, took []time.Duration, elapsed time.Duration, commits float64) benchRow {
	slices.Sort(took)
	quantile := func(q float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return float64(took[int(q*float64(len(took)-1))].Nanoseconds()) / 1e3
	}
	return benchRow{AtATime: n, PerSecond: float64(len(took)) / elapsed.Seconds(), Commits: commits, P50: quantile(0.5), P99: quantile(0.99)}
}
