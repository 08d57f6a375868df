package config

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Warnings returns what is legal but unwise, for the block that serve prints.
func (c *Config) Warnings() []Warning { return slices.Clone(c.warnings) }

// advise collects the warnings of a configuration that is right.
func (d *decoder) advise(c *Config) {
	if c.Caller.None != nil && c.Caller.None.Shared {
		d.warnAt("caller.none.shared", "all clients are one caller: whoever knows a key can read its answer")
	}
	if !isLoopback(c.Admin.Listen) && len(c.Admin.Tokens) == 0 {
		d.warnAt("admin.listen", "listens beyond loopback without tokens: nobody can read the admin API there, only health and metrics answer")
	}
	if c.Lease < 2*time.Second {
		d.warnAt("lease", "a lease this short lapses in an ordinary pause, and puts what runs in doubt")
	}
	for i, r := range c.Routes {
		at := "routes[" + strconv.Itoa(i) + "]"
		if r.Idempotency.Mode != ModeOff {
			d.adviseIdempotency(at+".idempotency", r.Idempotency)
		}
		d.adviseReachable(at, c, i)
	}
	for _, u := range c.Upstreams {
		if !slices.ContainsFunc(c.Routes, func(r Route) bool { return r.Upstream == u.Name }) {
			d.warnAt("upstreams."+u.Name, "no route uses it")
		}
	}
}

func (d *decoder) adviseIdempotency(at string, i Idempotency) {
	if i.KeyDate == idempotency.DateNone {
		d.warnAt(at+".key_date", "keys carry no date: a key that comes back after Idempotency-Expires is executed again")
	}
	if i.OnUnknown == OnUnknownProbe && i.Probe.Absence == AbsenceSettle {
		d.warnAt(at+".probe.absence", "settle believes that what is not found "+formatDuration(i.Probe.Settle)+
			" after the doubt will never be executed: a request that sits in a queue for longer is executed twice")
	}
	for _, status := range []int{http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout} {
		switch {
		case slices.Contains(i.NotExecutedStatuses, status):
			d.warnAt(at+".not_executed_statuses", fmt.Sprintf("%d is taken for proof that nothing was executed: no proxy behind the gateway may send it", status))
		case !slices.Contains(i.UnknownStatuses, status):
			d.warnAt(at+".unknown_statuses", fmt.Sprintf("%d is a final answer, stored and replayed: no proxy behind the gateway may send it", status))
		}
	}
}

// adviseReachable warns of a route that an earlier one, or our own API, hides.
func (d *decoder) adviseReachable(at string, c *Config, i int) {
	r := c.Routes[i]
	if r.Match.Path == c.Reconcile.BasePath || strings.HasPrefix(r.Match.Path, c.Reconcile.BasePath+"/") {
		d.warnAt(at+".match.path", "is never reached: the reconciliation API answers below "+c.Reconcile.BasePath)
	}
	for _, earlier := range c.Routes[:i] {
		if earlier.Match.covers(r.Match) {
			d.warnAt(at, "is never reached: route "+earlier.Name+" matches everything that it does")
			return
		}
	}
}

// covers reports whether m holds for every request for which other holds.
func (m Match) covers(other Match) bool {
	if len(m.Methods) > 0 && len(other.Methods) == 0 {
		return false
	}
	if len(m.Methods) > 0 && slices.ContainsFunc(other.Methods, func(method string) bool { return !slices.Contains(m.Methods, method) }) {
		return false
	}
	if m.Host != other.Host && !MatchHost(m.Host, strings.TrimPrefix(other.Host, "*")) {
		return false
	}
	p, err := ParsePattern(m.Path)
	if err != nil {
		return false
	}
	q, err := ParsePattern(other.Path)
	return err == nil && p.Covers(q)
}
