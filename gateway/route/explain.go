package route

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/onceway/onceway/gateway/config"
)

// Explanation says what becomes of a request, for onceway routes test.
type Explanation struct {
	Target    Target        // as matched and forwarded
	Route     *config.Route // nil if none matches
	Protected bool
	Skipped   []Skip // the routes before it, in order; all routes if none matches
}

// Skip is a route that does not match, and why.
type Skip struct {
	Route *config.Route
	Why   string
}

// Explain says where a request for rawURL would go: an absolute URL, or a path when the host does not
// matter. The errors are those of ParseTarget, with the raw_paths of the route that matches, and, where it protects, of CheckQuery.
func (t *Table) Explain(method, rawURL string) (Explanation, error) {
	target, err := ParseTarget(method, rawURL, true)
	if err != nil {
		return Explanation{}, err
	}
	host := ""
	if !strings.HasPrefix(rawURL, "/") {
		u, err := url.Parse(rawURL)
		if err != nil {
			return Explanation{}, &InvalidError{"it is not a URL"}
		}
		host = hostName(u.Host)
	}
	x := Explanation{Target: target}
	for i := range t.entries {
		e := &t.entries[i]
		if by := e.mismatch(method, host, target.Path); by != 0 {
			x.Skipped = append(x.Skipped, Skip{e.route, e.why(by, method, host, target.Path)})
			continue
		}
		if err := target.CheckAmbiguous(method); err != nil && !e.route.RawPaths {
			return Explanation{}, fmt.Errorf("route %s: %w", e.route.Name, err)
		}
		x.Route, x.Protected = e.route, Protected(e.route, method, http.Header{})
		if err := target.CheckQuery(); err != nil && x.Protected {
			return Explanation{}, fmt.Errorf("route %s: %w", e.route.Name, err)
		}
		break
	}
	return x, nil
}

func (e *entry) why(by mismatch, method, host, path string) string {
	m := e.route.Match
	switch by {
	case byPath:
		return fmt.Sprintf("path %s does not match %s", path, m.Path)
	case byHost:
		if host == "" {
			return fmt.Sprintf("it is for host %s, and the URL has none", m.Host)
		}
		return fmt.Sprintf("host %s does not match %s", host, m.Host)
	case byMethod:
		return fmt.Sprintf("method %s is not one of %s", method, strings.Join(m.Methods, ", "))
	}
	panic("route: not a mismatch")
}
