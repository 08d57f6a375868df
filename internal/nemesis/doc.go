// Package nemesis is a TCP relay for tests that breaks connections at an exact byte.
//
// It sits between a client and a backend of any protocol. A script gives each accepted connection a
// [Plan]: per direction, how many bytes pass and what happens then. Nothing in it depends on time: what
// is held is held until the test releases it, and what has happened can be waited for.
//
// It breaks what TCP lets a process break: FIN, RST, silence, bytes that are swallowed or come late. It
// cannot lose an acknowledgement or a segment; that takes the kernel's help.
package nemesis
