package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/onceway/onceway/gateway/caller"
	"github.com/onceway/onceway/gateway/problem"
	"github.com/onceway/onceway/gateway/telemetry"
	"github.com/onceway/onceway/idempotency"
)

// Engine is what the API asks.
type Engine interface {
	// Await reads a record until enough says so, at most for wait.
	Await(ctx context.Context, id idempotency.OperationID, wait time.Duration, enough func(idempotency.Record) bool) (idempotency.Record, error)
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
	// Memory is what the bodies in the answer to a query are reserved in.
	Memory Memory
	// FirstSent returns when a key was first sent, as far as the key or a header says; zero if neither does.
	// The error is a problem.
	FirstSent func(h http.Header, key idempotency.Key) (time.Time, *problem.Problem)
}

// WellKnown is the path of what a client may rely on.
const WellKnown = "/.well-known/idempotency"

type api struct {
	Options
}

// New returns the handler of everything below the base path and below WellKnown.
func New(o Options) http.Handler {
	a := &api{o}
	e := echo.New()
	e.HTTPErrorHandler = a.failed
	a.route(e, WellKnown, reads, a.facts)
	a.route(e, o.BasePath+"/query", posts, a.query)
	a.route(e, problem.PagesPath+":slug", reads, a.page)
	a.route(e, o.BasePath+"/requests/:key", reads, a.authenticated(a.record))
	a.route(e, o.BasePath+"/requests/:key/response", reads, a.authenticated(a.response))
	a.route(e, o.BasePath+"/requests/:key/cancellation", puts, a.authenticated(a.cancel))
	a.route(e, o.BasePath+"/requests/:key/acknowledgement", puts, a.authenticated(a.acknowledge))
	unmatched := o.Observer.Route("reconcile", o.BasePath+"/**")
	e.Any("/*", a.observed(unmatched, func(c echo.Context, ev *telemetry.Event) error { return refused{problem.NewNoRoute()} }))
	return e
}

// handler is a call with its event, which it fills in.
type handler func(c echo.Context, ev *telemetry.Event) error

// refused is a problem as an error.
type refused struct{ problem.Problem }

func (r refused) Error() string { return r.Slug.String() }

// What an address can be asked.
var (
	reads = []string{http.MethodGet, http.MethodHead}
	puts  = []string{http.MethodPut}
	posts = []string{http.MethodPost}
)

// route serves methods at a path with :parameters, and refuses all others.
func (a *api) route(e *echo.Echo, path string, methods []string, h handler) {
	template := path
	for _, name := range []string{"key", "slug"} {
		template = strings.Replace(template, ":"+name, "{"+name+"}", 1)
	}
	observed := a.observed(a.Observer.Route("reconcile", template), func(c echo.Context, ev *telemetry.Event) error {
		if !slices.Contains(methods, c.Request().Method) {
			c.Response().Header().Set("Allow", strings.Join(methods, ", "))
			return refused{problem.NewMethodNotAllowed("This address knows " + strings.Join(methods, " and ") + ".")}
		}
		return h(c, ev)
	})
	e.Any(path, observed)
}

// observed wraps a call in its event, and turns its error, or its panic, into a problem.
func (a *api) observed(route *telemetry.Route, h handler) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		ev := a.Observer.Start(c.Request(), route)
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
		return h(c, ev)
	}
}

func (a *api) answerError(c echo.Context, ev *telemetry.Event, err error) {
	if c.Response().Committed {
		return
	}
	p := problem.NewStoreUnavailable()
	var known refused
	if errors.As(err, &known) {
		p = known.Problem
	} else {
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

type keyed func(c echo.Context, ev *telemetry.Event, op idempotency.Operation) error

// authenticated resolves the caller and reads the key out of the path.
func (a *api) authenticated(h keyed) handler {
	return func(c echo.Context, ev *telemetry.Event) error {
		who, err := a.Callers.Resolve(c.Request())
		if err != nil {
			return refused{problem.NewUnauthenticated(Unauthenticated(err))}
		}
		key, err := a.keyOf(c.Request())
		if err != nil {
			return err
		}
		op := idempotency.Operation{Caller: who, Key: key}
		ev.Operation = op.ID()
		return h(c, ev, op)
	}
}

// Unauthenticated returns what a client may read of a resolver's error.
func Unauthenticated(err error) string {
	if known := (*caller.Unauthenticated)(nil); errors.As(err, &known) {
		return known.Reason
	}
	return "The caller could not be established."
}

// keyOf cuts the key out of the path as it was sent and decodes it once. A router's parameter will not
// do: it has been decoded by rules of its own, and one key must not become another.
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

func (a *api) record(c echo.Context, ev *telemetry.Event, op idempotency.Operation) error {
	wait, err := a.waitOf(c)
	if err != nil {
		return err
	}
	withBody := c.QueryParam("include") == "body"
	known := c.Request().Header.Values("If-None-Match")
	rec, err := a.Engine.Await(a.Work, op.ID(), wait, func(r idempotency.Record) bool {
		if r.State == idempotency.Unseen {
			return true
		}
		if len(known) > 0 {
			return !matches(known, etag(r, withBody))
		}
		return a.known(r)
	})
	if err != nil {
		return err
	}
	switch {
	case rec.State == idempotency.Unseen:
		return refused{problem.NewUnseen()}
	case rec.Damaged:
		return a.damaged(c, ev, rec)
	}
	tag := etag(rec, withBody)
	h := c.Response().Header()
	a.stamp(h, ev, rec)
	h.Set("ETag", tag)
	if matches(known, tag) {
		return c.NoContent(http.StatusNotModified)
	}
	WriteRecord(c.Response(), http.StatusOK, rec, withBody)
	return nil
}

// known reports whether there is nothing to wait for: no attempt is running, and nobody asks the backend.
func (a *api) known(r idempotency.Record) bool {
	return r.State != idempotency.Executing && !a.Pending(r)
}

func (a *api) response(c echo.Context, ev *telemetry.Event, op idempotency.Operation) error {
	rec, err := a.Engine.Await(a.Work, op.ID(), 0, func(idempotency.Record) bool { return true })
	if err != nil {
		return err
	}
	switch rec.State {
	case idempotency.Unseen:
		return refused{problem.NewUnseen()}
	case idempotency.Completed:
		if rec.Damaged || rec.Response == nil {
			return a.damaged(c, ev, rec)
		}
	case idempotency.Forgotten:
		return refused{a.about(c, Forgotten(rec), rec)}
	case idempotency.Executing, idempotency.NotExecuted, idempotency.Unknown, idempotency.Cancelled:
		return refused{a.about(c, problem.NewNotSettled(problem.OfRecord(rec.Believed()), nextOf(rec)), rec)}
	}
	h := c.Response().Header()
	a.stamp(h, ev, rec)
	h.Set(problem.HeaderResponseStatus, strconv.Itoa(rec.Response.Status))
	h.Set("ETag", `"`+fmt.Sprintf("%x", rec.Response.Digest[:16])+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "application/octet-stream")
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language"} {
		if values := rec.Response.Header[name]; len(values) > 0 {
			h[name] = values
		}
	}
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, bytes.NewReader(rec.Response.Body))
	return nil
}

