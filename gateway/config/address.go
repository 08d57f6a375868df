package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// checkListen checks a host:port to listen on.
func checkListen(s string) (message, hint string) {
	const example = "write it as in 127.0.0.1:8080, :8080 or [::1]:8080"
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "is not host:port", example
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return "has no port from 0 to 65535", example
	}
	if host != "" && !isHost(host) {
		return "has no host name or IP address before the port", example
	}
	return "", ""
}

// isHost accepts an IP address (IPv6 without brackets) or a name in the alphabet of DNS.
func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if c := label[i]; !isLower(c|0x20) && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// isLoopback reports whether only this machine can reach a host:port. A name that is not localhost
// is taken for reachable: what it resolves to may change.
func isLoopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// collide reports whether two listeners cannot both listen.
func collide(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || portA == "0" {
		return false
	}
	return isWildcard(hostA) || isWildcard(hostB) || strings.EqualFold(hostA, hostB)
}

func isWildcard(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

// leadsBack reports whether a target is what the gateway listens on, as far as that can be known without asking for
// names: each request to it would come back until there are no more connections to be had.
func leadsBack(listen string, target *url.URL) bool {
	host, port, _ := net.SplitHostPort(listen)
	at := target.Port()
	if at == "" {
		at = map[string]string{"http": "80", "h2c": "80", "https": "443"}[target.Scheme]
	}
	if port != at || port == "0" {
		return false
	}
	if strings.EqualFold(host, target.Hostname()) {
		return true
	}
	return slices.ContainsFunc(addresses(host), func(l netip.Addr) bool {
		return slices.ContainsFunc(addresses(target.Hostname()), func(to netip.Addr) bool {
			if to.IsUnspecified() { // where connections to it go
				to = map[bool]netip.Addr{true: ipv4Loopback, false: netip.IPv6Loopback()}[to.Is4()]
			}
			return l == to || l.IsUnspecified() && to.IsLoopback() && (l.Is6() || to.Is4())
		})
	})
}

var ipv4Loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// addresses returns what is known of a host without asking for its name. An empty one is every address.
func addresses(host string) []netip.Addr {
	if strings.EqualFold(host, "localhost") {
		return []netip.Addr{ipv4Loopback, netip.IPv6Loopback()}
	}
	if host == "" {
		return []netip.Addr{netip.IPv6Unspecified()}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap()}
	}
	return nil
}

// checkMatchHost checks the host of a route.
func checkMatchHost(s string) (message, hint string) {
	name := strings.TrimPrefix(s, "*.")
	switch {
	case s == "":
		return "", ""
	case strings.ToLower(s) != s:
		return "contains upper-case letters", "did you mean " + strings.ToLower(s) + "?"
	case !isHost(name):
		return "is not a host name", "write it without scheme and port, as in api.example.com or *.example.com"
	case name != s && strings.Contains(name, ":"):
		return "is not a host name", ""
	}
	return "", ""
}

// parseTarget reads the base of a backend: scheme and authority, nothing more.
func parseTarget(s string) (u *url.URL, message, hint string) {
	const example = "write it as in http://127.0.0.1:9000"
	u, err := url.Parse(s)
	if err != nil { // its text would repeat the URL, with what may be in it
		return nil, "is not a URL", example
	}
	switch u.Scheme {
	case "http", "https", "h2c":
	default:
		return nil, "must begin with http://, https:// or h2c://", example
	}
	port := u.Port()
	n, err := strconv.ParseUint(port, 10, 16)
	switch {
	case u.User != nil:
		return nil, "must not contain a user or password", "a backend's credentials are the client's"
	case u.Path != "" && u.Path != "/" || u.RawPath != "":
		return nil, "must not contain a path", "the client's path is forwarded as it is; " + example
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return nil, "must not contain a query or fragment", example
	case u.Opaque != "" || !isHost(u.Hostname()):
		return nil, "has no valid host", example
	case strings.HasSuffix(u.Host, ":"), port != "" && (err != nil || n == 0):
		return nil, "has no port from 1 to 65535", example
	}
	return &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}, "", ""
}

// resolve makes a path from the file relative to the working directory.
func (d *decoder) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) || d.dir == "" {
		return path
	}
	return filepath.Join(d.dir, path)
}

// checkStore checks a DSN. Its messages never repeat any of it, because it may contain a password.
func checkStore(s string) (message, hint string) {
	const examples = "write sqlite:onceway.db or postgres://user@host/database"
	if path, ok := strings.CutPrefix(s, "sqlite:"); ok {
		switch {
		case strings.Contains(path, "?"):
			// It would be a part of the name: who adds a parameter would go on with another file, and an empty one.
			return "must not have parameters, for SQLite has none here", "write sqlite:onceway.db, without ? and what follows"
		case path == "" || strings.HasSuffix(path, "/"):
			return "names no file", examples
		case strings.HasPrefix(path, "//"):
			return "must not have // after sqlite:", "write sqlite:relative.db or sqlite:/absolute.db"
		case strings.Contains(path, ":memory:") || strings.HasPrefix(path, "file:"):
			return "must name a file", "records that do not outlive the process protect nothing; " + examples
		}
		return "", ""
	}
	if !strings.HasPrefix(s, "postgres://") && !strings.HasPrefix(s, "postgresql://") {
		return "must begin with sqlite: or postgres://", examples
	}
	const encode = "percent-encode special characters in the password; " + examples
	u, err := url.Parse(s)
	if err != nil || strings.Contains(s, "#") {
		return "is not a valid URL", encode
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil {
		return "has parameters that are not valid", encode
	}
	return "", ""
}

// resolveStore makes the file of a SQLite DSN relative to the working directory.
func (d *decoder) resolveStore(dsn string) string {
	path, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok {
		return dsn
	}
	return "sqlite:" + d.resolve(path)
}

// redactStore hides the passwords of a DSN.
func redactStore(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil || strings.HasPrefix(dsn, "sqlite:") {
		return dsn
	}
	changed := false
	if _, ok := u.User.Password(); ok {
		u.User, changed = url.UserPassword(u.User.Username(), redacted), true
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(strings.ToLower(name), "password") {
			query.Set(name, redacted)
			changed = true
		}
	}
	if !changed {
		return dsn
	}
	u.RawQuery = query.Encode()
	return u.String()
}

const redacted = "REDACTED"
