// Package postgres keeps records in PostgreSQL 15 or later, by pgx.
//
// It promises what [idempotency.Store] asks for, for as long as the server keeps what it has committed:
// synchronous_commit is never below on, a commit that a synchronous standby has not confirmed counts
// as unknown, and servers that are read-only are refused. A batch is one round trip and one
// transaction, at READ COMMITTED; what that finds to be out of the ordinary, like a late answer, takes
// a second one (see [Store.Apply]). There is no session state: a pooler in transaction mode may stand
// in between (with default_query_exec_mode=exec in the DSN, if it does not track prepared statements).
// What each session is set to at its start has to be the default there, or is refused (see session.go).
//
// Its clock is the server's. One instant, the start of the transaction, holds for all of it, also if
// it then waits for a lock (at most 250 ms). So an instant may lie a little back when it is
// written; nothing depends on the order of two instants, and whatever has lapsed by then has lapsed.
//
// It knows nothing of telemetry; a pgx tracer can be injected. Its errors contain neither keys nor
// bodies nor passwords.
package postgres
