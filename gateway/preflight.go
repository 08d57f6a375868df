package gateway

import (
	"net/http"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/gateway/cors"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/route"
	"github.com/onceway/onceway/gateway/telemetry"
)

// everyCORS returns the settings whose pages may ask our own APIs: a page that may send a request to any route
// needs to ask what became of it.
func everyCORS(c *config.Config) []config.CORS {
	all := []config.CORS{c.CORS}
	for _, r := range c.Routes {
		all = append(all, r.CORS)
	}
	return all
}

// ownMethods are those that our own APIs know.
var ownMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut}

// preflightOfOurs answers a browser that asks whether a page may call our own APIs, and reports whether it was
// one. Without any origin in the configuration there are no such questions, only a method that nothing knows.
func (g *Gateway) preflightOfOurs(out *recorder, r *http.Request) bool {
	if _, ok := cors.PreflightMethod(r); !ok || g.ownPages == nil {
		return false
	}
	if !g.ownPages.Lists(r) {
		g.unroutable(out, r, g.own, problem.NewForbidden("No cors.origins of this gateway lists the origin of the page."))
		return true
	}
	g.permit(out, r, g.ownPages, g.own, ownMethods...)
	return true
}

// preflight answers a browser that asks whether a page may send a request, if its origin is listed for the
// route that the request will have. The backend is not asked: it cannot know our fields, and many do not know
// the question. For all other pages the backend decides, as without us.
func (g *Gateway) preflight(out *recorder, r *http.Request, t route.Target) bool {
	method, ok := cors.PreflightMethod(r)
	if !ok {
		return false
	}
	pages, seen := g.pages, g.unrouted // then the page may read that there is no route
	if matched, ok := g.routes.Match(method, r.Host, t.Path); ok {
		pages, seen = g.bounds[matched].pages, g.bounds[matched].seen
	}
	if !pages.Lists(r) {
		return false
	}
	g.permit(out, r, pages, seen, method)
	return true
}

func (g *Gateway) permit(out *recorder, r *http.Request, pages *cors.Policy, seen *telemetry.Route, methods ...string) {
	ev := g.observer.Start(r, seen)
	defer func() { ev.End(out.status) }()
	out.pages = nil // there is nothing to read
	pages.Permit(out.Header(), r, methods...)
	out.Header().Set("Cache-Control", "no-store")
	out.WriteHeader(http.StatusNoContent)
}
