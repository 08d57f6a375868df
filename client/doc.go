// Package client is for programs that send requests which must be executed once, over connections that
// break. So far it has the state machine of docs/client-protocol.md, in step.go.
package client