// Forgotten says what is still known of an answer whose body is gone.
func Forgotten(rec idempotency.Record) problem.Problem {
	if rec.Response == nil {
		return problem.NewResponseForgotten(0, -1, "")
	}
	return problem.NewResponseForgotten(rec.Response.Status, rec.Response.Length, rec.Response.DigestField())
}

// about makes a problem, and the fields of its answer, about a record.
func (a *api) about(c echo.Context, p problem.Problem, rec idempotency.Record) problem.Problem {
	h := c.Response().Header()
	h.Set(problem.HeaderExpires, rec.Expires.UTC().Format(http.TimeFormat))
	if rec.Resolution != nil {
		h.Set(problem.HeaderResolved, ResolvedBy(rec.Resolution))
	}
	return p.About(rec.ID.String(), StatusURL(a.BasePath, rec.Operation.Key), rec.Trace.String())
}

// damaged shows nothing of a record whose bytes do not match their digest, and alarms.
func (a *api) damaged(c echo.Context, ev *telemetry.Event, rec idempotency.Record) error {
	a.Log.LogAttrs(ev.Context(), slog.LevelError, "fault", slog.String("operation", rec.ID.String()), slog.String("error", idempotency.ErrDamaged.Error()))
	return refused{a.about(c, problem.NewRecordDamaged(), rec)}
}

// nextOf says what a client should do about a record. What is in doubt on a route whose backend
// deduplicates by key is resolved by the next retry.
func nextOf(r idempotency.Record) problem.Next {
	if r.State == idempotency.Unknown && r.Resend && !r.Contradicted {
		return problem.Resend
	}
	return problem.NextOfRecord(r.Believed())
}

// stamp sets the headers of every answer about a record.
func (a *api) stamp(h http.Header, ev *telemetry.Event, rec idempotency.Record) {
	state, next := problem.OfRecord(rec.Believed()), nextOf(rec)
	ev.State, ev.Next = state, next
	h.Set(problem.HeaderState, state.String())
	h.Set(problem.HeaderNext, next.String())
	if after := a.Problems.RetryAfter(next); after != "" {
		h.Set(problem.HeaderRetryAfter, after)
	}
	if rec.Resolution != nil {
		h.Set(problem.HeaderResolved, ResolvedBy(rec.Resolution))
	}
	h.Set(problem.HeaderExpires, rec.Expires.UTC().Format(http.TimeFormat))
	h.Set(problem.HeaderLink, problem.StatusLink(StatusURL(a.BasePath, rec.Operation.Key)))
	h.Set("Cache-Control", "no-store")
}

// StatusURL returns the path of a key's record.
func StatusURL(basePath string, key idempotency.Key) string {
	return basePath + "/requests/" + url.PathEscape(string(key))
}

// ResolvedBy returns the value of Idempotency-Resolved.
func ResolvedBy(r *idempotency.Resolution) string {
	if r.By == "probe" {
		return "probe"
	}
	return "operator"
}

// waitOf reads the parameter wait: whole seconds, cut to what the gateway allows.
func (a *api) waitOf(c echo.Context) (time.Duration, error) {
	value := c.QueryParam("wait")
	if value == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return 0, refused{problem.NewRequestMalformed("The parameter wait is a whole number of seconds, at most " + strconv.Itoa(int(a.MaxWait.Seconds())) + ".")}
	}
	return min(time.Duration(n)*time.Second, a.MaxWait), nil
}

// etag covers operation, attempt and revision, and the state, which also changes by age.
func etag(r idempotency.Record, withBody bool) string {
	tag := r.ID.String() + "-" + strconv.Itoa(r.Attempt.N) + "-" + strconv.FormatInt(r.Revision, 10) + "-" + r.State.String()
	if withBody {
		tag += "-body"
	}
	return `"` + tag + `"`
}

// matches compares weakly, as If-None-Match asks (RFC 9110, section 13.1.2).
func matches(fields []string, tag string) bool {
	for _, field := range fields {
		tags := strings.Split(field, ",")
		for i := range tags {
			tags[i] = strings.TrimPrefix(strings.TrimSpace(tags[i]), "W/")
		}
		if slices.Contains(tags, tag) || slices.Contains(tags, "*") {
			return true
		}
	}
	return false
}
