package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
)

// drainMargin is what drain_timeout must leave beyond the longest attempt, to record its outcome.
const drainMargin = 5 * time.Second

// check finds what is wrong between settings that are right by themselves. Defaults that depend on
// another setting are fitted to it first, so that lowering one setting never needs a second one.
func (d *decoder) check(c *Config) {
	d.checkListeners(c)
	d.checkCaller(c)
	d.checkTLS(c.TLS)
	d.checkDSN(c.Store)
	if !d.given("retention.response") {
		c.Retention.Response = min(c.Retention.Response, c.Retention.Key)
	}
	if c.Retention.Response > c.Retention.Key {
		d.addAt("retention.response", "responses cannot be kept longer than their keys", "", "at most retention.key, which is "+formatDuration(c.Retention.Key))
	}
	if c.BodyBudget == 0 {
		d.addAt("body_budget", "must be greater than 0", "")
	}
	if c.SpoolLimit == 0 {
		d.addAt("spool_limit", "must be greater than 0", "leave spool away to have none")
	}
	d.checkTokens(c)
	d.checkCORS("cors", c.CORS)
	d.checkUpstreams(c)
	d.checkRoutes(c)
}

func (d *decoder) checkListeners(c *Config) {
	if collide(c.Listen, c.Admin.Listen) {
		path := "listen"
		if !d.given(path) {
			path = "admin.listen"
		}
		d.addAt(path, "listen and admin.listen are the same address", "give each its own port")
	}
}

func (d *decoder) checkTLS(t TLS) {
	switch {
	case (t.Cert == "") != (t.Key == ""):
		d.addAt("tls", "needs both cert and key", "")
	case t.Enabled() && d.files != nil:
		d.checkCertificate(t)
	case t.ClientCA != "" && !t.Enabled():
		d.addAt("tls.client_ca", "needs cert and key, too", "")
	}
}

// checkCertificate looks into the files, which a gateway reads before it listens.
func (d *decoder) checkCertificate(t TLS) {
	read := func(path, file string) (content []byte, ok bool) {
		content, err := d.files(file)
		if err != nil {
			var cause *fs.PathError
			if errors.As(err, &cause) {
				err = cause.Err // without the path, which may be an environment variable's
			}
			d.addAt(path, "cannot be read: "+err.Error(), "name a PEM file; a relative path begins at the configuration's directory")
		}
		return content, err == nil
	}
	cert, hasCert := read("tls.cert", t.Cert)
	key, hasKey := read("tls.key", t.Key)
	if !hasCert || !hasKey {
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		d.addAt("tls", "cert and key do not serve: "+strings.TrimPrefix(err.Error(), "tls: "), "cert is the chain, key the private key of its first certificate, both as PEM")
	}
}

// checkDSN asks who can read a DSN. One that is no URL at all has been refused before.
func (d *decoder) checkDSN(store string) {
	if d.dsn == nil || strings.HasPrefix(store, "sqlite:") {
		return
	}
	if err := d.dsn(store); err != nil {
		d.addAt("store", err.Error(), "it is postgres://USER:PASSWORD@HOST:PORT/DATABASE?PARAMETER=VALUE&…")
	}
}

func (d *decoder) checkCaller(c *Config) {
	chosen := 0
	for _, set := range []bool{c.Caller.None != nil, c.Caller.Header != nil, c.Caller.JWT != nil, c.Caller.APIKeys != nil, c.Caller.MTLS != nil} {
		if set {
			chosen++
		}
	}
	kinds := []string{"none", "header", "jwt", "api_keys", "mtls"}
	switch {
	case d.file == "" && chosen == 0: // without a file the only problem is that there is no configuration
	case !d.given("caller"):
		d.addAt("caller", "is missing", "say how callers are told apart; caller: {none: {}} makes all clients one caller", kinds...)
	case chosen == 0:
		d.addAt("caller", "must name exactly one way to tell callers apart", "", kinds...)
	case chosen > 1:
		d.addAt("caller", fmt.Sprintf("must name exactly one way to tell callers apart, but names %d", chosen), "", kinds...)
	}
	if c.Caller.None != nil && !c.Caller.None.Shared && !isLoopback(c.Listen) {
		hint := "say so with caller: {none: {shared: true}}, or tell callers apart with caller: {header: …}"
		if d.file == "" {
			hint = "listen on 127.0.0.1, or write a file with caller: {none: {shared: true}}"
		}
		d.addAt("listen", "listens beyond loopback, while all clients are one caller that can read each other's answers", hint)
	}
	if c.Caller.Header != nil && len(c.TrustedProxies) == 0 {
		d.addAt("caller.header", "needs trusted_proxies: the header is believed from them only", "list the addresses of your proxies, as in trusted_proxies: [10.0.0.0/8]")
	}
}

