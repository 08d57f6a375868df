package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/strict"
	"github.com/onceway/onceway/idempotency"
	generated "github.com/onceway/onceway/openapi/admin"
)

// Engine reads and resolves single records.
type Engine interface {
	// Find reads a record as this gateway would answer for it.
	Find(ctx context.Context, id idempotency.OperationID) (idempotency.Record, error)
	// Resolve commits a resolution, and says whether it holds.
	Resolve(r idempotency.Resolve) (idempotency.Result, error)
}

// Store finds records and gateways.
type Store interface {
	idempotency.SearchStore
	idempotency.InstanceStore
}

// Observer hears of resolutions.
type Observer interface {
	// Resolved is called for each that was committed; executed says what it says.
	Resolved(executed bool)
}

// APIOptions are what the operators' API needs. All but Tokens are needed.
type APIOptions struct {
	Engine    Engine
	Store     Store
	Observer  Observer
	Tokens    []Token // without any nobody can write
	Listen    string  // admin.listen, whose host is one that requests may name
	Retention idempotency.Retention
	// MaxBody bounds the content of the response that a resolution carries, in bytes.
	MaxBody int64
	// Storable returns what is kept of the header fields of an answer on a route.
	Storable func(route string, h http.Header) http.Header
	Problems problem.Writer
	Log      *slog.Logger
}

// BasePath begins every path of the API.
const BasePath = "/admin/v1"

// mostSearches is how many searches one gateway makes at once: they use the connections of claims.
const mostSearches = 2

// api implements the generated server.
type api struct {
	APIOptions
	access   access
	searches chan struct{} // has room for mostSearches
}

// API returns the handler of everything below BasePath, and of the pages of problems. Every answer but
// those is JSON; every refusal is a problem document.
func API(o APIOptions) http.Handler {
	a := &api{APIOptions: o, access: access{tokens: o.Tokens, listen: o.Listen}, searches: make(chan struct{}, mostSearches)}
	if host, _, err := net.SplitHostPort(o.Listen); err == nil {
		a.access.listen = host
	}
	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) { a.refuse(c, err) }
	e.Binder = contents{a}
	var router strict.Router
	generated.RegisterHandlers(&router, generated.NewStrictHandler(a, nil))
	for _, p := range router.Paths() {
		a.mount(e, p)
	}
	strict.Any(e, "/*", a.guarded(anything, nowhere))
	return e
}

// queries returns the parameters that an address knows in a query; nil if it does not look at its query. Others
// are refused: a filter that is not applied would show an operator something else than was asked for.
func queries(template string) []string {
	switch template {
	case BasePath + "/requests":
		return queryOf(generated.ListRequestsParams{})
	case BasePath + "/requests/{operation}":
		return queryOf(generated.GetRequestParams{})
	case BasePath + "/instances":
		return queryOf(generated.ListInstancesParams{})
	}
	return nil
}

// queryOf returns the names of the parameters that a generated type takes out of a query.
func queryOf(params any) (names []string) {
	for field := range reflect.TypeOf(params).Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("form"), ",")
		names = append(names, name)
	}
	return names
}

// mount serves an address of the document.
func (a *api) mount(e *echo.Echo, p *strict.Path) {
	known := queries(p.Template)
	h := func(c echo.Context) error {
		if err := onlyThese(c.Request(), known); known != nil && err != nil {
			return err
		}
		if p.Has("operation") {
			id, err := operationIn(c.Request())
			if err != nil {
				return err
			}
			callOf(c.Request().Context()).id = id
			strict.SetParam(c, "operation", id.String())
		}
		return p.Handler(c.Request().Method)(c)
	}
	if strings.HasPrefix(p.Template, problem.PagesPath) {
		e.GET(p.Pattern(), h) // a page is for everybody
		e.HEAD(p.Pattern(), h)
		return
	}
	strict.Any(e, p.Pattern(), a.guarded(p.Methods(), h))
}

func nowhere(echo.Context) error { return refused{problem.NewNoRoute()} }

// refused is a problem as an error.
type refused struct{ problem.Problem }

func (r refused) Error() string { return r.Slug.String() }

