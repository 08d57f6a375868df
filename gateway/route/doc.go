// Package route normalises request targets, finds the route of a request, and says whether the
// request is protected. It is pure: no I/O, no clock, no state beside the table.
//
// It promises that the target which it matches is the one that is fingerprinted and forwarded, and
// that on methods which are not safe no two accepted targets differ only in ways that servers are
// known to fold together: see [ParseTarget].
//
// It does not know a backend's own aliases, such as case, trailing slashes or matrix parameters.
package route
