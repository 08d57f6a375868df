// Package upstream talks to the backends: it knows their targets and which of them are alive, and it
// sends a protected request once.
//
// What [Upstream.Send] promises:
//
//   - a request is written to at most one connection: nothing here or in net/http sends it again, not
//     after a reset, not on a redirect, not for a client that asks for it by a header;
//   - [NotSent] is a proof. Either there was no connection, or not one byte was written to it, as
//     counted on our own side of a connection that carried nothing else, or, on HTTP/2, no stream was created;
//   - [Answered] is a whole response: its end was proven by its framing, and its content is here;
//   - everything else is [Unknown].
//
// It does not promise that a request which was sent is executed, nor at what time: a backend may
// execute a request long after its attempt became Unknown. What HTTP/2 peers say about requests that
// they did not process (RFC 9113, section 8.7) is a claim, not a proof, and is not believed.
//
// net/http writes the first bytes of a response that nobody had asked for to the standard logger of
// package log. A program that must not log content has to point that logger elsewhere.
//
// Traffic that needs no protection goes through [Upstream.RoundTripper], an ordinary pooled transport.
package upstream
