// Package caller says who is asking.
//
// It promises that a caller is a stable name which somebody that the operator trusts has vouched for,
// never the bytes of a token, and that a request without such a name has no caller. Errors never
// contain what the client sent.
//
// It also writes the fields that tell the backend who is asking: see [SetForwarded].
package caller
