package caller

import "net/netip"

// Trusted are the networks of the proxies that may speak for clients. IPv4 addresses in IPv6 notation
// (RFC 4291, section 2.5.5.2) are the IPv4 addresses that they stand for, on both sides.
type Trusted struct{ prefixes []netip.Prefix }

// NewTrusted returns the set of all addresses in prefixes.
func NewTrusted(prefixes []netip.Prefix) Trusted {
	t := Trusted{make([]netip.Prefix, 0, len(prefixes))}
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		t.prefixes = append(t.prefixes, p)
	}
	return t
}

// Peer reports whether the TCP peer of a request, as in [net/http.Request.RemoteAddr], is trusted. An
// address that cannot be read is not.
func (t Trusted) Peer(remoteAddr string) bool {
	if len(t.prefixes) == 0 {
		return false
	}
	addr, ok := peerAddr(remoteAddr)
	return ok && t.Contains(addr)
}

// Contains reports whether an address is trusted. Zones do not matter.
func (t Trusted) Contains(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, p := range t.prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// peerAddr reads "IP:port".
func peerAddr(remoteAddr string) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(remoteAddr)
	return ap.Addr().Unmap().WithZone(""), err == nil
}
