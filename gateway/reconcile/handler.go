package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/onceway/onceway/gateway/caller"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/strict"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
	"github.com/onceway/onceway/openapi/reconciliation"
)

// Engine is what the API asks.
type Engine interface {
	// Await reads a record until enough says so, at most for wait.
	Await(ctx context.Context, id idempotency.OperationID, wait time.Duration, enough func(idempotency.Record) bool) (idempotency.Record, error)
	// AwaitStored is Await of the store alone.
	AwaitStored(ctx context.Context, id idempotency.OperationID, wait time.Duration, enough func(idempotency.Record) bool) (idempotency.Record, error)
	// Recall returns a completed record that is in memory.
	Recall(id idempotency.OperationID) (idempotency.Record, bool)
	// AwaitAll is Await for several operations, none of them twice, without the bodies of their answers.
	AwaitAll(ctx context.Context, ids []idempotency.OperationID, wait time.Duration, enough func(idempotency.Record) bool) ([]idempotency.Record, error)
	// Cancel forbids an operation, unless it is too late.
	Cancel(ctx context.Context, t idempotency.Cancel, tooOld bool) (idempotency.Cancellation, error)
	// Acknowledge erases the content of a stored answer.
	Acknowledge(ctx context.Context, id idempotency.OperationID) (idempotency.Record, error)
}

// Options of the API.
type Options struct {
	Engine   Engine
	Feed     *idempotency.Feed
	Callers  caller.Resolver
	BasePath string        // begins with a slash, ends without
	MaxWait  time.Duration // cap of every wait
	Facts    Facts
	Problems problem.Writer
	Observer *telemetry.Observer
	Log      *slog.Logger
	Work     context.Context // ends when the process stops: then waits end with normal answers
	Now      func() time.Time
	// Pending says that a record in doubt may soon be settled by a probe, so that a wait goes on.
	Pending func(idempotency.Record) bool
	// Retention of the records that are made here.
	Retention idempotency.Retention
	// KeyAges judges keys that have no record.
	KeyAges KeyAges
	// Memory is what the bodies in the answer to a query are reserved in.
	Memory Memory
	// FirstSent returns when a key was first sent, as far as the key or a header says; zero if neither does.
	// The error is a problem.
	FirstSent func(h http.Header, key idempotency.Key) (time.Time, *problem.Problem)
}

// WellKnown is the path of what a client may rely on.
const WellKnown = "/.well-known/idempotency"

// documentBase is the base path that the document has.
const documentBase = "/_reconcile/v1"

// api implements the generated server.
type api struct {
	Options
}

// New returns the handler of everything below the base path and below WellKnown.
func New(o Options) http.Handler {
	a := &api{o}
	e := echo.New()
	e.HTTPErrorHandler = a.failed
	e.Binder = contents{}
	var router strict.Router
	reconciliation.RegisterHandlers(&router, reconciliation.NewStrictHandler(a, nil))
	for _, p := range router.Paths() {
		a.mount(e, p)
	}
	strict.Any(e, "/*", a.observed(o.Observer.Route("reconcile", o.BasePath+"/**"), func(echo.Context) error { return refused{problem.NewNoRoute()} }))
	return e
}

// mount serves an address of the document, for authenticated callers if it is below the base path.
func (a *api) mount(e *echo.Echo, p *strict.Path) {
	below, ofCallers := strings.CutPrefix(p.Template, documentBase)
	if ofCallers {
		p.Template = a.BasePath + below
	}
	strict.Any(e, p.Pattern(), a.observed(a.Observer.Route("reconcile", p.Template), func(c echo.Context) error {
		h := p.Handler(c.Request().Method)
		if h == nil {
			methods := p.Methods()
			c.Response().Header().Set("Allow", strings.Join(methods, ", "))
			return refused{problem.NewMethodNotAllowed("This address knows " + strings.Join(methods, " and ") + ".")}
		}
		if ofCallers {
			if err := a.authenticate(c, p.Has("key")); err != nil {
				return err
			}
			if p, ok := strict.CheckQuery(c.Request()); !ok {
				return refused{p}
			}
		}
		strict.JoinLines(c)
		return h(c)
	}))
}

// refused is a problem as an error.
type refused struct{ problem.Problem }

func (r refused) Error() string { return r.Slug.String() }

// call is what the generated server does not hand on.
type call struct {
	ev      *telemetry.Event
	request *http.Request // as it came
	header  http.Header   // of the answer
	caller  idempotency.Caller
}

type callKey struct{}

