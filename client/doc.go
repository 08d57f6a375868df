// Package client sends requests that must be executed once, over connections that break, to a backend behind
// Onceway.
//
// A [Client] is an [http.RoundTripper]. It gives each protected request a key, writes it to an outbox before its
// first byte is sent, and follows the gateway's answers until the outcome is known: it waits, asks for the record,
// sends again with the same key, and never guesses. What is not settled when a call ends, or the process, is still
// in the outbox: [Client.Resume] settles it, and asks first.
//
// [Client.Follow] tells what changes of all requests of the caller, whoever sent them.
//
// What it promises is the gateway's promise (docs/guarantee.md), as long as every protected request goes to a
// route that the gateway protects: what goes past the gateway is repeated without protection. An outcome may be
// told twice if the process dies between; the request is not executed twice for that.
//
// The decisions are one pure function, learn in step.go; docs/client-protocol.md has it as a table.
package client
