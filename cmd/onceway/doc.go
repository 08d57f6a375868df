// Command onceway is the gateway that makes a non-idempotent HTTP request safe to retry.
//
// This package is the only place where the parts are put together, and the only one that reads the
// environment. Each verb has a file of its own; exit codes are decided in exit.go.
package main
