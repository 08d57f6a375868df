package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// checkOrigin checks one origin as browsers write it (RFC 6454, section 6.2): scheme, host, and a port that is
// not the scheme's own. Or * for all, or * in the place of all that stands before a name.
func checkOrigin(s string) (origin, message, hint string) {
	const example = "write it as in https://app.example.com, or https://*.example.com for every name below"
	if s == "*" {
		return s, "", ""
	}
	if s == "null" {
		return "", "is what files and sandboxed frames send, whoever made them", "serve the page from an address of its own"
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return "", "is not an origin", example
	case u.Scheme != "http" && u.Scheme != "https":
		return "", "must begin with https:// or http://", example
	case u.User != nil || s[strings.Index(s, "//")+2:] != u.Host:
		return "", "has more than a scheme, a host and a port", "did you mean " + strings.ToLower(u.Scheme+"://"+u.Host) + "?"
	case strings.ToLower(s) != s:
		return "", "contains upper-case letters, which browsers do not send", "did you mean " + strings.ToLower(s) + "?"
	case u.Scheme == "http" && u.Port() == "80", u.Scheme == "https" && u.Port() == "443":
		return "", "names the port that browsers leave out", "did you mean " + u.Scheme + "://" + strings.TrimSuffix(u.Host, ":"+u.Port()) + "?"
	}
	if port := u.Port(); strings.HasSuffix(u.Host, ":") || port != "" && !isPort(port) {
		return "", "has no port from 1 to 65535", example
	}
	host := u.Hostname()
	if name, all := strings.CutPrefix(host, "*."); all {
		if _, err := netip.ParseAddr(name); err == nil || !isHost(name) || !strings.Contains(name, ".") {
			return "", "stands for names below one that nobody owns", example
		}
		return s, "", ""
	}
	if strings.Contains(host, "*") {
		return "", "has * where it stands for nothing", example
	}
	if !isHost(host) {
		return "", "has no valid host", "write it as browsers send it, in ASCII, as in https://xn--bcher-kva.example"
	}
	return s, "", ""
}

// isPort accepts 1 to 65535 as browsers write it.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

func (d *decoder) checkCORS(at string, c CORS) {
	if !slices.Contains(c.Origins, "*") {
		if c.Credentials && len(c.Origins) == 0 {
			d.addAt(at+".credentials", "there are no origins that it could be for", "list them in "+at+".origins")
		}
		return
	}
	if c.Credentials {
		d.addAt(at+".credentials", "cannot be true for every origin: any page could act as its visitor, and browsers refuse it", "name the origins")
	}
	if len(c.Origins) > 1 {
		d.addAt(at+".origins", "* stands for all others, too", "name the origins, or * alone")
	}
}
