// Package reconcile is the interface by which a client that reconnects learns what became of its
// requests, before it decides whether to send any of them again; and hears of what changes later.
//
// Every call is safe to repeat, and shows a caller its own operations only: another caller's key looks
// exactly like one never seen. What is shown is what the store says at that moment; only a completed
// record, which can but be forgotten, may be shown as it was up to a minute ago. The package also
// serves /.well-known/idempotency: what a client may rely on, and a page for each problem.
//
// Addresses, parameters and calls are those of openapi/reconciliation.yaml, by the server that is generated from
// it. What writes the answers is ours: generated answers declare no length, so that neither a client nor the
// gateway knows how much is to come, and hold all that they write, where a query may be about a hundred bodies.
package reconcile