// call is what the generated server does not hand on.
type call struct {
	request *http.Request
	header  http.Header             // of the answer
	by      string                  // the name of the operator, "" where no token was needed
	id      idempotency.OperationID // where the path has one
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// anything may be asked of an address that is not there.
var anything []string

// guarded lets through who may, and turns errors and panics into problems.
func (a *api) guarded(methods []string, h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		defer func() {
			if p := recover(); p != nil {
				a.Log.LogAttrs(c.Request().Context(), slog.LevelError, "panic",
					slog.String("error", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
				a.Problems.Write(c.Response(), problem.NewInternal(problem.Rejected))
			}
		}()
		r := c.Request()
		by, err := a.admit(c.Response(), r, methods)
		if err == nil {
			call := &call{request: r, header: c.Response().Header(), by: by}
			c.SetRequest(r.WithContext(context.WithValue(r.Context(), callKey{}, call)))
			err = h(c)
		}
		if err != nil {
			a.refuse(c, err)
		}
		return nil
	}
}

// admit checks, in this order, where a request comes from, what it wants to do, and whose it is.
func (a *api) admit(w http.ResponseWriter, r *http.Request, methods []string) (by string, err error) {
	if p := a.access.stranger(r); p != nil {
		return "", refused{*p}
	}
	if methods != nil && !slices.Contains(methods, r.Method) {
		allow := strings.Join(methods, ", ")
		w.Header().Set("Allow", allow)
		return "", refused{problem.NewMethodNotAllowed("This address knows " + allow + ".")}
	}
	by, ok := a.access.operator(r)
	switch {
	case ok:
		return by, nil
	case methods != nil && !slices.Contains(methods, http.MethodGet):
		return "", a.unauthenticated(w.Header(), "Writing needs a token of admin.tokens, as Authorization: Bearer TOKEN. "+
			"“onceway admin token NAME” makes one.")
	case !a.access.mayRead(r):
		return "", a.unauthenticated(w.Header(), "Reading from another machine needs a token of admin.tokens, as Authorization: Bearer TOKEN.")
	}
	return "", nil
}

func (a *api) unauthenticated(h http.Header, detail string) error {
	h.Set("WWW-Authenticate", "Bearer")
	return refused{problem.NewUnauthenticated(detail)}
}

// refuse answers with a problem. What is no refusal is the store's trouble, whose cause is for the log.
func (a *api) refuse(c echo.Context, err error) {
	p, ok := strict.Refusal(err, map[string]string{"limit": "a number"})
	if !ok {
		known := refused{problem.NewStoreUnavailable()}
		if !errors.As(err, &known) {
			a.Log.LogAttrs(c.Request().Context(), slog.LevelError, "admin", slog.String("error", err.Error()))
		}
		p = known.Problem
	}
	a.Problems.Write(c.Response(), p)
}

// operationIn reads the operation out of the path.
func operationIn(r *http.Request) (idempotency.OperationID, error) {
	segment := strings.TrimPrefix(r.URL.EscapedPath(), BasePath+"/requests/")
	segment, _, _ = strings.Cut(segment, "/")
	text, err := url.PathUnescape(segment)
	if err != nil {
		text = segment
	}
	id, err := idempotency.ParseOperationID(text)
	if err != nil {
		return id, refused{problem.NewRequestMalformed("In the path: " + err.Error() + ".")}
	}
	return id, nil
}

// about adds the record that a problem is about.
func about(p problem.Problem, r idempotency.Record) error {
	return refused{p.About(r.ID.String(), BasePath+"/requests/"+r.ID.String(), r.Trace.String())}
}

// answer writes the answer to any of the document's calls.
type answer func(w http.ResponseWriter) error

func (f answer) VisitGetProblemPageResponse(w http.ResponseWriter) error { return f(w) }
func (f answer) VisitListInstancesResponse(w http.ResponseWriter) error  { return f(w) }
func (f answer) VisitListRequestsResponse(w http.ResponseWriter) error   { return f(w) }
func (f answer) VisitGetRequestResponse(w http.ResponseWriter) error     { return f(w) }
func (f answer) VisitResolveRequestResponse(w http.ResponseWriter) error { return f(w) }

// inJSON answers with a value, and declares the length of it.
func inJSON(v any) answer {
	return func(w http.ResponseWriter) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		b = append(b, '\n')
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(len(b)))
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(b)
		return nil
	}
}

// GetProblemPage answers with what a problem means.
func (a *api) GetProblemPage(_ context.Context, in generated.GetProblemPageRequestObject) (generated.GetProblemPageResponseObject, error) {
	html, ok := problem.Page(in.Slug)
	return answer(func(w http.ResponseWriter) error {
		if !ok {
			http.Error(w, "404 page not found", http.StatusNotFound)
			return nil
		}
		w.Header().Set("Content-Type", problem.PageType)
		w.Header().Set("Content-Security-Policy", problem.PagePolicy)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(html)
		return nil
	}), nil
}

// onlyThese refuses a query with other parameters than names, with one of them twice, or of which a part cannot be read.
func onlyThese(r *http.Request, names []string) error {
	if p, ok := strict.CheckQuery(r); !ok {
		return refused{p}
	}
	for name, values := range r.URL.Query() {
		if !slices.Contains(names, name) || len(values) != 1 {
			return refused{problem.NewRequestMalformed("This address knows the parameters " + strings.Join(names, ", ") + ", each once.")}
		}
	}
	return nil
}

// limitOf reads the parameter limit.
func limitOf(n *int, standard, most int) (int, error) {
	switch {
	case n == nil:
		return standard, nil
	case *n < 1 || *n > most:
		return 0, refused{problem.NewRequestMalformed(fmt.Sprintf("The parameter limit is a number from 1 to %d.", most))}
	}
	return *n, nil
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