func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// observed wraps a call in its event, and turns its error, or its panic, into a problem.
func (a *api) observed(route *telemetry.Route, h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		r := c.Request()
		ev := a.Observer.Start(r, route)
		defer func() {
			if p := recover(); p != nil {
				a.Log.LogAttrs(ev.Context(), slog.LevelError, "panic", slog.String("error", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
				err = refused{problem.NewInternal(problem.Rejected)}
			}
			cut := errors.Is(err, errCut)
			if err != nil {
				a.answerError(c, ev, err)
			}
			ev.BytesOut = c.Response().Size
			ev.End(c.Response().Status)
			if cut {
				panic(http.ErrAbortHandler) // the client must not take what it has for the whole
			}
		}()
		c.SetRequest(r.WithContext(context.WithValue(r.Context(), callKey{}, &call{ev: ev, request: r, header: c.Response().Header()})))
		return h(c)
	}
}

func (a *api) answerError(c echo.Context, ev *telemetry.Event, err error) {
	if c.Response().Committed {
		return
	}
	p, ok := strict.Refusal(err, map[string]string{"wait": a.waitHint(), "limit": limitHint})
	var known refused
	switch {
	case ok:
	case errors.As(err, &known):
		p = known.Problem
	default:
		p = problem.NewStoreUnavailable()
		a.fault(ev, err)
	}
	p = a.Problems.Write(c.Response(), p)
	ev.Problem, ev.State, ev.Next = p.Slug, p.State, p.Next
}

// fault logs the private cause of an answer.
func (a *api) fault(ev *telemetry.Event, err error) {
	a.Log.LogAttrs(ev.Context(), slog.LevelError, "fault", slog.String("error", err.Error()))
}

// failed answers for echo's own errors, which its router makes before any of our handlers runs.
func (a *api) failed(err error, c echo.Context) {
	if !c.Response().Committed {
		a.Problems.Write(c.Response(), problem.NewNoRoute())
	}
}

// authenticate resolves the caller, and reads the key out of the path.
func (a *api) authenticate(c echo.Context, keyed bool) error {
	call := callOf(c.Request().Context())
	who, err := a.Callers.Resolve(call.request)
	if err != nil {
		return refused{problem.NewUnauthenticated(Unauthenticated(err))}
	}
	call.caller = who
	if !keyed {
		return nil
	}
	key, err := a.keyOf(call.request)
	if err != nil {
		return err
	}
	call.ev.Operation = call.operation(string(key)).ID()
	strict.SetParam(c, "key", string(key))
	return nil
}

func (c *call) operation(key string) idempotency.Operation {
	return idempotency.Operation{Caller: c.caller, Key: idempotency.Key(key)}
}

// Unauthenticated returns what a client may read of a resolver's error.
func Unauthenticated(err error) string {
	if known := (*caller.Unauthenticated)(nil); errors.As(err, &known) {
		return known.Reason
	}
	return "The caller could not be established."
}

// keyOf cuts the key out of the path as it was sent and decodes it once.
func (a *api) keyOf(r *http.Request) (idempotency.Key, error) {
	segment := strings.TrimPrefix(r.URL.EscapedPath(), a.BasePath+"/requests/")
	segment, _, _ = strings.Cut(segment, "/")
	value, err := url.PathUnescape(segment)
	if err == nil {
		var key idempotency.Key
		if key, err = idempotency.NewKey(value); err == nil {
			return key, nil
		}
	}
	reason := keyReason(err)
	if reason == "" {
		reason = "it is not percent-encoded correctly"
	}
	return "", refused{problem.NewKeyMalformed("the path", reason)}
}

// keyReason says why a value is no key, without the value; "" if it is about something else.
func keyReason(err error) string {
	if malformed := (*idempotency.KeyError)(nil); errors.As(err, &malformed) {
		return malformed.Reason
	}
	return ""
}

// waitOf reads the parameter wait: whole seconds, cut to what the gateway allows.
func (a *api) waitOf(seconds *int) (time.Duration, error) {
	switch {
	case seconds == nil:
		return 0, nil
	case *seconds < 0 || *seconds > math.MaxInt32:
		return 0, refused{problem.NewRequestMalformed("The parameter wait is " + a.waitHint() + ".")}
	}
	return min(time.Duration(*seconds)*time.Second, a.MaxWait), nil
}

func (a *api) waitHint() string {
	most := strconv.Itoa(int(a.MaxWait.Seconds()))
	return "a whole number of seconds from 0 to " + strconv.Itoa(math.MaxInt32) + "; what is above " + most + " counts as " + most
}
