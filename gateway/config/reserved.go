package config

import "strings"

// perHop are the fields that no hop hands on, or that every hop rewrites (RFC 9110, section 7.6.1):
// what they say is not the client's.
var perHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Connection": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Forwarded": true, "X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true,
	"Via": true, "Host": true, "Content-Length": true, "Date": true, "Expect": true,
}

// ours are the fields to which Onceway gives another meaning.
var ours = map[string]bool{
	"Idempotency-First-Sent": true, "Idempotency-Deadline": true, "Prefer": true, "Idempotency-State": true,
	"Idempotency-Next": true, "Idempotency-Resolved": true, "Idempotency-Expires": true, "Traceparent": true,
}

// tokens are the fields that carry credentials, which are refreshed.
var tokens = map[string]bool{"Authorization": true, "Cookie": true}

func refuseCallerHeader(name string) (message, hint string) {
	switch {
	case perHop[name] || ours[name] || strings.HasPrefix(name, "Onceway-"):
		return name + " cannot name the caller: it has another meaning", "use a field that only your proxy sets, as in X-User-Id"
	case tokens[name]:
		return name + " cannot name the caller: a refreshed token must find the same record", "use a field with a stable name, as in X-User-Id"
	}
	return "", ""
}

func refuseKeyHeader(name string) (message, hint string) {
	if perHop[name] || ours[name] || tokens[name] || strings.HasPrefix(name, "Onceway-") || strings.HasPrefix(name, "Content-") {
		return name + " cannot carry the key: it has another meaning", "the default is Idempotency-Key"
	}
	return "", ""
}

// checkBasePath checks where our own API stands: a path in normal form, without a wildcard.
func checkBasePath(s string) (message, hint string) {
	const example = "write it as in /_reconcile/v1"
	switch {
	case !strings.HasPrefix(s, "/") || s == "/":
		return "must be a path below /", example
	case strings.HasSuffix(s, "/"):
		return "must not end with /", example
	case strings.Contains(s, "*"):
		return "cannot contain *", example
	case s == wellKnown || strings.HasPrefix(s, wellKnown+"/"):
		return "is where the gateway describes itself", example
	}
	if _, err := ParsePattern(s); err != nil {
		return err.Error(), example
	}
	return "", ""
}

const wellKnown = "/.well-known/idempotency"
