package idempotency

import (
	"encoding/hex"
	"strings"
	"time"
)

// MaxKeyLength is the greatest length of a key, in bytes, after unescaping.
const MaxKeyLength = 255

// Key is the client's value for one intent: 1 to 255 visible ASCII bytes, the same for every attempt.
type Key string

// KeyError says why a field value is not a key. It never contains the value.
type KeyError struct{ Reason string }

func (e *KeyError) Error() string { return "malformed idempotency key: " + e.Reason }

// ParseKey reads the value of one Idempotency-Key field line. Two spellings give the same key: bare,
// 1–255 of A–Z a–z 0–9 - . _ ~ : + / = @, or a structured-field string (RFC 9651, section 3.3.3) of
// 1–255 visible bytes after unescaping. Parameters, lists, spaces inside, "." and ".." are refused.
// The error is a *KeyError.
func ParseKey(field string) (Key, error) {
	field = strings.Trim(field, " \t")
	if field == "" {
		return "", &KeyError{"it is empty"}
	}
	value := field
	if field[0] == '"' {
		var err error
		if value, err = unquote(field); err != nil {
			return "", err
		}
	} else if i := strings.IndexFunc(field, notBare); i >= 0 {
		return "", &KeyError{"a bare key may contain only A-Z a-z 0-9 - . _ ~ : + / = @; put other visible ASCII between double quotes"}
	}
	return NewKey(value)
}

// NewKey checks a key that carries no spelling, as from a percent-decoded path segment.
func NewKey(value string) (Key, error) {
	switch {
	case value == "":
		return "", &KeyError{"it is empty"}
	case len(value) > MaxKeyLength:
		return "", &KeyError{"it is longer than 255 bytes"}
	case value == "." || value == "..":
		return "", &KeyError{`"." and ".." are not keys, because they cannot stand in a path`}
	}
	for i := range len(value) {
		if value[i] <= ' ' || value[i] > '~' {
			return "", &KeyError{"it may contain only visible ASCII, without spaces"}
		}
	}
	return Key(value), nil
}

func notBare(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("-._~:+/=@", r)
}

// unquote reads an sf-string that spans the whole of s.
func unquote(s string) (string, error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if i != len(s)-1 {
				return "", &KeyError{"something follows the closing quote; parameters and lists are not allowed"}
			}
			return b.String(), nil
		case '\\':
			i++
			if i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", &KeyError{`a backslash may precede only " and \`}
			}
		}
		b.WriteByte(s[i])
	}
	return "", &KeyError{"the closing quote is missing"}
}

// MaxDateAhead is how far in the future a key's date may lie and still count (docs/guarantee.md, Retention).
const MaxDateAhead = 24 * time.Hour

// KeyDate says which dates inside keys a route believes.
type KeyDate uint8

const (
	DateUUIDv7 KeyDate = iota // the key is a UUIDv7 (RFC 9562, section 5.7), by version and variant bits
	DateULID                  // the key is a UUIDv7 or a ULID
	DateNone                  // keys carry no dates
)

// Date returns the instant inside the key, and whether it has one.
func (k Key) Date(scheme KeyDate) (time.Time, bool) {
	if scheme == DateNone {
		return time.Time{}, false
	}
	if ms, ok := uuidv7Millis(string(k)); ok {
		return time.UnixMilli(ms).UTC(), true
	}
	if scheme == DateULID {
		if ms, ok := ulidMillis(string(k)); ok {
			return time.UnixMilli(ms).UTC(), true
		}
	}
	return time.Time{}, false
}

func uuidv7Millis(s string) (int64, bool) {
	b, ok := parseUUID(s)
	if !ok || b[6]>>4 != 7 || b[8]>>6 != 2 {
		return 0, false
	}
	var ms int64
	for _, c := range b[:6] {
		ms = ms<<8 | int64(c)
	}
	return ms, true
}

// ulidMillis reads the 48-bit time of a ULID: 10 of 26 Crockford base32 characters, any case.
func ulidMillis(s string) (int64, bool) {
	if len(s) != 26 || s[0] > '7' {
		return 0, false
	}
	var ms int64
	for i := range len(s) {
		v := strings.IndexByte("0123456789ABCDEFGHJKMNPQRSTVWXYZ", upper(s[i]))
		if v < 0 {
			return 0, false
		}
		if i < 10 {
			ms = ms<<5 | int64(v)
		}
	}
	return ms, true
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// parseUUID reads the 8-4-4-4-12 form (RFC 9562, section 4), any case.
func parseUUID(s string) (id [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return id, false
	}
	var digits [32]byte
	n := copy(digits[:], s[:8])
	n += copy(digits[n:], s[9:13])
	n += copy(digits[n:], s[14:18])
	n += copy(digits[n:], s[19:23])
	copy(digits[n:], s[24:])
	_, err := hex.Decode(id[:], digits[:])
	return id, err == nil
}

func formatUUID(id [16]byte) string {
	var b [36]byte
	hex.Encode(b[:8], id[:4])
	hex.Encode(b[9:13], id[4:6])
	hex.Encode(b[14:18], id[6:8])
	hex.Encode(b[19:23], id[8:10])
	hex.Encode(b[24:], id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}
