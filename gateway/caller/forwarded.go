package caller

import (
	"net/http"
	"net/textproto"
	"strings"
)

// SetForwarded tells the backend whose request it is, in out, the header of the outgoing request:
//
//   - X-Forwarded-For and Forwarded (RFC 7239) get this hop's peer appended to what a trusted peer
//     sent; what any other peer sent is dropped first.
//   - X-Forwarded-Host and X-Forwarded-Proto keep what a trusted peer sent, because they describe the
//     first hop; otherwise they are set to what the client sent to us.
//   - Other fields that begin with X-Forwarded- pass from trusted peers only. Spellings with
//     underscores, which some backends fold, never pass.
//
// It reads the incoming fields from in, so that a Connection header, which names fields to drop,
// cannot hide them. A peer without an IP address is "unknown" in Forwarded, and not in X-Forwarded-For.
func SetForwarded(out http.Header, in *http.Request, trusted bool) {
	var addrs, elements []string
	host, proto := in.Host, "http"
	if in.TLS != nil {
		proto = "https"
	}
	if trusted {
		addrs = in.Header["X-Forwarded-For"]
		elements = in.Header["Forwarded"]
	}
	peer := ""
	if addr, ok := peerAddr(in.RemoteAddr); ok {
		peer = addr.String()
	}
	forFields := appendList(addrs, peer)
	element := appendList(elements, forwardedElement(peer, host, proto))
	if trusted {
		host, proto = firstHop(in.Header, "X-Forwarded-Host", host), firstHop(in.Header, "X-Forwarded-Proto", proto)
	}
	for name := range out {
		if isForwarding(name) && (!trusted || name != textproto.CanonicalMIMEHeaderKey(name) || strings.Contains(name, "_")) {
			delete(out, name)
		}
	}
	set(out, "X-Forwarded-For", forFields)
	set(out, "X-Forwarded-Host", host)
	set(out, "X-Forwarded-Proto", proto)
	set(out, "Forwarded", element)
}

// appendList joins the lines of a list and one more member.
func appendList(lines []string, member string) string {
	var b strings.Builder
	for _, line := range append(lines[:len(lines):len(lines)], member) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString(", ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// firstHop returns what a trusted peer says of the first hop, or what we see ourselves.
func firstHop(h http.Header, name, own string) string {
	if said := appendList(h[name], ""); said != "" {
		return said
	}
	return own
}

// forwardedElement is one forwarded-element (RFC 7239, section 4).
func forwardedElement(peer, host, proto string) string {
	node := "unknown"
	switch {
	case strings.Contains(peer, ":"):
		node = `"[` + peer + `]"` // section 6: IPv6 addresses stand in brackets, and those in quotes
	case peer != "":
		node = peer
	}
	element := "for=" + node
	if host != "" {
		element += ";host=" + quoteToken(host)
	}
	return element + ";proto=" + proto
}

// quoteToken writes a value as a token where it can, else as a quoted-string (RFC 9110, section 5.6.4).
func quoteToken(s string) string {
	token := true
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		token = token && (alnum || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0)
	}
	if token {
		return s
	}
	if strings.ContainsAny(s, `"\`) {
		s = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s)
	}
	return `"` + s + `"`
}

// isForwarding recognises the fields of this file in any spelling.
func isForwarding(name string) bool {
	if name == "" || name[0]|0x20 != 'f' && name[0]|0x20 != 'x' {
		return false // most names, without a copy
	}
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return name == "forwarded" || strings.HasPrefix(name, "x-forwarded-")
}

func set(h http.Header, name, value string) {
	if value == "" {
		delete(h, name)
		return
	}
	h[name] = []string{value}
}
