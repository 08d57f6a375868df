package admin

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Check is one condition of readiness.
type Check struct {
	Name string // a short fixed word: "store", "schema", "lease", "draining"
	// Run returns nil if all is well. It must return soon after ctx has ended, and may be called from
	// several goroutines, but never at the same time twice.
	Run func(ctx context.Context) error
	// Fresh is how long an answer is used again, so that many probes do not become many queries.
	// Default: 0, every probe asks.
	Fresh time.Duration
}

// result is what a probe may see of a check.
type result struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
}

type readiness []*probe

type probe struct {
	Check
	timeout time.Duration
	log     *slog.Logger

	mu     sync.Mutex
	asked  bool
	at     time.Time
	failed bool
}

func newReadiness(opts Options) readiness {
	var r readiness
	for _, c := range opts.Checks {
		r = append(r, &probe{Check: c, timeout: opts.Timeout, log: opts.Log})
	}
	return r
}

// ask runs the checks side by side, so that one ill neighbour costs one timeout and not the sum.
func (r readiness) ask(ctx context.Context) []result {
	results := make([]result, len(r))
	var all sync.WaitGroup
	for i, p := range r {
		all.Go(func() { results[i] = result{p.Name, p.ok(ctx)} })
	}
	all.Wait()
	return results
}

// ok runs the check on behalf of everybody who waits for it, which is why it does not end with the
// first of them.
func (p *probe) ok(ctx context.Context) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.asked && time.Since(p.at) < p.Fresh {
		return !p.failed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.timeout)
	defer cancel()
	err := p.Run(ctx)
	switch {
	case err != nil && !(p.asked && p.failed):
		p.log.LogAttrs(ctx, slog.LevelWarn, "not ready", slog.String("check", p.Name), slog.String("error", err.Error()))
	case err == nil && p.failed:
		p.log.LogAttrs(ctx, slog.LevelInfo, "ready again", slog.String("check", p.Name))
	}
	p.asked, p.at, p.failed = true, time.Now(), err != nil
	return err == nil
}
