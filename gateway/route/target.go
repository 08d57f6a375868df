package route

import "strings"

// Target is a request target in normal form (RFC 3986, sections 6.2.2.1 and 6.2.2.2).
type Target struct {
	Path     string // begins with "/", or is "*" (RFC 9112, section 3.2.4)
	RawQuery string // after the first "?", which is not part of it
	Query    bool   // there is a "?", perhaps with nothing after it
	badQuery bool   // see CheckQuery
}

// String returns the target in origin-form (RFC 9112, section 3.2.1), as it is matched, fingerprinted
// and forwarded.
func (t Target) String() string {
	if !t.Query {
		return t.Path
	}
	return t.Path + "?" + t.RawQuery
}

// InvalidError says why something is not a request target at all. It never contains the target.
type InvalidError struct{ Reason string }

func (e *InvalidError) Error() string { return "invalid request target: " + e.Reason }

// AmbiguousError says what in a path other servers may read in another way. It never contains the path.
type AmbiguousError struct{ What Ambiguity }

func (e *AmbiguousError) Error() string {
	return "ambiguous path: it contains " + e.What.String() + ", which servers read in different ways"
}

// Ambiguity is a closed set.
type Ambiguity uint8

const (
	EmptySegment Ambiguity = iota + 1
	DotSegment
	EncodedSlash
	Backslash
	NUL
)

func (a Ambiguity) String() string {
	switch a {
	case EmptySegment:
		return "an empty segment (//)"
	case DotSegment:
		return "a dot segment (. or ..)"
	case EncodedSlash:
		return "an encoded slash (%2F)"
	case Backslash:
		return "a backslash"
	case NUL:
		return "an encoded NUL (%00)"
	}
	panic("route: not an ambiguity")
}

// ParseTarget reads a request-target (RFC 9112, section 3.2) as it stood in the request line, which is
// [net/http.Request.RequestURI].
//
// In path and query, percent-encoded unreserved octets are decoded, other escapes get upper-case hex,
// and bytes that a URI cannot contain are percent-encoded; nothing else changes, so that reserved
// characters keep their difference from their encoded form. Segments are never collapsed. An invalid
// escape is an error in the path; in the query it leaves all escapes as they are, for CheckQuery to judge.
//
// On a method that is not safe (RFC 9110, section 9.2.1), empty segments, dot segments, encoded
// slashes, backslashes and NUL in the path are an *AmbiguousError, encoded or not, unless raw. A
// trailing slash is not an empty segment. Every other error is an *InvalidError.
//
// Of the absolute-form, scheme and authority are dropped: the authority is the Host of the request.
// The asterisk-form belongs to OPTIONS; the authority-form, to CONNECT, is refused. A target that is
// in normal form is not copied.
func ParseTarget(method, requestURI string, raw bool) (Target, error) {
	rest, err := originForm(method, requestURI)
	if err != nil {
		return Target{}, err
	}
	if rest == "*" {
		return Target{Path: "*"}, nil
	}
	path, query, hasQuery := strings.Cut(rest, "?")
	if path, err = normalise(path, "path"); err != nil {
		return Target{}, err
	}
	if path == "" {
		path = "/"
	}
	t := Target{Path: path, Query: hasQuery}
	if t.RawQuery, err = normalise(query, "query"); err != nil {
		t.RawQuery, t.badQuery = escapeBytes(query), true
	}
	if !raw {
		if err := t.CheckAmbiguous(method); err != nil {
			return Target{}, err
		}
	}
	return t, nil
}

// CheckAmbiguous returns the *AmbiguousError that ParseTarget would have returned without raw. It is
// for whoever has to find the route first, because the route says whether raw paths are allowed.
func (t Target) CheckAmbiguous(method string) error {
	if IsSafe(method) {
		return nil
	}
	if what := ambiguity(t.Path); what != 0 {
		return &AmbiguousError{what}
	}
	return nil
}

// CheckQuery returns an *InvalidError if an escape in the query is invalid: then nobody can say which spellings of
// it are the same, so that it can be passed on, and not be fingerprinted.
func (t Target) CheckQuery() error {
	if t.badQuery {
		return invalidEscape("query")
	}
	return nil
}

