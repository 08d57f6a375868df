package caller

import (
	"errors"
	"net/http"
	"net/textproto"

	"github.com/onceway/onceway/gateway/config"
	"github.com/onceway/onceway/idempotency"
)

// Resolver finds the caller of a request. The error is an *Unauthenticated.
type Resolver interface {
	Resolve(r *http.Request) (idempotency.Caller, error)
}

// Unauthenticated says what is missing for a request to have a caller, in words for the client. It
// contains nothing that the client sent.
type Unauthenticated struct{ Reason string }

func (e *Unauthenticated) Error() string { return "unauthenticated: " + e.Reason }

// New returns the resolver that a configuration asks for. Load has refused those not built yet; New
// returns an error for them.
func New(c *config.Config) (Resolver, error) {
	switch {
	case c.Caller.None != nil:
		return None{}, nil
	case c.Caller.Header != nil:
		return Header{Name: c.Caller.Header.Name, Trusted: NewTrusted(c.TrustedProxies)}, nil
	}
	return nil, errors.New("caller: the configuration asks for a way that this version does not know")
}

// Anonymous is the caller of everybody where callers are not told apart. No other resolver returns it.
const Anonymous idempotency.Caller = "anonymous"

// None makes all clients one caller.
type None struct{}

// Resolve returns Anonymous.
func (None) Resolve(*http.Request) (idempotency.Caller, error) { return Anonymous, nil }

// MaxLength is the greatest length of a caller, in bytes.
const MaxLength = 255

// Header believes a header field that a trusted proxy sets. From every other peer the field is a
// claim of the client, and proves nothing.
type Header struct {
	Name    string // in any case
	Trusted Trusted
}

// Resolve returns the value of the field's only line: 1–255 bytes of visible ASCII.
func (h Header) Resolve(r *http.Request) (idempotency.Caller, error) {
	if !h.Trusted.Peer(r.RemoteAddr) {
		return "", &Unauthenticated{"the request did not come through a trusted proxy; only addresses in trusted_proxies can name the caller"}
	}
	name := textproto.CanonicalMIMEHeaderKey(h.Name)
	values := r.Header[name]
	switch {
	case len(values) == 0:
		return "", &Unauthenticated{"the header " + name + " is missing; the proxy must set it to the authenticated caller"}
	case len(values) > 1:
		return "", &Unauthenticated{"the header " + name + " is there more than once; the proxy must replace what the client sent"}
	}
	value := values[0]
	switch {
	case value == "":
		return "", &Unauthenticated{"the header " + name + " is empty; the proxy must set it to the authenticated caller"}
	case len(value) > MaxLength:
		return "", &Unauthenticated{"the value of the header " + name + " is longer than 255 bytes"}
	case value == string(Anonymous):
		return "", &Unauthenticated{"the value of the header " + name + " is reserved; the proxy must not name unauthenticated callers"}
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return "", &Unauthenticated{"the value of the header " + name + " may contain only visible ASCII, without spaces"}
		}
	}
	return idempotency.Caller(value), nil
}
