package gateway

import (
	"net/http"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/probe"
	"github.com/onceway/onceway/idempotency"
)

// newProber makes the prober of the routes whose backends can be asked.
func newProber(o Options) *probe.Prober {
	var routes []probe.Route
	for i := range o.Config.Routes {
		r := &o.Config.Routes[i]
		p := &r.Idempotency
		if p.Mode == config.ModeOff || p.OnUnknown != config.OnUnknownProbe {
			continue
		}
		routes = append(routes, probe.Route{
			Name: r.Name, Policy: &p.Probe, MaxAnswer: 2*p.MaxResponseBody + 64<<10, // as base64, in an envelope
			Keep: func(r *idempotency.Response) *idempotency.Response { return kept(r, p) },
		})
	}
	return probe.New(probe.Options{
		Routes: routes, Store: o.Probes, Records: o.Engine, Retention: o.Config.Retention, Observer: o.Observer, Log: o.Log,
	})
}

// kept makes of an answer that a probe brought what is stored of any answer of the route.
func kept(r *idempotency.Response, policy *config.Idempotency) *idempotency.Response {
	fields := Storable(http.Header(r.Header).Clone(), policy.DropHeaders)
	whole := idempotency.NewResponse(r.Status, fields, r.Body)
	if whole.Length > policy.MaxResponseBody {
		return whole.Bodiless()
	}
	return whole
}
