// Package ledger is the backend of end-to-end tests: a process of its own that writes down what it was
// asked and what it did, before it answers, so that no test has to believe the gateway's own word.
//
// Every request gets a line "begin" as it arrives and a line "effect" as it is executed; each line is
// on disk (fsync) before anything else happens. What the backend does next is told by the request
// itself, in the field X-Script: see [Script]. Nothing in it depends on time: whatever is held is held
// by a gate, which the test opens, and whoever waits at a gate can be waited for.
//
// It also remembers operations, answers probes about them, and refuses what it said was absent.
//
// It speaks HTTP/1.1 and h2c on one port, and HTTP/2 and HTTP/1.1 over TLS on another. The process
// is the test binary itself, run again: TestMain must call [Main] first.
package ledger
