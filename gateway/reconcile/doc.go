// Package reconcile is the interface by which a client that reconnects learns what became of its
// requests, before it decides whether to send any of them again.
//
// Every call is safe to repeat, and shows a caller its own operations only: another caller's key looks
// exactly like one never seen. What is shown is what the store says at that moment. The package also
// serves /.well-known/idempotency: what a client may rely on, and a page for each problem.
package reconcile
