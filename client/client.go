package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"sync"
	"time"
)

// Options of a client. The zero value of each is ready.
type Options struct {
	// Base sends. It must not follow redirects. Default: a clone of http.DefaultTransport.
	Base http.RoundTripper
	// Outbox keeps what is not settled. Default: NewMemory().
	Outbox Outbox
	// Authorize adds credentials to a request that is about to be sent, also to questions about records and to
	// requests that are not protected. again says that the last ones were refused (401). What it adds is never stored.
	// Default: the credentials that a request came with, which last as long as the process.
	Authorize func(r *http.Request, again bool) error
	// Protects says which requests are protected. It must leave out what goes to a route with mode off, or past the
	// gateway. Default: the methods that are not idempotent by RFC 9110, section 9.2.2.
	Protects func(*http.Request) bool
	// Facts are the gateway's, as Discover finds them. Default: those of a gateway that is not configured otherwise.
	Facts Facts
	// Wait is how long the gateway may hold an answer while an attempt runs, in whole seconds. Default 20 s.
	Wait time.Duration
	// CallTimeout bounds each call; it has to exceed Wait, and the time that the backend needs. Default 75 s.
	CallTimeout time.Duration
	// MaxAnswer is how large an answer may be, in bytes; a larger one is not delivered. Default 64 MiB.
	MaxAnswer int64
	// Backoff bounds the first pause after a call that taught nothing; the bound doubles with each further one, up to
	// a hundred and fifty times that. Default 200 ms, so at most 30 s.
	Backoff time.Duration
	// Retries is how many such calls all entries together may make in a second; ten seconds' worth can be saved.
	// Default 5.
	Retries int
	// Parallel is how many entries Resume settles at a time. Default 8.
	Parallel int
}

// Client sends protected requests. Make it with New; its methods may be called from many goroutines.
type Client struct {
	o       Options
	budget  budget
	now     func() time.Time
	random  func() float64
	damaged error // of entries that could not be read

	mu      sync.Mutex
	flights map[string]*flight // by key
}

// New makes a client and reads its outbox. It sends nothing: call Resume for what was left there.
func New(o Options) (*Client, error) {
	if o.Base == nil {
		o.Base = http.DefaultTransport.(*http.Transport).Clone()
	}
	if o.Outbox == nil {
		o.Outbox = NewMemory()
	}
	if o.Authorize == nil {
		o.Authorize = func(*http.Request, bool) error { return nil }
	}
	if o.Protects == nil {
		o.Protects = notIdempotent
	}
	o.Facts = o.Facts.orDefault()
	o.Wait = min(positive(o.Wait, 20*time.Second), o.Facts.MaxWait)
	o.CallTimeout = positive(o.CallTimeout, 75*time.Second)
	o.MaxAnswer = positive(o.MaxAnswer, 64<<20)
	o.Backoff = positive(o.Backoff, 200*time.Millisecond)
	o.Retries = positive(o.Retries, 5)
	o.Parallel = positive(o.Parallel, 8)
	c := &Client{o: o, budget: budget{perSecond: float64(o.Retries)}, now: time.Now, random: rand.Float64, flights: map[string]*flight{}}
	entries, err := o.Outbox.Entries()
	if err != nil && !errors.Is(err, ErrDamaged) {
		return nil, err
	}
	c.damaged = err
	for _, e := range entries {
		c.flights[e.Key] = newFlight(e)
	}
	return c, nil
}

func positive[N int | int64 | time.Duration](n, otherwise N) N {
	if n > 0 {
		return n
	}
	return otherwise
}

func notIdempotent(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete, http.MethodConnect:
		return false
	}
	return true
}

// RoundTrip sends a protected request until its outcome is known, and returns the backend's answer, or the problem
// with which the gateway refused it. A key that the request brings is used; otherwise it gets a new one, which is
// in the Request of the response. The entry leaves the outbox when the body of the response is closed.
//
// The error is an *EndedError if there is no answer to return, and will never be; an *UnsettledError if the context
// ended before the outcome was known, or if repeating cannot help: then the entry is still in the outbox. Any other
// error says that nothing was sent.
func (c *Client) RoundTrip(r *http.Request) (*http.Response, error) {
	if !c.o.Protects(r) {
		out := r.Clone(r.Context())
		if err := c.o.Authorize(out, false); err != nil {
			return nil, errors.Join(err, closed(r))
		}
		return c.o.Base.RoundTrip(out)
	}
	if r.Response != nil {
		return nil, errors.Join(errors.New("client: a redirect of a protected request is its answer; to send it somewhere else is a new intent"), closed(r))
	}
	f, err := c.accept(r)
	if err != nil {
		return nil, err
	}
	out, err := c.drive(r.Context(), f)
	if err != nil {
		return nil, err
	}
	if out.Response == nil {
		return nil, errors.Join(&EndedError{Key: f.key, Outcome: out.Outcome}, c.forget(f))
	}
	f.hand()
	out.Response.Request = r.Clone(r.Context())
	out.Response.Request.Header.Set(c.o.Facts.KeyHeader, f.key)
	out.Response.Body = &told{out.Response.Body, func() { _ = c.forget(f) }} // one that comes back is told again
	return out.Response, nil
}

// told forgets an entry when whoever wanted its answer has it.
type told struct {
	io.ReadCloser
	forget func()
}

func (t *told) Close() error {
	t.forget()
	return t.ReadCloser.Close()
}

