package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/limit"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
)

// Doubts counts what a caller has in doubt, at most most; see [idempotency.CensusStore].
type Doubts func(ctx context.Context, who idempotency.Caller, most int) (int, error)

// newLimits returns the limits of new attempts.
func newLimits(c *config.Config, doubts Doubts) *limit.Callers {
	return limit.New(limit.Options{
		PerSecond: c.Limits.RequestsPerSecond, InFlight: c.Limits.InFlight, Unsettled: c.Limits.Unsettled,
		InDoubt: func(ctx context.Context, who idempotency.Caller, most int) (int, error) {
			ctx, cancel := context.WithTimeout(ctx, c.StoreTimeout)
			defer cancel()
			return doubts(ctx, who, most)
		},
	})
}

// newAskLimits returns those of calls to our own APIs. A client that comes back asks about many things in one
// moment, so two seconds' worth may come at once.
func newAskLimits(c *config.Config) *limit.Callers {
	return limit.New(limit.Options{PerSecond: c.Reconcile.RequestsPerSecond, Burst: 2 * c.Reconcile.RequestsPerSecond})
}

// admit takes what a new attempt needs of its caller's limits. The error is a *refusal.
func (g *Gateway) admit(in *intake, open bool) (*limit.Leave, error) {
	leave, err := g.limits.Admit(g.work, in.operation.Caller, open)
	if exceeded := (*limit.Exceeded)(nil); errors.As(err, &exceeded) {
		return nil, &refusal{problem.NewRateLimited(fmt.Sprintf("%s of this caller (limits.%s is %d). Nothing was sent to the backend, and no record was made.",
			exceededText[exceeded.Limit], exceeded.Limit, exceeded.Value))}
	}
	return leave, err
}

var exceededText = map[string]string{
	"requests_per_second": "There are too many new requests",
	"in_flight":           "As many attempts as are allowed at once are running",
	"unsettled":           "Too many operations are running or in doubt",
}

// limited reports whether a caller's limit refused.
func limited(err error) bool {
	if err == nil {
		return false // without what errors.As allocates
	}
	known := (*refusal)(nil)
	return errors.As(err, &known) && known.Slug == problem.RateLimited
}

// mayAsk reports whether a caller may make one more call to our own APIs now, and refuses it otherwise. Whoever
// is not authenticated is told so by the call itself, and what needs no caller has no limit.
func (g *Gateway) mayAsk(out *recorder, r *http.Request, path string) bool {
	if !within(path, g.basePath) {
		return true
	}
	who, err := g.callers.Resolve(r)
	if err != nil || g.asks.Allow(who) {
		return true
	}
	g.unroutable(out, r, g.own, problem.NewRateLimited(fmt.Sprintf("This caller asks too often (reconcile.requests_per_second is %d). "+
		"Wait, with the parameter wait instead of asking again and again, and ask for many keys at once with POST %s/query.", g.askRate, g.basePath)))
	return false
}
