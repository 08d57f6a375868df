// Package sqlite keeps records in one SQLite file, for a gateway that runs as one process: the
// embedded default.
//
// What Apply has confirmed survives the end of the process and of the machine's power, as far as the
// disk keeps what it says it has: the file is in WAL mode with synchronous=FULL, and a batch is one
// transaction with one fsync.
//
// One process at a time owns the file, by an exclusive lock on FILE.lock, and network file systems,
// on which neither locks nor WAL can be relied on, are refused. So a lease is as good as the lock: it
// ends when its process ends or gives it back, never by time, and a jump of the clock neither orphans
// nor revives an attempt. Deadlines and expiry do follow the clock.
//
// The package decides nothing about records: every move is [idempotency.Next], written on the
// condition that the row is still as it was read.
package sqlite
