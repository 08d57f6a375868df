package config

import (
	"math"
	"net/textproto"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/onceway/onceway/idempotency"
)

const noLimit = math.MaxInt32

// defaults are the settings of a file that says nothing. Routes and upstreams have their own.
func defaults() Config {
	return Config{
		Version:      1,
		Listen:       "127.0.0.1:8080",
		Store:        "sqlite:onceway.db",
		StoreTimeout: 5 * time.Second,
		SpoolLimit:   256 << 20,
		Lease:        10 * time.Second,
		Retention:    idempotency.Retention{Response: 24 * time.Hour, Key: 720 * time.Hour},
		DrainDelay:   2 * time.Second,
		DrainTimeout: 35 * time.Second,
		MaxWait:      30 * time.Second,
		BodyBudget:   256 << 20,
		Log:          Log{Level: "info", Format: "json", Access: true},
		Admin:        Admin{Listen: "127.0.0.1:9090"},
		Reconcile:    Reconcile{BasePath: "/_reconcile/v1", RequestsPerSecond: byCaller},
	}
}

// byCaller stands for a limit whose default depends on who the callers are.
const byCaller = -1

// config reads the whole file into c.
func (d *decoder) config(n *yaml.Node, c *Config) {
	d.mapping("", n, fields{
		"version":         d.integer(&c.Version, 1, 1),
		"listen":          d.checked(&c.Listen, checkListen),
		"tls":             d.tls(&c.TLS),
		"store":           d.store(&c.Store),
		"store_timeout":   d.duration(&c.StoreTimeout, time.Millisecond),
		"spool":           d.path(&c.Spool),
		"spool_limit":     d.size(&c.SpoolLimit),
		"lease":           d.duration(&c.Lease, 100*time.Millisecond),
		"retention":       d.retention(&c.Retention),
		"drain_delay":     d.duration(&c.DrainDelay, 0),
		"drain_timeout":   d.duration(&c.DrainTimeout, 0),
		"max_wait":        d.duration(&c.MaxWait, 0),
		"body_budget":     d.size(&c.BodyBudget),
		"trusted_proxies": d.prefixes(&c.TrustedProxies),
		"log":             d.log(&c.Log),
		"admin":           d.admin(&c.Admin),
		"caller":          d.caller(&c.Caller),
		"limits":          d.limits(&c.Limits),
		"cors":            d.cors(&c.CORS),
		"reconcile":       d.reconcile(&c.Reconcile),
		"upstreams":       d.upstreams(&c.Upstreams),
		"routes":          d.routes(&c.Routes),
	})
	if !d.given("store") {
		c.Store = d.resolveStore(c.Store)
	}
}

// path reads a path relative to the file; empty means none.
func (d *decoder) path(dst *string) field {
	return func(path string, n *yaml.Node) {
		d.str(dst)(path, n)
		*dst = d.resolve(*dst)
	}
}

func (d *decoder) store(dst *string) field {
	return func(path string, n *yaml.Node) {
		d.checked(dst, checkStore)(path, n)
		if _, ok := d.origins[n]; !ok {
			*dst = d.resolveStore(*dst)
		}
	}
}

func (d *decoder) tls(t *TLS) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"cert":      d.path(&t.Cert),
			"key":       d.path(&t.Key),
			"client_ca": d.path(&t.ClientCA),
		})
	}
}

func (d *decoder) retention(r *idempotency.Retention) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"response": d.duration(&r.Response, time.Second),
			"key":      d.duration(&r.Key, time.Second),
		})
	}
}

func (d *decoder) log(l *Log) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"level":  d.enum(logLevels, func(i int) { l.Level = logLevels[i] }),
			"format": d.enum(logFormats, func(i int) { l.Format = logFormats[i] }),
			"access": d.boolean(&l.Access),
		})
	}
}

func (d *decoder) admin(a *Admin) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"listen": d.checked(&a.Listen, checkListen),
			"tokens": func(path string, n *yaml.Node) {
				d.list(path, n, func(at string, n *yaml.Node) { a.Tokens = append(a.Tokens, d.token(at, n)) })
			},
		})
	}
}

func (d *decoder) token(path string, n *yaml.Node) (t Token) {
	d.mapping(path, n, fields{
		"name": d.checked(&t.Name, checkName),
		"hash": func(path string, n *yaml.Node) {
			s, ok := d.text(path, n)
			if !ok {
				return
			}
			if t.Hash, ok = parseHash(s); !ok { // not quoted: it may be the token itself
				d.add(n, path, "must be sha256: and 64 hexadecimal digits", "onceway admin token NAME prints a token and its line")
			}
		},
	})
	d.require(path, n, "name", "hash")
	return t
}

func (d *decoder) caller(c *Caller) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"none": func(path string, n *yaml.Node) {
				c.None = &CallerNone{}
				d.mapping(path, n, fields{"shared": d.boolean(&c.None.Shared)})
			},
			"header": func(path string, n *yaml.Node) {
				c.Header = &CallerHeader{}
				d.mapping(path, n, fields{"name": d.header(&c.Header.Name, refuseCallerHeader)})
				c.Header.Name = textproto.CanonicalMIMEHeaderKey(c.Header.Name)
				d.require(path, n, "name")
			},
			"jwt": func(path string, n *yaml.Node) {
				c.JWT = &CallerJWT{Claim: "sub"}
				d.mapping(path, n, fields{
					"issuer":   d.str(&c.JWT.Issuer),
					"audience": d.str(&c.JWT.Audience),
					"jwks":     d.str(&c.JWT.JWKS),
					"claim":    d.str(&c.JWT.Claim),
				})
			},
			"api_keys": func(path string, n *yaml.Node) {
				c.APIKeys = &CallerAPIKeys{}
				d.mapping(path, n, fields{"file": d.path(&c.APIKeys.File)})
			},
			"mtls": func(path string, n *yaml.Node) {
				c.MTLS = &CallerMTLS{}
				d.mapping(path, n, fields{"field": d.enum(mtlsFields, func(i int) { c.MTLS.Field = MTLSField(i) })})
			},
		})
	}
}

func (d *decoder) limits(l *Limits) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"requests_per_second": d.integer(&l.RequestsPerSecond, 0, noLimit),
			"in_flight":           d.integer(&l.InFlight, 0, noLimit),
			"unsettled":           d.integer(&l.Unsettled, 0, noLimit),
		})
	}
}

func (d *decoder) cors(c *CORS) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"origins":     d.strings(&c.Origins, checkOrigin),
			"credentials": d.boolean(&c.Credentials),
		})
	}
}

func (d *decoder) reconcile(r *Reconcile) field {
	return func(path string, n *yaml.Node) {
		d.mapping(path, n, fields{
			"base_path":           d.checked(&r.BasePath, checkBasePath),
			"requests_per_second": d.integer(&r.RequestsPerSecond, 0, noLimit/2),
		})
	}
}

// require reports the keys of a mapping that have no default and are not there.
func (d *decoder) require(path string, n *yaml.Node, keys ...string) {
	if n.Kind != yaml.MappingNode && !isNull(n) {
		return
	}
	for _, key := range keys {
		if !d.given(join(path, key)) {
			d.add(n, join(path, key), "is missing", "it has no default")
		}
	}
}
