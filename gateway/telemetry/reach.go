package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// reach is what the log knows of an upstream's targets. Requests that do not get a connection say so by their cause
// alone; what is wrong, as with a certificate, is said here: when it begins, then now and then.
type reach struct {
	mu      sync.Mutex
	targets map[string]*reached
}

type reached struct {
	failing bool                            // the last that was told
	told    map[idempotency.Cause]time.Time // last
}

// tellAgain is how long the log keeps silent about a target that fails in the same way, however often.
const tellAgain = time.Minute

// Dialed reports one attempt to connect to a target; err is nil if it succeeded. It logs what changes.
func (u *Upstream) Dialed(_, target string, _ time.Duration, cause idempotency.Cause, err error) {
	if errors.Is(err, context.Canceled) {
		return // by us
	}
	ctx, log := context.Background(), u.observer.log
	switch {
	case !u.reach.changes(target, cause, time.Now()):
	case err == nil:
		log.LogAttrs(ctx, slog.LevelInfo, "backend reached again", slog.String("upstream", u.name), slog.String("target", target))
	default:
		log.LogAttrs(ctx, slog.LevelWarn, "backend not reached", slog.String("upstream", u.name), slog.String("target", target),
			slog.String("cause", word(string(cause))), slog.String("error", err.Error()))
	}
}

// Moved is of no interest to the log: such requests have found another connection.
func (u *Upstream) Moved(string, string) {}

// changes reports whether to tell of an attempt at a target, which failed unless the cause is empty.
func (r *reach) changes(target string, cause idempotency.Cause, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.targets[target]
	if t == nil {
		t = &reached{told: map[idempotency.Cause]time.Time{}}
		if r.targets == nil {
			r.targets = map[string]*reached{}
		}
		r.targets[target] = t
	}
	if cause == "" {
		was := t.failing
		t.failing = false
		return was
	}
	if last, ok := t.told[cause]; ok && now.Sub(last) < tellAgain {
		return false
	}
	t.failing, t.told[cause] = true, now
	return true
}
