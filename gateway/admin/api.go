package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/idempotency"
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
	mux := http.NewServeMux()
	mux.Handle(BasePath+"/requests", a.guarded(reading, a.list))
	mux.Handle(BasePath+"/requests/{operation}", a.guarded(reading, a.show))
	mux.Handle(BasePath+"/requests/{operation}/resolution", a.guarded(writing, a.resolve))
	mux.Handle(BasePath+"/instances", a.guarded(reading, a.instances))
	mux.Handle("/", a.guarded(either, nowhere))
	mux.HandleFunc("GET "+problem.PagesPath+"{slug}", page)
	return mux
}

func nowhere(http.ResponseWriter, *http.Request, string) error { return refused{problem.NewNoRoute()} }

func page(w http.ResponseWriter, r *http.Request) {
	html, ok := problem.Page(r.PathValue("slug"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", problem.PageType)
	w.Header().Set("Content-Security-Policy", problem.PagePolicy)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(html)
}

// refused is a problem as an error.
type refused struct{ problem.Problem }

func (r refused) Error() string { return r.Slug.String() }

// kind is what a call does.
type kind uint8

const (
	reading kind = iota
	writing
	either // an address that is not there
)

// call answers a request, or returns why not. by is the name of the operator, "" where no token was needed.
type call func(w http.ResponseWriter, r *http.Request, by string) error

// guarded lets through who may, and turns errors and panics into problems.
func (a *api) guarded(k kind, c call) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				a.Log.LogAttrs(r.Context(), slog.LevelError, "panic",
					slog.String("error", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
				a.Problems.Write(w, problem.NewInternal(problem.Rejected))
			}
		}()
		by, err := a.admit(w, r, k)
		if err == nil {
			err = c(w, r, by)
		}
		if err != nil {
			a.refuse(w, r, err)
		}
	})
}

// admit checks, in this order, where a request comes from, what it wants to do, and whose it is.
func (a *api) admit(w http.ResponseWriter, r *http.Request, k kind) (by string, err error) {
	if p := a.access.stranger(r); p != nil {
		return "", refused{*p}
	}
	if allow := k.allows(r.Method); allow != "" {
		w.Header().Set("Allow", allow)
		return "", refused{problem.NewMethodNotAllowed("This address knows " + allow + ".")}
	}
	by, ok := a.access.operator(r)
	switch {
	case ok:
		return by, nil
	case k == writing:
		return "", a.unauthenticated(w, "Writing needs a token of admin.tokens, as Authorization: Bearer TOKEN. "+
			"“onceway admin token NAME” makes one.")
	case !a.access.mayRead(r):
		return "", a.unauthenticated(w, "Reading from another machine needs a token of admin.tokens, as Authorization: Bearer TOKEN.")
	}
	return "", nil
}

// allows returns "" if a method is one of the kind's, and else those that are.
func (k kind) allows(method string) string {
	switch {
	case k == either,
		k == reading && (method == http.MethodGet || method == http.MethodHead),
		k == writing && method == http.MethodPost:
		return ""
	case k == writing:
		return "POST"
	}
	return "GET, HEAD"
}

func (a *api) unauthenticated(w http.ResponseWriter, detail string) error {
	w.Header().Set("WWW-Authenticate", "Bearer")
	return refused{problem.NewUnauthenticated(detail)}
}

// refuse answers with a problem. What is no refusal is the store's trouble, whose cause is for the log.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, err error) {
	known := refused{problem.NewStoreUnavailable()}
	if !errors.As(err, &known) {
		a.Log.LogAttrs(r.Context(), slog.LevelError, "admin", slog.String("error", err.Error()))
	}
	a.Problems.Write(w, known.Problem)
}

// operationOf reads the operation out of the path.
func operationOf(r *http.Request) (idempotency.OperationID, error) {
	id, err := idempotency.ParseOperationID(r.PathValue("operation"))
	if err != nil {
		return id, refused{problem.NewRequestMalformed("In the path: " + err.Error() + ".")}
	}
	return id, nil
}

// about adds the record that a problem is about.
func about(p problem.Problem, r idempotency.Record) error {
	return refused{p.About(r.ID.String(), BasePath+"/requests/"+r.ID.String(), r.Trace.String())}
}

func answer(w http.ResponseWriter, v any) error {
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

// parameters reads a query string of which every name must be one of names, once.
func parameters(r *http.Request, names ...string) (map[string]string, error) {
	got := map[string]string{}
	for name, values := range r.URL.Query() {
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if !known || len(values) != 1 {
			known := strings.Join(names, ", ")
			return nil, refused{problem.NewRequestMalformed("This address knows the parameters " + known + ", each once.")}
		}
		got[name] = values[0]
	}
	return got, nil
}

// limitOf reads the parameter limit.
func limitOf(value string, standard, most int) (int, error) {
	if value == "" {
		return standard, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > most {
		return 0, refused{problem.NewRequestMalformed(fmt.Sprintf("The parameter limit is a number from 1 to %d.", most))}
	}
	return n, nil
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