// Queue writes a request to the outbox and sends nothing: Resume does. It returns the key.
func (c *Client) Queue(r *http.Request) (key string, err error) {
	f, err := c.accept(r)
	if err != nil {
		return "", err
	}
	if err := c.o.Outbox.Put(f.snapshot()); err != nil {
		c.drop(f)
		return "", fmt.Errorf("client: outbox: %w", err)
	}
	return f.key, nil
}

// accept makes an entry of a request, or finds the one that it is a repetition of.
func (c *Client) accept(r *http.Request) (*flight, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, errors.Join(fmt.Errorf("client: the request's content: %w", err), closed(r))
		}
		if err := r.Body.Close(); err != nil {
			return nil, fmt.Errorf("client: the request's content: %w", err)
		}
	}
	key := r.Header.Get(c.o.Facts.KeyHeader)
	if key == "" {
		key = newKey(c.now())
	}
	e := Entry{Key: key, Method: r.Method, URL: r.URL.String(), Host: r.Host, Header: r.Header.Clone(), Created: c.now().UTC(), Body: body, Standing: Standing{State: Queued}}
	if e.Header == nil {
		e.Header = http.Header{}
	}
	if e.Host == r.URL.Host {
		e.Host = ""
	}
	live := http.Header{}
	for _, name := range credentials {
		if values, ok := e.Header[name]; ok {
			live[name] = values
			delete(e.Header, name)
		}
	}
	delete(e.Header, http.CanonicalHeaderKey(c.o.Facts.KeyHeader))
	c.mu.Lock()
	defer c.mu.Unlock()
	f, known := c.flights[key]
	if !known {
		f = newFlight(e)
		c.flights[key] = f
	} else if o := f.snapshot(); o.Method != e.Method || o.URL != e.URL || o.Host != e.Host || !bytes.Equal(o.Body, e.Body) || !reflect.DeepEqual(o.Header["Content-Type"], e.Header["Content-Type"]) {
		return nil, errors.New("client: the key belongs to another request in the outbox")
	}
	f.setLive(live)
	return f, nil
}

// Cancel forbids an intent that is in the outbox, and returns its outcome once that is known: OutcomeCancelled, or
// what happened before. The wish is stored first: it stands if the error is an *UnsettledError.
func (c *Client) Cancel(ctx context.Context, key string) (Outcome, error) {
	c.mu.Lock()
	f := c.flights[key]
	c.mu.Unlock()
	if f == nil {
		return "", errors.New("client: no such entry in the outbox")
	}
	if err := c.wish(f, wishCancel); err != nil {
		return "", err
	}
	out, err := c.drive(ctx, f)
	if err != nil {
		return "", err
	}
	if out.Response != nil {
		return out.Outcome, nil // whoever sent it has not read the answer yet
	}
	return out.Outcome, c.forget(f)
}

// Acknowledge lets the gateway erase the answer of a response that RoundTrip or Resume returned, which must be safe
// here by now. What cannot be told before ctx ends is in the outbox, and told by Resume.
func (c *Client) Acknowledge(ctx context.Context, resp *http.Response) error {
	r := resp.Request
	key := r.Header.Get(c.o.Facts.KeyHeader)
	e := Entry{Key: key, Method: r.Method, URL: r.URL.String(), Host: r.Host, Created: c.now().UTC(), Standing: Standing{State: Settled, Outcome: OutcomeExecuted}}
	c.mu.Lock()
	f := c.flights[key]
	if f == nil {
		f = newFlight(e)
		c.flights[key] = f
	}
	c.mu.Unlock()
	if err := c.wish(f, wishAcknowledge); err != nil {
		return err
	}
	if _, err := c.drive(ctx, f); err != nil {
		return err
	}
	return c.forget(f)
}

// Entries returns what is in the outbox, the oldest first, as it stands now.
func (c *Client) Entries() []Entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	var entries []Entry
	for f := range maps.Values(c.flights) {
		entries = append(entries, f.snapshot())
	}
	return oldestFirst(slices.Clip(entries))
}

// EndedError says that an intent is settled, and that there is no answer: it was executed and its answer is
// forgotten, it was cancelled, or it expired.
type EndedError struct {
	Key     string
	Outcome Outcome
}

func (e *EndedError) Error() string {
	switch e.Outcome {
	case OutcomeExecuted:
		return "client: executed, and the answer is not kept any more"
	case OutcomeCancelled:
		return "client: cancelled; it was not executed and never will be"
	case OutcomeExpired:
		return "client: the key is too old; it will not be executed, and nobody can say whether it was"
	case OutcomeRefused, OutcomeUnprotected:
	}
	return "client: " + string(e.Outcome)
}

// UnsettledError says that an entry is still in the outbox, in State, and why nothing more was done about it.
type UnsettledError struct {
	Key    string
	State  State
	Status int    // of the last answer; 0 = there was none
	Code   string // of the problem in it, if it was one
	Err    error
}

func (e *UnsettledError) Error() string {
	text := "client: not settled (" + string(e.State) + ")"
	if e.Code != "" {
		text += ", " + e.Code
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *UnsettledError) Unwrap() error { return e.Err }

// forget takes a settled entry out of the outbox.
func (c *Client) forget(f *flight) error {
	if f.snapshot().State != Settled {
		return nil // its answer is being acknowledged
	}
	c.drop(f)
	return c.o.Outbox.Remove(f.key)
}

// drop takes an entry out of the memory.
func (c *Client) drop(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[f.key] == f {
		delete(c.flights, f.key)
	}
}

func closed(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// origin is where the reconciliation API of an entry's gateway is.
func origin(e Entry) string {
	u, err := url.Parse(e.URL)
	if err != nil {
		return e.URL
	}
	return u.Scheme + "://" + u.Host
}
