package config

import (
	"errors"
	"strings"
)

// Pattern matches normalised paths by segments: a literal matches itself, "*" one segment that is not
// empty, and "**", only as the last, any number of segments, also none: /orders/** matches /orders,
// /orders/ and /orders/1/items. Percent-encoded octets are compared as they stand, because
// normalisation has made them unique.
type Pattern struct{ segments []string }

// ParsePattern reads a pattern. It must be written in the normal form of paths (RFC 3986, section
// 6.2.2), or it could never match.
func ParsePattern(s string) (Pattern, error) {
	if !strings.HasPrefix(s, "/") {
		return Pattern{}, errors.New("a path begins with /")
	}
	segments := strings.Split(s[1:], "/")
	for i, segment := range segments {
		last := i == len(segments)-1
		switch {
		case segment == "**" && !last:
			return Pattern{}, errors.New("** can only be the last segment")
		case segment == "**" || segment == "*":
			continue
		case strings.Contains(segment, "*"):
			return Pattern{}, errors.New("* stands for a whole segment, and cannot be a part of one")
		case segment == "" && !last:
			return Pattern{}, errors.New("it has an empty segment (//)")
		case segment == "." || segment == "..":
			return Pattern{}, errors.New("dot segments never match")
		}
		if err := checkSegment(segment); err != nil {
			return Pattern{}, err
		}
	}
	return Pattern{segments}, nil
}

// checkSegment accepts pchar (RFC 3986, section 3.3) in normal form.
func checkSegment(s string) error {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return errors.New("% must be followed by two hexadecimal digits")
			}
			if isLower(s[i+1]) || isLower(s[i+2]) {
				return errors.New("write percent-encoded octets in upper case, as in %2F")
			}
			if isUnreserved(unhex(s[i+1])<<4 | unhex(s[i+2])) {
				return errors.New("write letters, digits, - . _ ~ as they are, not percent-encoded")
			}
			i += 2
		case isUnreserved(c) || strings.IndexByte("!$&'()+,;=:@[]", c) >= 0:
		case c == '?' || c == '#':
			return errors.New("a pattern matches the path only; it cannot contain ? or #")
		default:
			return errors.New("it contains a character that must be percent-encoded")
		}
	}
	return nil
}

// Match reports whether p matches a normalised path. It does not allocate.
func (p Pattern) Match(path string) bool {
	rest, more := strings.CutPrefix(path, "/")
	for _, want := range p.segments {
		if want == "**" {
			return strings.HasPrefix(path, "/")
		}
		if !more {
			return false
		}
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if want != segment && (want != "*" || segment == "") {
			return false
		}
	}
	return !more
}

// Covers reports whether p matches every path that q matches.
func (p Pattern) Covers(q Pattern) bool {
	for i, segment := range p.segments {
		switch {
		case segment == "**":
			return true
		case i == len(q.segments), q.segments[i] == "**":
			return false
		case segment == "*" && q.segments[i] != "":
		case segment != q.segments[i]:
			return false
		}
	}
	return len(p.segments) == len(q.segments)
}

// MatchHost reports whether a pattern of [Match] matches a host in lower case without port. *.a.b
// matches every name below a.b, at any depth, but not a.b itself.
func MatchHost(pattern, host string) bool {
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return pattern == "" || pattern == host
}

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// isUnreserved is the set of RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return isLower(c) || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}
