// Package spool keeps outcomes on the disk of one gateway until the store takes them.
//
// It is a directory with a file for each entry, so that no entry can hurt another: a file is written and
// synced under another name, renamed, and the directory synced, before Put returns. What Put has confirmed
// survives kill -9 and power failures, as far as the disk keeps what it says it has; what it has not is
// there whole or not at all. Every file ends with the SHA-256 of what comes before: one that does not
// match is put aside, and is never answered with.
//
// The directory belongs to one process at a time, and to one store. It also names the gateway: a process
// that comes back with its directory is the same instance under a new lease.
//
// Files hold callers, keys and answers in clear, readable by their owner only.
package spool
