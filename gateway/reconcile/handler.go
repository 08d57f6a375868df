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

// GetRequest answers with the record of a key.
func (a *api) GetRequest(ctx context.Context, in reconciliation.GetRequestRequestObject) (reconciliation.GetRequestResponseObject, error) {
	call := callOf(ctx)
	wait, err := a.waitOf(in.Params.Wait)
	if err != nil {
		return nil, err
	}
	withBody := in.Params.Include != nil
	if withBody && *in.Params.Include != reconciliation.GetRequestParamsIncludeBody {
		return nil, refused{problem.NewRequestMalformed("The parameter include knows body alone.")}
	}
	id, known, await := call.operation(in.Key).ID(), in.Params.IfNoneMatch, a.Engine.Await
	if known != nil {
		// Memory may confirm what the client has. Another tag may be that of a revision which memory does not know of.
		if rec, ok := a.Engine.Recall(id); !ok || wait > 0 || !matches(*known, etag(rec, withBody)) {
			await = a.Engine.AwaitStored
		}
	}
	rec, err := await(a.Work, id, wait, func(r idempotency.Record) bool {
		if r.State == idempotency.Unseen {
			return true
		}
		if known != nil {
			return !matches(*known, etag(r, withBody))
		}
		return a.known(r)
	})
	if err != nil {
		return nil, err
	}
	switch {
	case rec.State == idempotency.Unseen:
		return nil, refused{problem.NewUnseen()}
	case rec.Damaged:
		return nil, a.damaged(call, rec)
	}
	tag := etag(rec, withBody)
	a.stamp(call, rec)
	call.header["Etag"] = []string{tag}
	if known != nil && matches(*known, tag) {
		return nothing(http.StatusNotModified), nil
	}
	return inJSON(http.StatusOK, NewRecord(rec, withBody)), nil
}

// known reports whether there is nothing to wait for: no attempt is running, and nobody asks the backend.
func (a *api) known(r idempotency.Record) bool {
	return r.State != idempotency.Executing && !a.Pending(r)
}

// GetResponse answers with the stored response of a key.
func (a *api) GetResponse(ctx context.Context, in reconciliation.GetResponseRequestObject) (reconciliation.GetResponseResponseObject, error) {
	call := callOf(ctx)
	rec, err := a.Engine.Await(a.Work, call.operation(in.Key).ID(), 0, func(idempotency.Record) bool { return true })
	if err != nil {
		return nil, err
	}
	switch rec.State {
	case idempotency.Unseen:
		return nil, refused{problem.NewUnseen()}
	case idempotency.Completed:
		if rec.Damaged || rec.Response == nil {
			return nil, a.damaged(call, rec)
		}
	case idempotency.Forgotten:
		return nil, refused{a.about(call, Forgotten(rec), rec)}
	case idempotency.Cancelled:
		return nil, refused{a.about(call, problem.NewCancelled(), rec)}
	case idempotency.Executing, idempotency.NotExecuted, idempotency.Unknown:
		return nil, refused{a.about(call, problem.NewNotSettled(problem.OfRecord(rec.Believed()), nextOf(rec)), rec)}
	}
	h := call.header
	a.stamp(call, rec)
	h.Set(problem.HeaderResponseStatus, strconv.Itoa(rec.Response.Status))
	h.Set("ETag", `"`+fmt.Sprintf("%x", rec.Response.Digest[:16])+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Type", "application/octet-stream")
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language"} {
		if values := rec.Response.Header[name]; len(values) > 0 {
			h[name] = values
		}
	}
	return answer(func(w http.ResponseWriter) error {
		p, failed := serveContent(w, call.request, rec.Response.Body)
		if failed {
			return refused{a.about(call, p, rec)}
		}
		return nil
	}), nil
}

// Forgotten says what is still known of an answer whose body is gone.
func Forgotten(rec idempotency.Record) problem.Problem {
	if rec.Response == nil {
		return problem.NewResponseForgotten(0, -1, "")
	}
	return problem.NewResponseForgotten(rec.Response.Status, rec.Response.Length, rec.Response.DigestField())
}

// about makes a problem, and the fields of its answer, about a record.
func (a *api) about(c *call, p problem.Problem, rec idempotency.Record) problem.Problem {
	c.header.Set(problem.HeaderExpires, rec.Expires.UTC().Format(http.TimeFormat))
	if rec.Resolution != nil {
		c.header.Set(problem.HeaderResolved, ResolvedBy(rec.Resolution))
	}
	return p.About(rec.ID.String(), StatusURL(a.BasePath, rec.Operation.Key), rec.Trace.String())
}

// damaged shows nothing of a record whose bytes do not match their digest, and alarms.
func (a *api) damaged(c *call, rec idempotency.Record) error {
	a.Log.LogAttrs(c.ev.Context(), slog.LevelError, "fault", slog.String("operation", rec.ID.String()), slog.String("error", idempotency.ErrDamaged.Error()))
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
func (a *api) stamp(c *call, rec idempotency.Record) {
	h, state, next := c.header, problem.OfRecord(rec.Believed()), nextOf(rec)
	c.ev.State, c.ev.Next = state, next
	resolved := ""
	if rec.Resolution != nil {
		resolved = ResolvedBy(rec.Resolution)
	}
	set(h,
		field{problem.HeaderState, state.String()}, field{problem.HeaderNext, next.String()},
		field{problem.HeaderRetryAfter, a.Problems.RetryAfter(next)}, field{problem.HeaderResolved, resolved},
		field{problem.HeaderExpires, rec.Expires.UTC().Format(http.TimeFormat)},
		field{problem.HeaderLink, StatusLink(a.BasePath, rec.Operation.Key)},
		field{"Cache-Control", "no-store"})
}

// StatusURL returns the path of a key's record.
func StatusURL(basePath string, key idempotency.Key) string {
	return basePath + "/requests/" + url.PathEscape(string(key))
}

// StatusLink returns the value of a Link field that leads to a key's record: problem.StatusLink of its StatusURL, in one
// concatenation, because nearly every answer has it.
func StatusLink(basePath string, key idempotency.Key) string {
	return "<" + basePath + "/requests/" + url.PathEscape(string(key)) + problem.StatusRelation
}

// ResolvedBy returns the value of Idempotency-Resolved.
func ResolvedBy(r *idempotency.Resolution) string {
	if r.By == "probe" {
		return "probe"
	}
	return "operator"
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

// etag covers operation, attempt and revision, and the state, which also changes by age.
func etag(r idempotency.Record, withBody bool) string {
	tag := r.ID.String() + "-" + strconv.Itoa(r.Attempt.N) + "-" + strconv.FormatInt(r.Revision, 10) + "-" + r.State.String()
	if withBody {
		tag += "-body"
	}
	return `"` + tag + `"`
}

// matches compares weakly, as If-None-Match asks (RFC 9110, section 13.1.2).
func matches(field, tag string) bool {
	for listed := range strings.SplitSeq(field, ",") {
		if listed = strings.TrimPrefix(strings.TrimSpace(listed), "W/"); listed == tag || listed == "*" {
			return true
		}
	}
	return false
}