func invalidEscape(part string) error {
	return &InvalidError{"a % in its " + part + " is not followed by two hexadecimal digits"}
}

// originForm cuts scheme and authority off. What it returns begins with "/" or "?", or is "*" or empty.
func originForm(method, s string) (string, error) {
	switch {
	case method == "CONNECT":
		return "", &InvalidError{"CONNECT asks for a tunnel, which this gateway is not"}
	case s == "":
		return "", &InvalidError{"it is empty"}
	case s[0] == '/':
		return s, nil
	case s == "*" && method == "OPTIONS":
		return s, nil
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", &InvalidError{"it begins neither with / nor with http:// or https://"}
	}
	end := strings.IndexAny(rest, "/?#")
	switch {
	case end == 0 || rest == "":
		return "", &InvalidError{"its authority is empty"}
	case end < 0 && method == "OPTIONS":
		return "*", nil // RFC 9112, section 3.2.4
	case end < 0:
		return "", nil
	case rest[end] == '#':
		return "", &InvalidError{"it has a fragment"}
	}
	return rest[end:], nil
}

// ambiguity looks for what servers fold together, in a path in normal form: dots are decoded, hex is
// in upper case, and a raw backslash or NUL has become an escape.
func ambiguity(path string) Ambiguity {
	start := 1 // of the segment
	for i := 1; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			if path[start:i] == "" && i < len(path) {
				return EmptySegment
			}
			if isDots(path[start:i]) {
				return DotSegment
			}
			start = i + 1
			continue
		}
		if path[i] == '%' {
			switch path[i+1 : i+3] {
			case "2F":
				return EncodedSlash
			case "5C":
				return Backslash
			case "00":
				return NUL
			}
		}
	}
	return 0
}

// isDots also holds for dots with parameters (..;x): some servers cut those off first.
func isDots(segment string) bool {
	segment, _, _ = strings.Cut(segment, ";")
	segment, _, _ = strings.Cut(segment, "%3B")
	return segment == "." || segment == ".."
}

// normalise returns s itself if it is in normal form.
func normalise(s, part string) (string, error) {
	i := 0
	for ; i < len(s); i++ {
		if s[i] != '%' && isURI(s[i]) {
			continue
		}
		if s[i] != '%' || !isNormalEscape(s[i:]) {
			break
		}
		i += 2
	}
	if i == len(s) {
		return s, nil
	}
	b := make([]byte, i, len(s)+16)
	copy(b, s)
	for ; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '%':
			if i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
				return "", invalidEscape(part)
			}
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
			if isUnreserved(c) {
				b = append(b, c)
				continue
			}
			b = escape(b, c)
		case isURI(c):
			b = append(b, c)
		default:
			b = escape(b, c)
		}
	}
	return string(b), nil
}

// escapeBytes only encodes the bytes that a URI cannot contain.
func escapeBytes(s string) string {
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if c := s[i]; c == '%' || isURI(c) {
			b = append(b, c)
		} else {
			b = escape(b, c)
		}
	}
	return string(b)
}

// isNormalEscape reports whether s begins with an escape in normal form.
func isNormalEscape(s string) bool {
	return len(s) > 2 && isUpperHex(s[1]) && isUpperHex(s[2]) && !isUnreserved(unhex(s[1])<<4|unhex(s[2]))
}

const hexDigits = "0123456789ABCDEF"

func escape(b []byte, c byte) []byte { return append(b, '%', hexDigits[c>>4], hexDigits[c&15]) }

// isURI reports whether a byte can stand for itself in path or query. Square brackets cannot by the
// letter of RFC 3986, but clients send them and Go forwards them. A second "?" stands in queries only.
func isURI(c byte) bool { return uriBytes[c] }

var uriBytes = func() (set [256]bool) {
	for c := range set {
		set[c] = isUnreserved(byte(c)) || strings.IndexByte("!$&'()*+,;=:@/?[]", byte(c)) >= 0
	}
	return set
}()

// isUnreserved is the set of RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func isUpperHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' }

func isHex(c byte) bool { return isUpperHex(c) || c >= 'a' && c <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
