// Package participant is for backends: it makes an operation and its effect one transaction of the
// backend's own database, so that the gateway's doubt resolves itself, both ways and without a human.
//
// An operation is claimed in the transaction that has the effect ([Table.Claim]), its answer is recorded
// there too ([Table.Record]), and a probe ([Table.Probe]) reads what was committed. It promises, for
// every operation that all of the backend's instances handle through one database:
//
//   - at most one effect, whatever the number of attempts, copies and instances;
//   - a repeated attempt gets the recorded answer, and has no effect;
//   - an operation that a probe reported absent is refused from then on: the probe fences the attempt in
//     the same table, and waits for a transaction that holds the operation. Either that transaction
//     commits first, and the operation is reported executed, or it never will;
//   - whoever cannot decide says so (503), and never that the operation is absent.
//
// All of that hangs on one row for each operation and on the database's row lock. Two statements matter,
// both an INSERT … ON CONFLICT DO UPDATE … WHERE, and both decide on the latest committed row, at any
// isolation level: at READ COMMITTED the condition is evaluated again after the wait for the lock, and at
// the stricter ones Postgres refuses the statement (40001) if its snapshot is too old to decide.
//
// Limits. The effect must be in the same database: a call to a payment provider is not rolled back. The
// promise ends where a transaction that was committed can be lost (synchronous_commit off, asynchronous
// replication and a failover), and where a row is purged before the gateway has forgotten the operation
// (see [Retention]). SQLite and other databases of database/sql work in the same way; they only wait
// differently for a transaction that holds the operation.
//
// docs/backends.md has the same as SQL, for any language.
package participant
