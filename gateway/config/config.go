package config

import (
	"net/netip"
	"net/url"
	"time"

	"github.com/onceway/onceway/idempotency"
)

// Config is a whole, checked configuration. Load is the only way to make one.
type Config struct {
	Version        int                   // of the file's format; default 1, the only one
	Listen         string                // host:port for clients; default 127.0.0.1:8080
	TLS            TLS                   // of that listener; default none
	Store          string                // DSN: sqlite:PATH or postgres://…; default sqlite:onceway.db
	StoreTimeout   time.Duration         // for one claim or outcome; default 5s
	Spool          string                // path of a directory for answers that the store did not take; default none
	SpoolLimit     int64                 // bytes of the spool; default 256 MiB
	Lease          time.Duration         // how long a silent gateway keeps its executing records; default 10s
	Retention      idempotency.Retention // default 24h for responses, at most as for keys; 720h for keys
	DrainDelay     time.Duration         // not ready, still accepting; default 2s
	DrainTimeout   time.Duration         // for protected requests to finish; default 35s
	MaxWait        time.Duration         // cap of every wait; default 30s
	BodyBudget     int64                 // bytes, all buffered bodies together; default 256 MiB
	TrustedProxies []netip.Prefix        // masked; default none
	Log            Log
	Admin          Admin
	Caller         Caller
	Limits         Limits
	CORS           CORS
	Reconcile      Reconcile
	Upstreams      []Upstream // at least one, in the order of the file
	Routes         []Route    // at least one, first match wins

	warnings []Warning
}

// TLS names PEM files. The zero value means plain text.
type TLS struct {
	Cert     string // path of the certificate chain
	Key      string // path of its key
	ClientCA string // path; asks clients for certificates
}

// Enabled reports whether the listener speaks TLS.
func (t TLS) Enabled() bool { return t.Cert != "" }

// Log says what the process logs, and how.
type Log struct {
	Level  string // debug, info, warn or error; default info
	Format string // json or text; default json
	Access bool   // one event per request; default true
}

// Admin is the operators' listener.
type Admin struct {
	Listen string // host:port; default 127.0.0.1:9090
	Tokens []Token
}

// Token is one operator's credential.
type Token struct {
	Name string   // who resolves; 1–64 of A–Z a–z 0–9 . _ @ -
	Hash [32]byte // SHA-256 of the token
}

// Caller says how callers are told apart. Exactly one field is set.
type Caller struct {
	None    *CallerNone
	Header  *CallerHeader
	JWT     *CallerJWT
	APIKeys *CallerAPIKeys
	MTLS    *CallerMTLS
}

// CallerNone makes all clients one caller.
type CallerNone struct {
	Shared bool // accepted in so many words, so that the gateway may listen beyond loopback; default false
}

// CallerHeader believes a header field that a trusted proxy sets.
type CallerHeader struct {
	Name string // canonical
}

// CallerJWT believes signed tokens.
type CallerJWT struct {
	Issuer   string
	Audience string
	JWKS     string // URL or path
	Claim    string // default sub
}

// CallerAPIKeys knows callers by hashed keys.
type CallerAPIKeys struct {
	File string
}

// CallerMTLS knows callers by their certificates.
type CallerMTLS struct {
	Field MTLSField
}

// Limits hold per caller, for new attempts; 0 is off, the default.
type Limits struct {
	RequestsPerSecond int // that begin, on one gateway; as many may begin at once
	InFlight          int // that run, on one gateway
	Unsettled         int // that run, on one gateway, and operations in doubt, in the store
}

// CORS lists the origins whose pages may read our answers.
type CORS struct {
	Origins     []string // exact, * for every one, or https://*.example.com for all below a name; default none
	Credentials bool     // pages may send cookies and client certificates, too; not with *; default false
}

// Reconcile places and limits the reconciliation API.
type Reconcile struct {
	BasePath          string // begins with a slash, ends without; default /_reconcile/v1
	RequestsPerSecond int    // of each caller, on one gateway; twice as many may come at once; 0 is off; default 1000, and off where all clients are one caller
}

// Upstream is one backend.
type Upstream struct {
	Name           string
	Targets        []*url.URL    // scheme http, https or h2c, and host; at least one
	Timeout        time.Duration // of a whole attempt; default 30s
	ConnectTimeout time.Duration // of dial and TLS handshake; default 5s, or Timeout if that is less
	IdleTimeout    time.Duration // of a kept-alive connection; default 30s
	MaxInFlight    int           // attempts at once; default 512
}

// Route says which requests go where, and how they are protected.
type Route struct {
	Name        string
	Match       Match
	Upstream    string // name of one of the upstreams
	RawPaths    bool   // forward ambiguous paths, too; default false
	Idempotency Idempotency
	CORS        CORS // beside the global one
}

// Match holds for a request when all of it does.
type Match struct {
	Path    string   // a Pattern
	Methods []string // upper case; empty means every method
	Host    string   // lower case, without port; *.example.com for every name below; empty means every host
}

// Idempotency is a route's policy.
type Idempotency struct {
	Mode                Mode
	Header              string   // canonical name of the key's header; default Idempotency-Key
	Methods             []string // upper case; empty means those that RFC 9110 does not call idempotent
	KeyDate             idempotency.KeyDate
	OnUnknown           OnUnknown
	Probe               Probe
	InProgressStatuses  []int         // of a re-sent attempt: it stays unknown; default 409, 425
	AttachWait          time.Duration // how long a duplicate waits for a running attempt; at most MaxWait; default 10s, or MaxWait if that is less
	NotExecutedStatuses []int         // ascending; default 401, 421, 425, 429
	UnknownStatuses     []int         // ascending; default 502, 503, 504
	MaxRequestBody      int64         // bytes; default 1 MiB
	MaxResponseBody     int64         // bytes kept in memory; default 1 MiB
	MaxResponseSpill    int64         // bytes kept in a file; default 64 MiB
	DropHeaders         []string      // canonical; more response fields never to store; default none
}

// Probe asks a backend whether it executed an operation.
type Probe struct {
	URL      string            // with {operation}; default none
	Headers  map[string]string // canonical names; may carry a credential
	Executed []int             // default 200
	Absent   []int             // default 404
	Absence  Absence
	Settle   time.Duration // default 60s
	Replay   bool          // the probe's own answer may be replayed; default false
}

// UpstreamOf returns the upstream that r names.
func (c *Config) UpstreamOf(r Route) Upstream {
	for _, u := range c.Upstreams {
		if u.Name == r.Upstream {
			return u
		}
	}
	return Upstream{} // not reachable: Load refuses a route that names no upstream
}
