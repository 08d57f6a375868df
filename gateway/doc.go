// Package gateway is the reverse proxy: it turns requests into moves of records, and outcomes into
// answers.
//
// A protected request takes the steps of docs/guarantee.md in their order, in protected.go: check what
// needs no record, read the whole request, ask the engine, send once, commit the outcome, answer. No
// byte goes to a backend before the claim is durable, and no byte of an outcome to a client before the
// outcome is. Everything else streams through untouched, in passthrough.go.
//
// The package keeps no state of its own beside counters: what it must not forget is in the store.
package gateway
