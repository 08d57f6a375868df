package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/onceway/onceway/gateway/problem"
)

// Token lets an operator in. Only its digest is known.
type Token struct {
	Name string
	Hash [32]byte // SHA-256
}

// access decides who may read and who may write.
//
// Reading needs no token where both ends of the connection are on this machine, and nothing says that it
// was passed on from elsewhere; writing always needs one. A page of another site, open in the browser of
// somebody who may reach this listener, can neither read nor write: requests that carry another origin
// are refused, and so are names that such a site could let point here (DNS rebinding).
type access struct {
	tokens []Token
	listen string // host of admin.listen
}

// stranger reports why a request does not come from where operators are; nil if it may.
func (a *access) stranger(r *http.Request) *problem.Problem {
	if !a.knownHost(r.Host) {
		p := problem.NewForbidden("The Host of an operator's request is an IP address, localhost or the host in admin.listen.")
		return &p
	}
	site := r.Header.Get("Sec-Fetch-Site")
	if site != "" && site != "same-origin" && site != "none" || !sameOrigin(r) {
		p := problem.NewForbidden("This address is not for pages of other origins.")
		return &p
	}
	return nil
}

// knownHost accepts what no stranger's name server can make up.
func (a *access) knownHost(authority string) bool {
	host := (&url.URL{Host: authority}).Hostname()
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return host == "localhost" || host != "" && host == strings.ToLower(a.listen)
}

// sameOrigin compares Origin, which browsers add to every request that is not a plain GET of their own
// page (Fetch, section 3.2), with the authority that the request is for.
func sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	origin, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}

// operator returns the name of whom the request's token is; ok is false if it is nobody's. Every token is
// compared, each in constant time.
func (a *access) operator(r *http.Request) (name string, ok bool) {
	fields := r.Header.Values("Authorization")
	if len(fields) != 1 {
		return "", false
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	sum := sha256.Sum256([]byte(token))
	for _, t := range a.tokens {
		if subtle.ConstantTimeCompare(sum[:], t.Hash[:]) == 1 {
			name, ok = t.Name, true
		}
	}
	return name, ok
}

// mayRead reports whether a request may read records, without their bodies.
func (a *access) mayRead(r *http.Request) bool {
	if len(r.Header.Values("Authorization")) > 0 {
		_, ok := a.operator(r)
		return ok
	}
	return isLocal(r)
}

// isLocal reports whether a request begins and ends on this machine.
func isLocal(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(name)) > 0 {
			return false
		}
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return local != nil && isLoopback(local.String()) && isLoopback(r.RemoteAddr)
}

func isLoopback(address string) bool {
	ap, err := netip.ParseAddrPort(address)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}
