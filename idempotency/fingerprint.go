package idempotency

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// FingerprintVersion is the version that this gateway computes.
const FingerprintVersion = 1

// Fingerprint tells whether two requests with one key are the same request. It is always compared in
// the version that the record has. The zero value means that the record has none (a tombstone).
type Fingerprint struct {
	Version uint8
	Sum     [32]byte
}

// Fingerprinted is what a fingerprint covers.
type Fingerprinted struct {
	Method          string
	Authority       string // compared in lower case
	Target          string // as forwarded: path and query after normalisation
	MediaType       string // type and subtype of Content-Type in lower case, without parameters
	ContentEncoding string // compared in lower case
	Body            []byte
}

// Fingerprint returns SHA-256 over the parts in the order of the struct, the body as its own SHA-256,
// each preceded by its length as 8 bytes, big-endian.
func (f Fingerprinted) Fingerprint() Fingerprint {
	var stack [512]byte
	b := appendPart(stack[:0], f.Method)
	b = appendPart(b, strings.ToLower(f.Authority))
	b = appendPart(b, f.Target)
	b = appendPart(b, f.MediaType)
	b = appendPart(b, strings.ToLower(f.ContentEncoding))
	body := sha256.Sum256(f.Body)
	b = appendPart(b, string(body[:]))
	return Fingerprint{Version: FingerprintVersion, Sum: sha256.Sum256(b)}
}

// IsZero reports whether there is no fingerprint.
func (f Fingerprint) IsZero() bool { return f.Version == 0 }

// String returns "v" version ":" lower-case hex, or "" for the zero value.
func (f Fingerprint) String() string {
	if f.IsZero() {
		return ""
	}
	return "v" + string('0'+rune(f.Version)) + ":" + hex.EncodeToString(f.Sum[:])
}
