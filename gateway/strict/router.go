package strict

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// Any has h answer everything at an address, whatever the method. echo's own Any knows some methods by their names; it is
// what finds no route that gets all of them.
func Any(e *echo.Echo, pattern string, h echo.HandlerFunc) { e.RouteNotFound(pattern, h) }

// Router takes what the RegisterHandlers of a generated package registers. The zero value is ready.
type Router struct {
	paths []*Path
}

// Path is an address of a document, with what answers there.
type Path struct {
	Template string // as in the document, with {parameters}
	handlers map[string]echo.HandlerFunc
}

// Paths returns what was registered, in the order of the document.
func (r *Router) Paths() []*Path { return r.paths }

// Pattern is the template as echo has it.
func (p *Path) Pattern() string {
	return strings.NewReplacer("{", ":", "}", "").Replace(p.Template)
}

// Has reports whether the template has a parameter of this name.
func (p *Path) Has(parameter string) bool { return strings.Contains(p.Template, "{"+parameter+"}") }

// Handler returns what answers a method; nil if nothing does. HEAD is answered as GET (RFC 9110, section 9.3.2).
func (p *Path) Handler(method string) echo.HandlerFunc {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return p.handlers[method]
}

// Methods returns what the address can be asked, in alphabetical order.
func (p *Path) Methods() []string {
	var names []string
	for method := range p.handlers {
		names = append(names, method)
		if method == http.MethodGet {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return names
}

func (r *Router) add(method, pattern string, h echo.HandlerFunc) *echo.Route {
	segments := strings.Split(pattern, "/")
	for i, s := range segments {
		if name, ok := strings.CutPrefix(s, ":"); ok {
			segments[i] = "{" + name + "}"
		}
	}
	template := strings.Join(segments, "/")
	i := slices.IndexFunc(r.paths, func(p *Path) bool { return p.Template == template })
	if i < 0 {
		i = len(r.paths)
		r.paths = append(r.paths, &Path{template, map[string]echo.HandlerFunc{}})
	}
	r.paths[i].handlers[method] = h
	return &echo.Route{Method: method, Path: pattern}
}

// The methods by which generated code registers. Our own documents give no middleware.

func (r *Router) CONNECT(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodConnect, path, h)
}

func (r *Router) DELETE(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodDelete, path, h)
}

func (r *Router) GET(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodGet, path, h)
}

func (r *Router) HEAD(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodHead, path, h)
}

func (r *Router) OPTIONS(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodOptions, path, h)
}

func (r *Router) PATCH(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPatch, path, h)
}

func (r *Router) POST(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPost, path, h)
}

func (r *Router) PUT(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodPut, path, h)
}

func (r *Router) TRACE(path string, h echo.HandlerFunc, _ ...echo.MiddlewareFunc) *echo.Route {
	return r.add(http.MethodTrace, path, h)
}
