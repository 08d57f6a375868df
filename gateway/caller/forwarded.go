package caller

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Forwarded tells the backend whose request it is. Each is the value of a field; an empty one is not sent.
//
//   - X-Forwarded-For and Forwarded (RFC 7239) get this hop's peer appended to what a trusted peer
//     sent; what any other peer sent is dropped first.
//   - X-Forwarded-Host and X-Forwarded-Proto keep what a trusted peer sent, because they describe the
//     first hop; otherwise they are set to what the client sent to us.
//
// A peer without an IP address is "unknown" in Forwarded, and not in X-Forwarded-For.
type Forwarded struct{ For, Host, Proto, Element string }

// NewForwarded reads the incoming fields from in, so that a Connection header, which names fields to drop,
// cannot hide them.
func NewForwarded(in *http.Request, trusted bool) Forwarded {
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
	f := Forwarded{For: appendList(addrs, peer), Host: host, Proto: proto, Element: appendList(elements, forwardedElement(peer, host, proto))}
	if trusted {
		f.Host, f.Proto = firstHop(in.Header, "X-Forwarded-Host", host), firstHop(in.Header, "X-Forwarded-Proto", proto)
	}
	return f
}

// Each calls set with the name and the value of each field.
func (f Forwarded) Each(set func(name, value string)) {
	for _, field := range [...]struct{ name, value string }{
		{"X-Forwarded-For", f.For}, {"X-Forwarded-Host", f.Host}, {"X-Forwarded-Proto", f.Proto}, {"Forwarded", f.Element},
	} {
		if field.value != "" {
			set(field.name, field.value)
		}
	}
}

// Passes reports whether a client's field goes on to the backend, as far as this file is concerned: not those that
// are [Forwarded]; other fields that begin with X-Forwarded- from trusted peers only; and never a spelling with
// underscores, which some backends fold.
func Passes(name string, trusted bool) bool {
	if !isForwarding(name) {
		return true
	}
	switch name {
	case "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded":
		return false
	}
	return trusted && name == textproto.CanonicalMIMEHeaderKey(name) && !strings.Contains(name, "_")
}

// SetForwarded makes the fields of this file in out, the header of an outgoing request, those of in.
func SetForwarded(out http.Header, in *http.Request, trusted bool) {
	for name := range out {
		if !Passes(name, trusted) {
			delete(out, name)
		}
	}
	values := make([]string, 0, 4) // in one piece
	NewForwarded(in, trusted).Each(func(name, value string) {
		values = append(values, value)
		out[name] = values[len(values)-1 : len(values) : len(values)]
	})
}

// appendList joins the lines of a list and one more member.
func appendList(lines []string, member string) string {
	if len(lines) == 0 {
		return member
	}
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
	if host == "" {
		return "for=" + node + ";proto=" + proto
	}
	return "for=" + node + ";host=" + quoteToken(host) + ";proto=" + proto
}

// quoteToken writes a value as a token where it can, else as a quoted-string (RFC 9110, section 5.6.4).
func quoteToken(s string) string {
	if httpguts.ValidHeaderFieldName(s) { // which are tokens
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