func (d *decoder) checkTokens(c *Config) {
	for i, t := range c.Admin.Tokens {
		at := "admin.tokens[" + strconv.Itoa(i) + "]"
		if slices.ContainsFunc(c.Admin.Tokens[:i], func(u Token) bool { return u.Name == t.Name && t.Name != "" }) {
			d.addAt(at+".name", "another token has this name", "the name is what a resolution is signed with")
		}
		if slices.ContainsFunc(c.Admin.Tokens[:i], func(u Token) bool { return u.Hash == t.Hash && t.Hash != [32]byte{} }) {
			d.addAt(at+".hash", "another token has this hash", "every operator needs a token of their own")
		}
	}
}

func (d *decoder) checkUpstreams(c *Config) {
	if len(c.Upstreams) == 0 && d.file != "" {
		d.addAt("upstreams", "there is none", "add upstreams: {name: {targets: [http://127.0.0.1:9000]}}, or give --upstream URL")
	}
	var longest *Upstream
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		at := "upstreams." + u.Name
		if longest == nil || u.Timeout > longest.Timeout {
			longest = u
		}
		if u.ConnectTimeout > u.Timeout {
			d.addAt(at+".connect_timeout", "is longer than the timeout of the whole attempt", "", "at most "+formatDuration(u.Timeout))
		}
		for j, target := range u.Targets {
			if leadsBack(c.Listen, target) {
				d.addAt(at+".targets["+strconv.Itoa(j)+"]", "is the gateway itself", "name the address of the backend")
			}
		}
	}
	if longest == nil {
		return
	}
	if least := longest.Timeout + drainMargin; c.DrainTimeout < least {
		path := "drain_timeout"
		if !d.given(path) {
			path = "upstreams." + longest.Name + ".timeout"
		}
		d.addAt(path, fmt.Sprintf("drain_timeout is %s, too short for upstream %s, whose timeout is %s",
			formatDuration(c.DrainTimeout), longest.Name, formatDuration(longest.Timeout)),
			"it must exceed the longest upstream timeout by 5s: write drain_timeout: "+formatDuration(least))
	}
}

func (d *decoder) checkRoutes(c *Config) {
	if len(c.Routes) == 0 && d.file != "" {
		d.addAt("routes", "there is none", "add routes: [{name: all, match: {path: /**}, upstream: NAME}], or give --upstream URL")
	}
	names := make([]string, len(c.Upstreams))
	for i, u := range c.Upstreams {
		names[i] = u.Name
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		at := "routes[" + strconv.Itoa(i) + "]"
		if slices.ContainsFunc(c.Routes[:i], func(other Route) bool { return other.Name == r.Name && r.Name != "" }) {
			d.addAt(at+".name", "another route has this name", "")
		}
		if d.given(at+".upstream") && r.Upstream != "" && !slices.Contains(names, r.Upstream) {
			d.addAt(at+".upstream", "no upstream has this name", didYouMean(r.Upstream, names), names...)
		}
		d.checkIdempotency(at+".idempotency", &r.Idempotency, c)
		d.checkCORS(at+".cors", r.CORS)
	}
}

func (d *decoder) checkIdempotency(at string, i *Idempotency, c *Config) {
	for _, status := range i.NotExecutedStatuses {
		if slices.Contains(i.UnknownStatuses, status) {
			path := at + ".not_executed_statuses"
			if !d.given(path) {
				path = at + ".unknown_statuses"
			}
			d.addAt(path, fmt.Sprintf("%d is in both not_executed_statuses and unknown_statuses", status),
				"it proves that nothing was executed, or it does not")
		}
	}
	d.checkProbe(at, i)
	if !d.given(at + ".attach_wait") {
		i.AttachWait = min(i.AttachWait, c.MaxWait)
	}
	if i.AttachWait > c.MaxWait {
		d.addAt(at+".attach_wait", "is longer than max_wait", "", "at most "+formatDuration(c.MaxWait))
	}
	if c.Caller.Header != nil && i.Header == c.Caller.Header.Name {
		d.addAt(at+".header", "the same header names the caller", "")
	}
	if i.MaxResponseSpill != 0 && i.MaxResponseSpill < i.MaxResponseBody {
		d.addAt(at+".max_response_spill", "is less than max_response_body", "write 0 for no spill file", formatSize(i.MaxResponseBody)+" or more", "0")
	}
	for _, body := range []struct {
		key  string
		size int64
	}{{"max_request_body", i.MaxRequestBody}, {"max_response_body", i.MaxResponseBody}} {
		if body.size > c.BodyBudget {
			d.addAt(at+"."+body.key, "is greater than body_budget, so that such a body is never accepted", "", "at most "+formatSize(c.BodyBudget))
		}
	}
}
