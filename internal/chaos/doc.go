// Package chaos is the chaos run: two built gateways on one Postgres in front of a ledger backend, while
// gateways are killed, paused and drained, the database is restarted, and every link is cut, frozen and
// delayed; clients retry and reconcile all the while. When the faults have healed, the invariants of
// docs/guarantee.md are counted on the backend's own ledger, and what the clients saw is checked against the
// model of a record.
//
// The run is a test. ONCEWAY_CHAOS says for how long faults strike (default 15s, 5s with -short), and
// ONCEWAY_CHAOS_SEED repeats the faults of an earlier run in their order and with their parameters; what they
// meet still depends on the machine's scheduling. From two minutes on, a fault that never met a window of a
// request's life fails the run. `make chaos` runs it.
package chaos
